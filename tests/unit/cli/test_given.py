"""Arguments that several commands take."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from tellwire.cli.given import ahead, pairs, patterns, time


def test_time_is_rfc3339() -> None:
    """An RFC 3339 time is that instant."""
    assert time("2026-01-31T10:30:00.5+01:00") == datetime(2026, 1, 31, 9, 30, 0, 500_000, tzinfo=UTC)


def test_lengths_count_from_now() -> None:
    """A length is counted back from now, or ahead where the end of something is asked for."""
    now = datetime.now(UTC)

    assert abs(now - timedelta(hours=2) - time("2h")) < timedelta(minutes=1)
    assert abs(now + timedelta(days=90) - ahead("90d")) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "999999999d", "", "-5m", "2026-01-31T09:30:00"])
def test_other_times_are_refused(text: str) -> None:
    """What is no time is a fault of usage that says what to write."""
    with pytest.raises(typer.BadParameter, match="such as 15m"):
        time(text)


def test_pairs() -> None:
    """Names and values are split at the first separator; an empty value clears."""
    assert pairs(["X-A: b:c", "X-B:"], "--header", ":") == {"X-A": "b:c", "X-B": None}
    with pytest.raises(typer.BadParameter):
        pairs(["=b"], "--metadata", "=")


def test_patterns() -> None:
    """Patterns come one by one or with commas between."""
    assert patterns(["order.*, user.created", "a"]) == ["order.*", "user.created", "a"]
