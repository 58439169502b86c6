"""Faults of what a client gave: all of them are gathered, so that it hears of them at once."""

import re
from collections.abc import Callable
from typing import Final

from tellwire.errors import FieldError, InvalidInputError, LimitExceededError
from tellwire.model.header import HEADER_NAME_FORM, HEADER_VALUE_FORM

HEADER_VALUE: Final = re.compile(HEADER_VALUE_FORM)
"""What the value of a header may be."""

CheckUrl = Callable[[str], None]
"""Raises InvalidInputError where the egress guard would never let a request to this URL pass."""

RESERVED_HEADERS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp",
    }
)  # fmt: skip
"""Headers that are ours or the connection's; an endpoint's own cannot be among them."""

_HEADER_NAME: Final = re.compile(HEADER_NAME_FORM)


def header_name_fault(name: str) -> str | None:
    """What is wrong with the name of a header that an endpoint is to get."""
    if not _HEADER_NAME.fullmatch(name):
        return "is not a header name"
    return "is set by Tellwire or by the connection" if name.lower() in RESERVED_HEADERS else None


class Faults:
    """Gathers what is wrong, and which limit (if any) was the first to be exceeded."""

    def __init__(self) -> None:
        self._errors: list[FieldError] = []
        self._limit: tuple[str, int] | None = None

    def add(self, *loc: str | int, msg: str, limit: tuple[str, int] | None = None) -> None:
        """One fault; ``limit`` is the name and maximum of a limit that it exceeds."""
        self._errors.append(FieldError(loc, msg))
        self._limit = self._limit or limit

    def take(self, error: InvalidInputError, *prefix: str | int) -> None:
        """The faults of an error that was raised elsewhere."""
        self._errors += [fault.under(*prefix) for fault in error.errors]
        if isinstance(error, LimitExceededError):
            self._limit = self._limit or (error.limit, error.maximum)

    def raise_any(self) -> None:
        """Raise InvalidInputError (or LimitExceededError) where there were faults."""
        if self._errors and self._limit:
            raise LimitExceededError(self._errors, limit=self._limit[0], maximum=self._limit[1])
        if self._errors:
            raise InvalidInputError(self._errors)
