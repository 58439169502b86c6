"""The concurrency of a lane."""

from tellwire.policy.rate import LaneLimit


def test_a_full_lane_stays_full() -> None:
    """Successes at the maximum change nothing."""
    lane = LaneLimit.full(16)
    assert lane.allowed == 16
    assert lane.recovered() == lane


def test_slowing_halves_down_to_one() -> None:
    """Each slowing halves, rounding down, and one always remains."""
    lane = LaneLimit.full(16)
    seen = []
    for _ in range(6):
        lane = lane.slowed()
        seen.append(lane.allowed)
    assert seen == [8, 4, 2, 1, 1, 1]


def test_recovery_takes_a_full_round_for_each_step() -> None:
    """At n allowed, n successes in a row allow one more, until the maximum."""
    lane = LaneLimit(4, 2)
    seen = []
    for _ in range(7):
        lane = lane.recovered()
        seen.append(lane.allowed)
    assert seen == [2, 3, 3, 3, 4, 4, 4]


def test_slowing_breaks_a_streak() -> None:
    """A streak counts from the last change."""
    lane = LaneLimit(16, 8, streak=7).slowed()
    assert lane == LaneLimit(16, 4, streak=0)


def test_a_lane_that_is_held_back_stays_so_until_it_is_let_go() -> None:
    """Neither successes nor failures of what was in the air change that; then it begins with one."""
    held = LaneLimit.full(16).held_back()
    assert held.allowed == 0
    assert held.slowed().recovered().slowed().held_back() == held
    assert held.let_go() == LaneLimit(16, 1)
    assert LaneLimit(16, 5).let_go() == LaneLimit(16, 5)
