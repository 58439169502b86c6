"""Histograms of times: how percentiles are kept in little room, and how exact they are.

The buckets are fixed, so that histograms of any hours, endpoints and processes can be added. Up to 16 ms each
millisecond has its own; above, each doubling is cut into eight. A percentile is told as the largest time of its bucket:
never less than the true one, and at most an eighth more.
"""

from collections.abc import Iterable, Mapping
from typing import Final

_EXACT_MS: Final = 16
_MOST_MS: Final = (1 << 32) - 1
"""Seven weeks: what takes longer stands in the last bucket."""

Histogram = dict[int, int]
"""How many times fell into which bucket; buckets with none are left out."""


def bucket_of(duration_ms: int) -> int:
    """The number of the bucket that a time belongs to."""
    if duration_ms < _EXACT_MS:
        return max(duration_ms, 0)
    duration_ms = min(duration_ms, _MOST_MS)
    shift = duration_ms.bit_length() - 4
    return (shift << 3) + (duration_ms >> shift)


def most_of(bucket: int) -> int:
    """The largest time, in milliseconds, that belongs to a bucket."""
    if bucket < _EXACT_MS:
        return bucket
    shift = (bucket >> 3) - 1
    return (((bucket & 7) + 9) << shift) - 1


def histogram_of(durations_ms: Iterable[int]) -> Histogram:
    """The histogram of times in milliseconds."""
    histogram: Histogram = {}
    for duration_ms in durations_ms:
        bucket = bucket_of(duration_ms)
        histogram[bucket] = histogram.get(bucket, 0) + 1
    return histogram


def add(histogram: Histogram, more: Mapping[int, int]) -> None:
    """Count ``more`` in."""
    for bucket, count in more.items():
        histogram[bucket] = histogram.get(bucket, 0) + count


def percentiles(histogram: Mapping[int, int], wanted: Iterable[int]) -> list[int] | None:
    """For each percentage the time, in milliseconds, that so many of a hundred did not exceed; None where nothing was
    counted. The nearest rank: the 50th of three is the second."""
    total = sum(histogram.values())
    if not total:
        return None
    ranks = [(-(-total * percentage // 100), at) for at, percentage in enumerate(wanted)]
    found = [0] * len(ranks)
    counted = 0
    buckets = iter(sorted(histogram.items()))
    bucket = 0
    for rank, at in sorted(ranks):
        while counted < rank:
            bucket, count = next(buckets)
            counted += count
        found[at] = most_of(bucket)
    return found
