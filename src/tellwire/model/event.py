"""Event: something that happened. Immutable; one type, one tenant, JSON data kept as the bytes that were published."""

import re
from datetime import datetime
from typing import Final

import msgspec

from tellwire.clock import to_datetime

from .tenant import DEFAULT_TENANT

MAX_TYPE_CHARS: Final = 128
MAX_DELAY_MS: Final = 30 * 86_400_000
"""How far ahead an event may be published."""
TYPE_FORM: Final = r"^[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*$"
_TYPE: Final = re.compile(TYPE_FORM)


def is_type_name(text: str) -> bool:
    """Whether ``text`` names an event type: dot-separated segments of ``[A-Za-z0-9_]``, at most 128 characters."""
    return len(text) <= MAX_TYPE_CHARS and _TYPE.fullmatch(text) is not None


class NewEvent(msgspec.Struct, frozen=True):
    """A checked event on its way into the store. ``data`` is the exact JSON text that was published.

    ``occurred_ms`` is None where the publisher named no time: then it is the time of acceptance. It is not to be
    delivered before ``deliver_ms``, and not worth delivering from ``expires_ms`` on, where these are given.
    ``traceparent`` says to which trace it belongs, if to any. Events with one ``ordering_key`` are delivered in order
    where endpoints ask for that.
    """

    type: str
    data: bytes
    tenant: str = DEFAULT_TENANT
    idempotency_key: str | None = None
    occurred_ms: int | None = None
    deliver_ms: int | None = None
    expires_ms: int | None = None
    traceparent: str | None = None
    ordering_key: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """The acknowledgement: this event and its deliveries are durable.

    ``occurred_ms`` and ``created_ms`` are milliseconds since 1970; ``occurred_at`` and ``created_at`` are the same as
    aware datetimes. ``duplicate`` is true where an earlier event with the same idempotency key and content answers.
    """

    id: str
    type: str
    tenant: str
    occurred_ms: int
    created_ms: int
    deliveries: int
    duplicate: bool

    @property
    def occurred_at(self) -> datetime:
        """When it happened, as the publisher said, or else when it was accepted."""
        return to_datetime(self.occurred_ms)

    @property
    def created_at(self) -> datetime:
        """When it was accepted."""
        return to_datetime(self.created_ms)


class StoredEvent(msgspec.Struct, frozen=True):
    """A stored event. ``data`` is None in lists, which leave the payload out, and once it has expired.

    ``deliveries`` says how many endpoints are to get it, ``fanned_out`` for how many of them that has been put into
    deliveries so far (or passed over, where the endpoint was deleted before its turn): fewer only while a very wide
    event is fanned out in the background. It is delivered from ``deliver_at`` on, and not after ``expires_at``.
    """

    id: str
    type: str
    tenant: str
    occurred_at: datetime
    created_at: datetime
    idempotency_key: str | None
    deliveries: int
    fanned_out: int
    data_expired: bool
    data: bytes | None
    deliver_at: datetime | None = None
    expires_at: datetime | None = None
    ordering_key: str | None = None


def envelope(type: str, occurred_at: str, data: bytes) -> bytes:
    """The body on the wire: ``{"type": ..., "timestamp": ..., "data": ...}`` around untouched data bytes.

    Source: Standard Webhooks specification, "Payload structure". ``type`` and ``occurred_at`` hold no character
    that JSON would escape.
    """
    return b'{"type":"%b","timestamp":"%b","data":%b}' % (type.encode(), occurred_at.encode(), data)
