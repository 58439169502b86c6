"""The retry schedule and ``Retry-After``."""

import pytest

from tellwire.errors import SettingsError
from tellwire.policy.retry import MAX_RETRY_AFTER_MS, RetrySchedule, parse_retry_after, parse_schedule

NOV_6_1994 = 784_111_777_000  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7
HOUR = 3_600_000


def test_the_default_makes_ten_attempts_over_three_days() -> None:
    """Nine delays follow the first attempt and add up to a little more than three days."""
    schedule = RetrySchedule()
    assert len(schedule.delays_ms) == 9
    assert schedule == parse_schedule("5s,5m,30m,2h,5h,10h,14h,20h,24h")
    assert 3 * 24 * HOUR < sum(schedule.delays_ms) < 4 * 24 * HOUR


def test_delays_follow_the_schedule_with_jitter_and_end() -> None:
    """The n-th failure waits the n-th delay, 10 % more or less; after the last delay there is none."""
    schedule = parse_schedule("10s,1m")
    assert schedule.delay_ms(1, 0.0) == 9_000
    assert schedule.delay_ms(1, 0.5) == 10_000
    assert schedule.delay_ms(1, 0.999999999) == 11_000
    assert schedule.delay_ms(2, 0.5) == 60_000
    assert schedule.delay_ms(3, 0.5) is None
    assert schedule.delay_ms(30_000, 0.5) is None


def test_schedules_are_read_in_every_unit() -> None:
    """Milliseconds to days, with or without spaces; an empty text means no retries."""
    assert parse_schedule("250ms, 2s,3m ,4h,1d").delays_ms == (250, 2_000, 180_000, 4 * HOUR, 24 * HOUR)
    assert parse_schedule("").delays_ms == ()
    assert parse_schedule("  ").delay_ms(1, 0.5) is None
    assert len(parse_schedule(",".join(["30d"] * 30)).delays_ms) == 30


@pytest.mark.parametrize(
    "text", ["5", "5 s", "s", "-5s", "5s,", ",", "1.5s", "5S", "31d", "99999999999s", "\u0665s", "5s 5m"]
)
def test_a_bad_schedule_names_the_setting(text: str) -> None:
    """A malformed or too long delay is refused with the name of the setting."""
    with pytest.raises(SettingsError, match="TELLWIRE_RETRY_SCHEDULE"):
        parse_schedule(text)


def test_a_schedule_has_an_end() -> None:
    """More than thirty delays are refused."""
    with pytest.raises(SettingsError, match="31 delays"):
        parse_schedule(",".join(["1s"] * 31))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("120", 120_000),
        (" 120\t", 120_000),
        ("00000000000000000000000000120", 120_000),
        ("86400", MAX_RETRY_AFTER_MS),
        ("86401", MAX_RETRY_AFTER_MS),
        ("9" * 10_000, MAX_RETRY_AFTER_MS),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("", None),
        ("soon", None),
        ("120, 60", None),
    ],
)
def test_retry_after_in_seconds(value: str, expected: int | None) -> None:
    """Whole seconds are read, capped at a day; everything else makes no sense."""
    assert parse_retry_after(value, NOV_6_1994) == expected


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_retry_after_as_a_date(value: str) -> None:
    """All three forms of RFC 9110 name the same instant: a wait before it, none after it, a day at most."""
    assert parse_retry_after(value, NOV_6_1994 - 1_500) == 1_500
    assert parse_retry_after(value, NOV_6_1994) == 0
    assert parse_retry_after(value, NOV_6_1994 + HOUR) == 0
    assert parse_retry_after(value, NOV_6_1994 - 25 * HOUR) == MAX_RETRY_AFTER_MS


def test_a_two_digit_year_is_never_more_than_fifty_years_ahead() -> None:
    """RFC 9110: a year that would be more than 50 years ahead is the last one that ended like this."""
    in_2026 = 1_767_225_600_000
    assert parse_retry_after("Tuesday, 01-Jan-30 00:00:00 GMT", in_2026) == MAX_RETRY_AFTER_MS
    assert parse_retry_after("Friday, 01-Jan-76 00:00:00 GMT", in_2026) == MAX_RETRY_AFTER_MS
    assert parse_retry_after("Saturday, 01-Jan-77 00:00:00 GMT", in_2026) == 0


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "Xxx, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_dates_that_are_none(value: str) -> None:
    """A date outside the calendar or of another form makes no sense."""
    assert parse_retry_after(value, NOV_6_1994) is None
