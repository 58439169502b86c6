"""What ``Retry-After`` asks for."""

import pytest

from tellwire.policy.retry_after import MAX_RETRY_AFTER_MS, parse_retry_after

NOV_6_1994 = 784_111_777_000  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7
HOUR = 3_600_000


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
