"""What the doctor makes of what is on its way: from when on it is late, and what is named where there is much."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from tellwire.doctor import traffic
from tellwire.doctor.finding import Finding, Level
from tellwire.model.endpoint import EndpointState
from tellwire.store.backlog import LaneBacklog
from tellwire.store.failing import Failing

MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS


def lane(number: int = 1, **changed: Any) -> LaneBacklog:
    fields: dict[str, Any] = {
        "endpoint_id": f"ep_{number}", "tenant": "acme", "state": EndpointState.ENABLED, "reason": None, "pending": 3,
        "due": 2, "oldest_ms": 0, "stuck": 0,
    }  # fmt: skip
    return LaneBacklog(**(fields | changed))


@pytest.mark.parametrize(
    ("oldest_ms", "level"),
    [
        (0, Level.OK),
        (MINUTE_MS, Level.OK),
        (MINUTE_MS + 1, Level.WARNING),
        (15 * MINUTE_MS, Level.WARNING),
        (15 * MINUTE_MS + 1, Level.FAILURE),
    ],
)
def test_what_has_been_due_for_long_is_late(oldest_ms: int, level: Level) -> None:
    """A minute is nothing, more is a warning, and more than a quarter of an hour a failure; the oldest is named."""
    found = traffic._oldest([lane(1), lane(2, oldest_ms=oldest_ms, pending=5)])
    assert found.level is level
    assert "4 deliveries of 8 pending" in found.says
    assert ("ep_2" in found.says) == (oldest_ms > 0)


def test_nothing_that_is_due_is_well() -> None:
    """However much is pending for later."""
    assert traffic._oldest([lane(due=0, pending=1_000)]).level is Level.OK


@pytest.mark.parametrize(("oldest_ms", "level"), [(MINUTE_MS, Level.OK), (MINUTE_MS + 1, Level.WARNING)])
@pytest.mark.parametrize("held", [{"limited": True}, {"held_ms": 5_000}])
def test_what_an_endpoint_does_not_take_is_told_after_a_minute(
    held: dict[str, Any], oldest_ms: int, level: Level
) -> None:
    """By its limits, or because its receiver has asked to be left alone."""
    (found,) = traffic._limited([lane(oldest_ms=oldest_ms, **held)])
    assert found.level is level


def closed(lanes: Sequence[LaneBacklog]) -> Iterable[Finding]:
    return traffic._closed([one._replace(state=EndpointState.PAUSED) for one in lanes])


def limited(lanes: Sequence[LaneBacklog]) -> Iterable[Finding]:
    return traffic._limited([one._replace(limited=True, oldest_ms=DAY_MS) for one in lanes])


def blocked(lanes: Sequence[LaneBacklog]) -> Iterable[Finding]:
    return traffic._blocked([one._replace(blocked=2, blocked_lines=1) for one in lanes])


def failing(lanes: Sequence[LaneBacklog]) -> Iterable[Finding]:
    return traffic._failing([Failing(bytes(16), 0, 2 * DAY_MS, 1) for _ in lanes], 5 * DAY_MS)


@pytest.mark.parametrize("check", [closed, traffic._broken, limited, blocked, failing])
@pytest.mark.parametrize("count", [0, 1, 5, 6, 8])
def test_five_are_named_and_the_rest_is_counted(
    check: Callable[[Sequence[LaneBacklog]], Iterable[Finding]], count: int
) -> None:
    """Each with what to do; where there is none, that is well."""
    found = list(check([lane(number) for number in range(count)]))
    if not count:
        assert [one.level for one in found] == [Level.OK]
        return
    assert {one.level for one in found} == {Level.WARNING}
    assert all(one.advice for one in found)
    named, rest = found[:5], found[5:]
    assert len(named) == min(count, 5)
    assert [f"{count - 5} " in one.says for one in rest] == [True] * (count > 5)


def test_one_lease_that_is_stuck_is_a_failure() -> None:
    """Of whichever endpoint."""
    assert traffic._leases([lane(1), lane(2)]).level is Level.OK
    found = traffic._leases([lane(1), lane(2, stuck=1)])
    assert (found.level, "1 delivery" in found.says) == (Level.FAILURE, True)
