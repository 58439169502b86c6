"""Histograms of times."""

import random

import pytest

from tellwire.policy.histogram import add, bucket_of, histogram_of, most_of, percentiles


def test_buckets_follow_one_another() -> None:
    """No time falls between two buckets, and none is far from the end of its own."""
    last = -1
    for duration_ms in range(100_000):
        bucket = bucket_of(duration_ms)
        assert bucket in (last, last + 1)
        last = bucket
        most_ms = most_of(bucket)
        assert bucket_of(most_ms) == bucket
        assert duration_ms <= most_ms <= duration_ms * 1.125
        assert most_ms == duration_ms or duration_ms >= 16


@pytest.mark.parametrize("duration_ms", [-5, 10**15])
def test_odd_times_have_a_bucket(duration_ms: int) -> None:
    """A clock that was set back and a wait without end are counted too."""
    assert 0 <= bucket_of(duration_ms) < 256


def test_percentiles_are_never_too_low_and_an_eighth_too_high_at_most() -> None:
    """Against the nearest rank of the sorted times."""
    chance = random.Random(4)
    times = [int(chance.lognormvariate(4, 1.5)) for _ in range(5_000)]
    found = percentiles(histogram_of(times), (1, 50, 90, 95, 99, 100))
    assert found is not None
    for percentage, told in zip((1, 50, 90, 95, 99, 100), found, strict=True):
        true = sorted(times)[-(-len(times) * percentage // 100) - 1]
        assert true <= told <= true * 1.125


def test_percentiles_of_little() -> None:
    """Of nothing there are none; of one time all are that; of three the median is the second."""
    assert percentiles({}, (50,)) is None
    assert percentiles(histogram_of([7]), (50, 99)) == [7, 7]
    assert percentiles(histogram_of([3, 1, 2]), (99, 50)) == [3, 2]


def test_histograms_add_up() -> None:
    """The histogram of all is the sum of those of the parts."""
    first, second = [1, 20, 20, 300], [20, 5_000]
    whole = histogram_of(first)
    add(whole, histogram_of(second))
    assert whole == histogram_of(first + second)
