"""Page: one piece of a list, and the cursor to the next."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """``data`` in the list's order (newest first) and ``next``, an opaque cursor, or None at the end."""

    data: list[T]
    next: str | None
