"""The token bucket: never more than its burst above the rate, in any window, whatever the clock does."""

from hypothesis import example, given
from hypothesis import strategies as st

from tellwire.policy.rate import Bucket

STEPS = st.lists(st.integers(-50, 400), min_size=1, max_size=200)


@given(limit=st.integers(1, 2_000), per_s=st.sampled_from([1, 60]), burst=st.integers(1, 20), steps=STEPS)
def test_no_window_has_more_than_burst_and_rate(limit: int, per_s: int, burst: int, steps: list[int]) -> None:
    """Between any two requests, so many at most. The clock may be set back; it is the furthest instant that counts."""
    bucket = Bucket(limit / (per_s * 1000), burst, burst, 0)
    now_ms = furthest_ms = 0
    begun: list[int] = []
    for step in steps:
        now_ms = max(0, now_ms + step)
        furthest_ms = max(furthest_ms, now_ms)
        for _ in range(3):
            taken = bucket.taken(now_ms)
            if taken is None:
                break
            bucket = taken
            begun.append(furthest_ms)
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            window_ms = begun[last] - begun[first]
            assert last - first + 1 <= burst + window_ms * bucket.per_ms + 1e-6


@given(limit=st.integers(1, 2_000), per_s=st.sampled_from([1, 60]), gap_ms=st.integers(0, 70_000))
@example(limit=40, per_s=60, gap_ms=40)
def test_who_waits_as_long_as_told_gets_a_token(limit: int, per_s: int, gap_ms: int) -> None:
    """And not a millisecond before."""
    bucket = Bucket(limit / (per_s * 1000), 1, 0, 1_000)
    wait_ms = bucket.wait_ms(1_000 + gap_ms)
    assert (bucket.taken(1_000 + gap_ms) is not None) == (wait_ms == 0)
    assert bucket.taken(1_000 + gap_ms + wait_ms) is not None
    if wait_ms > 1:
        assert bucket.taken(1_000 + gap_ms + wait_ms - 1) is None
