"""Token buckets: the average holds, a second's worth may come at once, memory is bounded."""

import pytest

from tellwire.policy.buckets import _MOST, Buckets

NOW = 1_700_000_000_000


def test_a_second_s_worth_may_come_at_once() -> None:
    """Then one has to wait, and is told for how long; what was refused costs nothing."""
    buckets = Buckets()
    assert [buckets.take("a", 1, per_s=4, now_ms=NOW) for _ in range(4)] == [0, 0, 0, 0]
    for _ in range(3):
        assert buckets.take("a", 1, per_s=4, now_ms=NOW) == pytest.approx(0.25)
    assert buckets.take("b", 1, per_s=4, now_ms=NOW) == 0
    assert buckets.take("a", 1, per_s=4, now_ms=NOW + 249) > 0
    assert buckets.take("a", 1, per_s=4, now_ms=NOW + 250) == 0


def test_the_average_holds_over_time() -> None:
    """Whoever asks all the time gets the rate, and the burst once."""
    buckets = Buckets()
    passed = sum(buckets.take("a", 1, per_s=50, now_ms=NOW + ms) == 0 for ms in range(10_000))
    assert passed == pytest.approx(50 + 500, abs=2)


def test_a_large_batch_is_paid_off() -> None:
    """It passes, whatever the rate, and the debt is waited for before the next one does."""
    buckets = Buckets()
    assert buckets.take("a", 500, per_s=10, now_ms=NOW) == 0
    assert buckets.take("a", 1, per_s=10, now_ms=NOW) == pytest.approx(49.1)
    assert buckets.take("a", 1, per_s=10, now_ms=NOW + 49_000) > 0
    assert buckets.take("a", 1, per_s=10, now_ms=NOW + 49_100) == 0


def test_a_deeper_bucket_holds_more_at_once() -> None:
    """For what comes rarely, and then in numbers."""
    buckets = Buckets(at_once=20)
    assert [buckets.take("a", 1, per_s=1, now_ms=NOW) == 0 for _ in range(21)] == [True] * 20 + [False]


def test_a_clock_that_is_set_back_harms_nobody() -> None:
    """No tokens come of it, and none are lost."""
    buckets = Buckets()
    assert buckets.take("a", 1, per_s=2, now_ms=NOW) == 0
    assert buckets.take("a", 1, per_s=2, now_ms=NOW - 60_000) == 0
    assert buckets.take("a", 1, per_s=2, now_ms=NOW - 60_000) > 0


def test_memory_is_bounded() -> None:
    """Of very many names, those asked for longest ago are forgotten."""
    buckets = Buckets()
    for number in range(_MOST + 1):
        buckets.take(str(number), 1, per_s=1, now_ms=NOW + number)
    assert len(buckets) == _MOST // 2 + 1
    assert buckets.take(str(_MOST), 1, per_s=1, now_ms=NOW + _MOST) > 0
