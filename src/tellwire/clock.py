"""Time as a parameter: whoever needs the time is given a clock, so that a simulation can give another one.

Instants inside the engine are whole milliseconds since 1970 in UTC (names end in ``_ms``); what users see
are aware datetimes (names end in ``_at``) and, on the wire, RFC 3339 with milliseconds and ``Z``.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the end of RFC 3339's and Python's calendars."""


class Clock(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z."""


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z, by the machine's clock."""
        return time.time_ns() // 1_000_000


def to_datetime(ms: int) -> datetime:
    """An instant in milliseconds as an aware datetime in UTC, without rounding."""
    return _EPOCH + timedelta(milliseconds=ms)


def to_ms(at: datetime) -> int:
    """An aware datetime as milliseconds since 1970; finer parts are cut off.

    Raises:
        ValueError: the datetime has no time zone, so that it names no instant.
    """
    if at.tzinfo is None:
        raise ValueError("a datetime needs a time zone")
    return (at - _EPOCH) // timedelta(milliseconds=1)


_second_cached: tuple[int, str] = (-1, "")


def rfc3339(ms: int) -> str:
    """An instant as RFC 3339 in UTC with milliseconds: ``2026-01-31T09:30:00.123Z``."""
    global _second_cached
    second, rest = divmod(ms, 1000)
    cached_second, text = _second_cached
    if second != cached_second:
        text = to_datetime(second * 1000).strftime("%Y-%m-%dT%H:%M:%S")
        text = text.rjust(19, "0")  # strftime does not pad years before 1000 everywhere
        _second_cached = (second, text)
    return f"{text}.{rest:03d}Z"
