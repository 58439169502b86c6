"""When to try again: the schedule of retries and what a receiver's ``Retry-After`` asks for.

Consulted by ``outcome`` after an attempt failed. Everything is whole milliseconds; the present and the random
number come in as arguments.
"""

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ..errors import SettingsError

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_UNITS: Final = {"ms": 1, "s": _SECOND, "m": _MINUTE, "h": _HOUR, "d": _DAY}

JITTER: Final = 0.1
"""A delay is up to a tenth shorter or longer, so that what failed together does not return together."""

MAX_DELAYS: Final = 30
MAX_DELAY_MS: Final = 30 * _DAY
MAX_RETRY_AFTER_MS: Final = 24 * _HOUR
"""A receiver cannot postpone a delivery further than this at a time."""

_DELAY: Final = re.compile(r"([0-9]{1,10})(ms|s|m|h|d)")


class RetrySchedule(msgspec.Struct, frozen=True):
    """The waits between attempts: ``len(delays_ms)`` retries follow the first attempt.

    The default makes ten attempts over about three days (Standard Webhooks specification, "Deliverability and
    reliability").
    """

    delays_ms: tuple[int, ...] = (
        5 * _SECOND,
        5 * _MINUTE,
        30 * _MINUTE,
        2 * _HOUR,
        5 * _HOUR,
        10 * _HOUR,
        14 * _HOUR,
        20 * _HOUR,
        24 * _HOUR,
    )

    def delay_ms(self, attempts_made: int, random_unit: float) -> int | None:
        """Milliseconds from the end of attempt ``attempts_made`` to the next; None where none is left.

        Args:
            attempts_made: attempts so far, the one that just failed included (1 after the first).
            random_unit: uniform in [0, 1); 0 is the shortest wait (-10 %), 0.5 the scheduled one.
        """
        if attempts_made > len(self.delays_ms):
            return None
        return round(self.delays_ms[max(attempts_made, 1) - 1] * (1 - JITTER + 2 * JITTER * random_unit))


def parse_schedule(text: str) -> RetrySchedule:
    """Read ``5s,5m,30m``: whole numbers with ``ms``, ``s``, ``m``, ``h`` or ``d``; empty means no retries.

    Raises:
        SettingsError: a delay is malformed or longer than 30 days, or there are more than 30 of them.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(parts) > MAX_DELAYS:
        raise SettingsError(f"TELLWIRE_RETRY_SCHEDULE has {len(parts)} delays; give at most {MAX_DELAYS}")
    return RetrySchedule(tuple(_parse_delay(part) for part in parts))


def _parse_delay(part: str) -> int:
    form = _DELAY.fullmatch(part)
    if form is None:
        raise SettingsError(
            f"TELLWIRE_RETRY_SCHEDULE: {part[:40]!r} is no delay; write whole numbers with ms, s, m, h or d, "
            "separated by commas, such as 5s,5m,30m"
        )
    delay_ms = int(form[1]) * _UNITS[form[2]]
    if delay_ms > MAX_DELAY_MS:
        raise SettingsError(f"TELLWIRE_RETRY_SCHEDULE: {part} is too long; a delay is at most 30d")
    return delay_ms


_DAY_NAME: Final = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY_NAME: Final = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_DATES: Final = (
    # IMF-fixdate, the obsolete RFC 850 form, and asctime: a recipient MUST accept all three.
    re.compile(f"{_DAY_NAME}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(f"{_LONG_DAY_NAME}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(f"{_DAY_NAME} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
_SECONDS: Final = re.compile("[0-9]+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_retry_after(value: str, now_ms: int) -> int | None:
    """Milliseconds that a ``Retry-After`` asks us to wait, at most 24 hours; None where it makes no sense.

    Seconds or an HTTP date; a date in the past is 0. Source: RFC 9110 sections 10.2.3 and 5.6.7.
    """
    value = value.strip(" \t")
    if _SECONDS.fullmatch(value):
        # A number of many digits is not worth reading: it is over the cap in any case.
        digits = value.lstrip("0") or "0"
        return MAX_RETRY_AFTER_MS if len(digits) > 6 else min(int(digits) * _SECOND, MAX_RETRY_AFTER_MS)
    at_ms = _parse_http_date(value, now_ms)
    return None if at_ms is None else min(max(at_ms - now_ms, 0), MAX_RETRY_AFTER_MS)


def _parse_http_date(value: str, now_ms: int) -> int | None:
    form = next((form for form in (date.fullmatch(value) for date in _DATES) if form), None)
    if form is None:
        return None
    day, year = int(form["day"]), int(form["year"])
    month = _MONTHS.index(form["month"]) + 1
    if len(form["year"]) == 2:
        # "MUST interpret a timestamp that appears to be more than 50 years in the future as representing the
        # most recent year in the past that had the same last two digits" (RFC 9110 section 5.6.7).
        this_year = (_EPOCH + timedelta(milliseconds=now_ms)).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    moment = (year, month, day, int(form["hour"]), int(form["minute"]), int(form["second"]))
    return calendar.timegm(moment) * _SECOND
