"""Small arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all do not exceed (nearest rank); NaN of nothing."""
    return _of_ordered(sorted(values), percent)


@dataclass(frozen=True)
class Spread:
    """The usual percentiles of some latencies, in milliseconds."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    count: int


def spread_of(latencies_ns: Iterable[float]) -> Spread:
    """The percentiles of latencies in nanoseconds."""
    ordered = sorted(latencies_ns)
    p50, p99, p999 = (_of_ordered(ordered, percent) / 1e6 for percent in (50, 99, 99.9))
    return Spread(p50, p99, p999, len(ordered))


def _of_ordered(ordered: Sequence[float], percent: float) -> float:
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
