"""The page that Prometheus reads: the board and what is looked up, in the form that ``prometheus_client`` writes."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ..version import __version__
from . import families
from .board import Board
from .families import FAMILIES, PLACES, Family
from .metrics import Metrics


async def page(metrics: Metrics, accept: str = "") -> tuple[str, bytes]:
    """Content type and body, in the form that the header ``Accept`` asks for: OpenMetrics, or Prometheus' text."""
    metrics.sample()
    lag_s = await metrics.lag_s()
    registry = CollectorRegistry()
    registry.register(_Page(metrics, lag_s))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _Page(Collector):
    """All metrics at one moment."""

    def __init__(self, metrics: Metrics, lag_s: float | None) -> None:
        self._board = metrics.board
        self._alive = metrics.alive()
        self._seen: dict[str, list[tuple[tuple[str, ...], float]]] = {
            families.ENDPOINTS.name: [
                ((state,), metrics.endpoints().get(state, 0)) for (state,) in families.ENDPOINTS.series
            ],
            families.LAG.name: [] if lag_s is None else [((), lag_s)],
            families.DATABASE_UP.name: [((), float(lag_s is not None))],
            families.PROCESSES.name: [((), len(self._alive))],
            families.BUILD.name: [((__version__,), 1)],
        }

    def collect(self) -> Iterable[Metric]:
        """Every metric."""
        for family in FAMILIES:
            match family.kind:
                case "counter":
                    yield _counter(family, self._board)
                case "histogram":
                    yield _histogram(family, self._board)
                case "gauge":
                    yield self._gauge(family)

    def describe(self) -> Iterable[Metric]:
        """Nothing: no other collector shares the registry."""
        return ()

    def _gauge(self, family: Family) -> Metric:
        metric = GaugeMetricFamily(family.name, family.doc, labels=family.labels)
        for values, value in self._seen.get(family.name) or self._sampled(family):
            metric.add_metric(values, value)
        return metric

    def _sampled(self, family: Family) -> Iterator[tuple[tuple[str, ...], float]]:
        for values, place in PLACES.get(family.name, {}).items():
            yield values, sum(row[place] for row in self._alive)


def _counter(family: Family, board: Board) -> Metric:
    metric = CounterMetricFamily(family.name, family.doc, labels=family.labels)
    places = PLACES[family.name]
    for values, count in zip(places, board.sums(list(places.values())), strict=True):
        metric.add_metric(values, count)
    return metric


def _histogram(family: Family, board: Board) -> Metric:
    metric = HistogramMetricFamily(family.name, family.doc, labels=family.labels)
    for values, place in PLACES[family.name].items():
        *counts, total = board.sums(range(place, place + family.width))
        bounds = [*map(floatToGoString, family.buckets), "+Inf"]
        metric.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), total)
    return metric
