"""What a receiver's ``Retry-After`` asks for: seconds, or a date in any of the three forms of HTTP.

Consulted by ``outcome`` after an attempt failed. Everything is whole milliseconds; the present comes in as an argument.
"""

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SECOND: Final = 1_000
MAX_RETRY_AFTER_MS: Final = 24 * 3600 * _SECOND
"""A receiver cannot postpone a delivery further than this at a time."""

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
