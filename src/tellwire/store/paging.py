"""Cursors: opaque to clients, for us the id of the last item of the page before."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from tellwire.errors import InvalidInputError
from tellwire.model.event import is_type_name
from tellwire.model.page import Page
from tellwire.model.tenant import is_tenant_id

Row = TypeVar("Row")
Item = TypeVar("Item")


def decode_cursor(cursor: str | None) -> bytes | None:
    """The id (16 bytes) that a cursor stands for; those of texts are read by the functions below.

    Raises:
        InvalidInputError: it is no cursor of ours.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        last_id = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        last_id = b""
    if len(last_id) != 16:
        raise InvalidInputError.at("cursor", msg="is not a cursor that a list has given out")
    return last_id


def decode_text_cursor(cursor: str | None) -> str | None:
    """The id of yours that a cursor of tenants stands for. Raises InvalidInputError."""
    return _decode_text(cursor, is_tenant_id)


def decode_type_cursor(cursor: str | None) -> str | None:
    """The name that a cursor of event types stands for. Raises InvalidInputError."""
    return _decode_text(cursor, is_type_name)


def _decode_text(cursor: str | None, is_sound: Callable[[str], bool]) -> str | None:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True
        ).decode()
    except (UnicodeError, binascii.Error):
        text = ""
    if not is_sound(text):
        raise InvalidInputError.at("cursor", msg="is not a cursor that a list has given out")
    return text


def first_id_of(ms: int) -> bytes:
    """The smallest id that can be made at an instant: where a span of time begins in a table that is sorted by id."""
    return max(ms, 0).to_bytes(6, "big") + bytes(10)


def page(
    rows: Sequence[Row], limit: int, render: Callable[[Row], Item], last_id: Callable[[Row], bytes]
) -> Page[Item]:
    """A page of at most ``limit`` items out of ``rows``, of which one more than that was asked for."""
    shown = rows[:limit]
    more = len(rows) > limit
    cursor = base64.urlsafe_b64encode(last_id(shown[-1])).decode().rstrip("=") if more else None
    return Page([render(row) for row in shown], cursor)
