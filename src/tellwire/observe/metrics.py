"""Metrics: counts facts as they are told, for Prometheus to read.

Counting an attempt takes about a microsecond: sums in an array (see ``board``), no locks, no texts. What is not told
but is there to be seen (queues, lanes, connections) is looked up when somebody asks; where several processes share a
board, each writes its own once a second.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import StoreError, TellwireError
from ..hub import Tellwire
from ..telemetry import (
    AttemptFinished,
    BatchSent,
    DeliveriesRescued,
    DeliveryExpired,
    EndpointDisabled,
    EndpointFailing,
    EngineFaulted,
    EventsPruned,
    EventsPublished,
    Fact,
    LaneOpened,
    PageFannedOut,
    ResultsDropped,
    StoreFailed,
    TransactionCommitted,
)
from . import families
from .board import Board, Row
from .families import CELLS, OTHER, PLACES, SAMPLED_AT, WAITING_S, Family

SAMPLE_EVERY_S: Final = 1.0
_ALIVE_FOR_S: Final = 5.0
_LAG_FOR_S: Final = 2.0
_LAG_WITHIN_S: Final = 2.0
_FIRST: Final = 1


class Metrics:
    """What one process counts, on a board that it may share with others."""

    def __init__(self, tellwire: Tellwire, board: Board | None = None, row: int = 0) -> None:
        """Count what ``tellwire`` tells from now on, in one ``row`` of ``board``."""
        self.board = board or Board(1, CELLS)
        self._tellwire = tellwire
        self._cells = self.board.row(row)
        self._lag: tuple[float, float | None] = (-_LAG_FOR_S, None)
        self._counts: Mapping[type[Fact], Callable[[Any], None]] = {
            AttemptFinished: self._attempt,
            EventsPublished: self._published,
            PageFannedOut: self._page,
            TransactionCommitted: self._committed,
            ResultsDropped: lambda fact: self._add(families.DROPPED, fact.deliveries),
            DeliveriesRescued: lambda fact: self._add(families.RESCUED, fact.deliveries),
            BatchSent: self._batch,
            DeliveryExpired: lambda fact: self._add(families.EXPIRED, 1),
            EndpointFailing: lambda fact: self._add(families.WARNINGS, 1),
            LaneOpened: lambda fact: self._add(families.CIRCUITS, 1),
            EndpointDisabled: lambda fact: self._add(families.DISABLED, 1),
            EventsPruned: lambda fact: self._add(families.PRUNED, fact.events),
            StoreFailed: lambda fact: self._add(families.STORE_FAILURES, 1, fact.stage),
            EngineFaulted: self._fault,
        }
        tellwire.telemetry.subscribe(self.count)

    def count(self, fact: Fact) -> None:
        """Count one fact; facts that no metric is made of are passed over."""
        count = self._counts.get(type(fact))
        if count is not None:
            count(fact)

    async def keep_sampling(self) -> None:
        """Write the gauges of this process once a second until cancelled, for the others to read."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_EVERY_S)

    def sample(self) -> None:
        """Write the gauges of this process."""
        engine = self._tellwire.engine
        if engine is not None:
            load = engine.load()
            self._set(families.IN_FLIGHT, load.in_flight)
            self._set(families.HELD, load.held)
            self._set(families.WAITING, load.waiting)
            self._set(families.LANES, load.lanes - load.limited, "open")
            self._set(families.LANES, load.limited, "limited")
            self._set(families.LANES, load.behind, "behind")
            self._set(families.LANES, load.broken, "broken")
            self._cells[WAITING_S] = load.waiting_ms / 1000
        for pool in self._tellwire.connections:
            self._set(families.CONNECTIONS, pool.used, pool.name, "used")
            self._set(families.CONNECTIONS, pool.most, pool.name, "most")
        self._cells[SAMPLED_AT] = time.monotonic()  # the same clock in all processes of a machine

    def alive(self) -> list[Row]:
        """The rows of the processes that wrote their gauges lately: those of a dead one say nothing any more."""
        since = time.monotonic() - _ALIVE_FOR_S
        rows = [self.board.row(number) for number in range(self.board.rows)]
        return [row for row in rows if row[SAMPLED_AT] > max(since, 0)]

    async def lag_s(self) -> float | None:
        """For how long the oldest due delivery has been waiting; None where the database does not answer.

        The database is asked every two seconds at most, however often somebody asks here.
        """
        asked_at, stored_s = self._lag
        if time.monotonic() - asked_at >= _LAG_FOR_S:
            try:
                async with asyncio.timeout(_LAG_WITHIN_S):
                    stored_s = await self._tellwire.deliveries.lag_ms() / 1000
            except (StoreError, TellwireError, TimeoutError):
                stored_s = None
            self._lag = (time.monotonic(), stored_s)
        if stored_s is None:
            return None
        return max([stored_s, *(row[WAITING_S] for row in self.alive())])

    def endpoints(self) -> Mapping[str, int]:
        """How many endpoints are in each state."""
        counts = self._tellwire.endpoints.count_by_state()
        return {str(state): count for state, count in counts.items()}

    def _batch(self, fact: BatchSent) -> None:
        self._add(families.BATCHES, 1, "succeeded" if fact.succeeded else "failed")
        self._observe(families.BATCH_DELIVERIES, fact.deliveries)

    def _attempt(self, fact: AttemptFinished) -> None:
        cells, duration_s, age_s = self._cells, fact.duration_ms / 1000, fact.age_ms / 1000
        cells[_attempt_cell(fact.error, fact.status_code, fact.trigger)] += 1
        _observe(cells, _ATTEMPT_AT, _ATTEMPT_BOUNDS, duration_s)
        if fact.number == _FIRST and fact.trigger != "replay":
            _observe(cells, _FIRST_ATTEMPT_AT, _FIRST_ATTEMPT_BOUNDS, max(age_s - duration_s, 0.0))
        if fact.state == "succeeded":
            cells[_SUCCEEDED_AT] += 1
            if fact.trigger == "schedule":
                _observe(cells, _END_TO_END_AT, _END_TO_END_BOUNDS, age_s)
        elif fact.state == "exhausted":
            cells[_EXHAUSTED_AT] += 1

    def _published(self, fact: EventsPublished) -> None:
        self._add(families.PUBLISHED, fact.events)
        self._add(families.DUPLICATES, fact.duplicates)
        self._add(families.FANNED_OUT, fact.deliveries)
        if fact.events:
            self._observe(families.COMMIT_EVENTS, fact.events)

    def _page(self, fact: PageFannedOut) -> None:
        self._add(families.PAGES, 1)

    def _committed(self, fact: TransactionCommitted) -> None:
        rest_s = fact.duration_s
        for share in fact.shares:
            self._observe(families.COMMIT_ITEMS, share.items, share.stage)
            self._observe(families.DATABASE, share.duration_s, share.stage)
            rest_s -= share.duration_s
        self._observe(families.DATABASE, max(rest_s, 0.0), "commit")

    def _fault(self, fact: EngineFaulted) -> None:
        self._add(families.FAULTS, 1, "delivery" if fact.where.startswith("dlv_") else fact.where)

    def _add(self, family: Family, amount: float, *values: str) -> None:
        self._cells[_place(family, values)] += amount

    def _set(self, family: Family, value: float, *values: str) -> None:
        self._cells[_place(family, values)] = value

    def _observe(self, family: Family, value: float, *values: str) -> None:
        _observe(self._cells, _place(family, values), family.buckets, value)


def _place(family: Family, values: tuple[str, ...]) -> int:
    places = PLACES[family.name]
    place = places.get(values)
    return places[OTHER,] if place is None else place


def _observe(cells: Row, at: int, bounds: tuple[float, ...], value: float) -> None:
    # Each value in one bucket only; they are added up when somebody reads.
    cells[at + bisect_left(bounds, value)] += 1
    cells[at + len(bounds) + 1] += value


def _attempt_cell(error: str | None, status_code: int | None, trigger: str) -> int:
    hundreds = None if error is not None or status_code is None else status_code // 100
    place = _ATTEMPT_CELLS.get((error, hundreds, trigger))
    return _ATTEMPTS[("failed", OTHER, "schedule")] if place is None else place


def _attempt_cells() -> dict[tuple[str | None, int | None, str], int]:
    cells: dict[tuple[str | None, int | None, str], int] = {}
    for (outcome, error, trigger), place in _ATTEMPTS.items():
        if outcome == "succeeded":
            cells[None, 2, trigger] = place
        elif error in families.ANSWERED:
            cells[None, int(error.removeprefix("status_")[0]), trigger] = place
        else:
            cells[error, None, trigger] = place
    return cells


_ATTEMPTS: Final = PLACES[families.ATTEMPTS.name]
_ATTEMPT_CELLS: Final = _attempt_cells()
_ATTEMPT_AT, _ATTEMPT_BOUNDS = PLACES[families.ATTEMPT.name][()], families.ATTEMPT.buckets
_FIRST_ATTEMPT_AT, _FIRST_ATTEMPT_BOUNDS = (
    PLACES[families.FIRST_ATTEMPT.name][()],
    families.FIRST_ATTEMPT.buckets,
)
_END_TO_END_AT, _END_TO_END_BOUNDS = PLACES[families.END_TO_END.name][()], families.END_TO_END.buckets
_SUCCEEDED_AT = PLACES[families.FINISHED.name]["succeeded",]
_EXHAUSTED_AT = PLACES[families.FINISHED.name]["exhausted",]
