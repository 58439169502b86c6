"""Instants: milliseconds inside, RFC 3339 outside."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tellwire.clock import MAX_MS, SystemClock, rfc3339, to_datetime, to_ms


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_769_851_800_123, "2026-01-31T09:30:00.123Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (MAX_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_rfc3339_has_milliseconds_and_z(ms: int, text: str) -> None:
    """Every instant is written in UTC with three digits, and reading it gives the same instant."""
    assert rfc3339(ms) == text
    assert to_ms(datetime.fromisoformat(text)) == ms
    assert to_ms(to_datetime(ms)) == ms


def test_rfc3339_does_not_mix_up_seconds() -> None:
    """The text of one second is not shown for another, in whatever order they are asked for."""
    texts = [rfc3339(ms) for ms in (1_000, 2_500, 1_001, 1_002, 61_000, 2_000)]
    assert [text[14:] for text in texts] == [
        "00:01.000Z",
        "00:02.500Z",
        "00:01.001Z",
        "00:01.002Z",
        "01:01.000Z",
        "00:02.000Z",
    ]


def test_finer_parts_are_cut_off() -> None:
    """Microseconds do not round up to the next millisecond."""
    assert to_ms(datetime(1970, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC)) == 1


def test_offsets_are_taken_into_account() -> None:
    """The same instant in another zone is the same number."""
    assert to_ms(datetime(1970, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=1)))) == 0


def test_a_naive_datetime_names_no_instant() -> None:
    """A datetime without a zone is refused."""
    with pytest.raises(ValueError, match="time zone"):
        to_ms(datetime(2026, 1, 1))


def test_the_system_clock_tells_the_time_of_today() -> None:
    """The clock of the machine counts milliseconds since 1970."""
    before = to_ms(datetime.now(UTC))
    now = SystemClock().now_ms()
    assert before <= now <= to_ms(datetime.now(UTC))
