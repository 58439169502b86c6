"""The times of an event, as its publisher says them: an RFC 3339 text or an aware datetime -> milliseconds.

A part of `validation`. The time of acceptance, for events that say nothing, is left to the publisher.
"""

import re
from datetime import UTC, datetime
from typing import Final

from ..clock import MAX_MS, to_ms

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_OCCURRED_FORM: Final = "expected an RFC 3339 time with zone, such as 2026-01-31T09:30:00.123Z"


def occurred_ms(value: object) -> int:
    """Milliseconds since 1970 of an RFC 3339 text or an aware datetime; finer parts are cut off.

    Raises:
        ValueError: it is neither, has no time zone, is no time of the calendar or a leap second, or lies
            outside the years 1970 to 9999; the message can be shown to whoever sent it.
    """
    ms = to_ms(value) if isinstance(value, datetime) else _parse(value)
    if not 0 <= ms <= MAX_MS:
        raise ValueError("is outside the years 1970 to 9999")
    return ms


def _parse(value: object) -> int:
    """Milliseconds since 1970, finer digits cut off. Source: RFC 3339 section 5.6."""
    form = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if form is None:
        raise ValueError(_OCCURRED_FORM)
    year, month, day, hour, minute, second = map(int, form.groups()[:6])
    if second == 60:
        raise ValueError("is a leap second, which Unix time cannot name; send second 59")
    try:
        ms = to_ms(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    except ValueError as error:
        raise ValueError(f"is no time of the calendar: {error}") from None
    # Reckoned in milliseconds, because an offset may lead out of the calendar that datetime knows.
    offset_ms = (int(form[9]) * 60 + int(form[10])) * 60_000 if form[8] else 0
    return ms + int((form[7] or "")[:3].ljust(3, "0")) + (offset_ms if form[8] == "-" else -offset_ms)
