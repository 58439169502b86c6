"""Faults of what a client gave: all of them are gathered, so that it hears of them at once."""

import re
from typing import Final

from tellwire.errors import FieldError, InvalidInputError, LimitExceededError

HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20\x09\x21-\x7e]*[\x21-\x7e])?|")
"""What the value of a header may be (RFC 9110 section 5.5), without obsolete forms."""


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
