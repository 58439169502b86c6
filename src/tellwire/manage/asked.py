"""What a caller asks: how many items of a list, from when to when, under what name, with what metadata."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from tellwire.clock import to_ms
from tellwire.errors import InvalidInputError, LimitExceededError
from tellwire.model.limits import Limits

MAX_NAME_CHARS: Final = 200


def asked_limit(limit: int, limits: Limits) -> int:
    """The page size, checked. Raises InvalidInputError outside of 1 to the limit ``page_items``."""
    if limit < 1:
        raise InvalidInputError.at("limit", msg="must be at least 1")
    if limit > limits.page_items:
        error = InvalidInputError.at("limit", msg=f"must be at most {limits.page_items}").errors
        raise LimitExceededError(error, limit="page_items", maximum=limits.page_items)
    return limit


def asked_ms(name: str, at: datetime | None) -> int | None:
    """A time bound in milliseconds. Raises InvalidInputError where it has no time zone."""
    if at is None:
        return None
    try:
        return to_ms(at)
    except ValueError:
        raise InvalidInputError.at(name, msg="needs a time zone") from None


def check_name(name: str) -> None:
    """A name that people read. Raises InvalidInputError outside of 1 to 200 printable characters."""
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InvalidInputError.at("name", msg=f"must have 1 to {MAX_NAME_CHARS} characters")
    if not name.isprintable():
        raise InvalidInputError.at("name", msg="must have printable characters only")


def check_metadata(metadata: Mapping[str, str], limits: Limits) -> None:
    """What somebody keeps with a noun. Raises LimitExceededError over the limit ``metadata_bytes``."""
    size_bytes = sum(len(text.encode()) for pair in metadata.items() for text in pair)
    if size_bytes > limits.metadata_bytes:
        error = InvalidInputError.at(
            "metadata", msg=f"must have at most {limits.metadata_bytes} bytes in all"
        )
        raise LimitExceededError(error.errors, limit="metadata_bytes", maximum=limits.metadata_bytes)


def merged(before: Mapping[str, str], patch: Mapping[str, str | None] | None) -> dict[str, str]:
    """A mapping after a JSON merge patch (RFC 7396): None clears, a name or the whole."""
    if patch is None:
        return {}
    return {key: value for key, value in {**before, **patch}.items() if value is not None}
