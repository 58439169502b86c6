"""Group commit: many writers, one transaction, one fsync.

What is submitted while a transaction is being written waits for the next one, so that the batch grows with the load
and nobody waits when there is none. One task on the event loop writes; what may block for long (an fsync, a lock that
somebody else holds) it leaves to the store's own thread (docs/adr/0005-statements-on-the-event-loop.md).

A stage registers a ``BatchedWrite``: ``run`` gets all its waiting items at once, inside the transaction; ``done``
gets their outcomes on the event loop, after the commit. An outcome that is an exception refuses that item alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from sqlalchemy import Connection

from tellwire.errors import StoreUnavailableError
from tellwire.telemetry import StageShare, Telemetry, TransactionCommitted
from tellwire.waking import woken

Run = Callable[[Connection, list[Any]], list[Any]]
Done = Callable[[list[Any], list[Any]], None]
Weigh = Callable[[Any], int]
Work = list[tuple["BatchedWrite", list[Any]]]

LINGER_S = 0.002
"""How long a batch may grow while publishers are many. Measured: see docs/adr/0003-group-commit.md."""
BUSY_ITEMS = 4
"""A transaction with at least so many items means load: then the next one lingers."""
PATIENT_LINGERS = 12
PATIENT_ITEMS = 200
"""While only items wait for which nobody waits in turn, a batch may grow for so many lingers, or to so many items."""
LONG_S = 0.025
"""A write for whose outcomes nobody waits takes about so long of one transaction at most: others do wait for that."""
PACE_ITEMS = 200
"""How long it takes is seen in what weighs at least so much, which it may always take."""


class BlockedError(StoreUnavailableError):
    """Another transaction is in the way of something in this one; without that, the rest may pass."""


def one(_: Any) -> int:
    """The weight of an item that weighs like every other."""
    return 1


def settle(items: list[Any], outcomes: list[Any]) -> None:
    """Give changes, which were submitted as ``(change, future)``, their outcomes."""
    for (_, future), outcome in zip(items, outcomes, strict=True):
        if future.done():  # its caller has gone
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class BatchedWrite:
    """One stage's waiting items, and what to do with them."""

    def __init__(
        self,
        stage: str,
        run: Run,
        done: Done,
        wake: Callable[[bool], None],
        weigh: Weigh,
        max_weight: int,
        patient: bool,
    ) -> None:
        self.stage = stage
        self.patient = patient
        self.spent_s = 0.0
        """How long ``run`` took in the transaction that is being written."""
        self._run = run
        self._done = done
        self._wake = wake
        self._weigh = weigh
        self._max_weight = max_weight
        self._most = min(PACE_ITEMS, max_weight) if patient else max_weight
        self._items: deque[Any] = deque()
        self._hurried = False

    def run(self, connection: Connection, items: list[Any]) -> list[Any]:
        """Do what ``items`` ask for inside the transaction; gives an outcome for each."""
        started = perf_counter()
        try:
            return self._run(connection, items)
        finally:
            self.spent_s += perf_counter() - started

    def done(self, items: list[Any], outcomes: list[Any]) -> None:
        """Tell the stage what came of its items; how long that and writing them took says how many to take next."""
        started = perf_counter()
        try:
            self._done(items, outcomes)
        finally:
            if self.patient:
                took_s = self.spent_s + perf_counter() - started
                self._pace(sum(map(self._weigh, items)), took_s)

    def _pace(self, weight: int, took_s: float) -> None:
        if weight >= PACE_ITEMS:
            self._most = max(PACE_ITEMS, min(self._max_weight, int(weight * LONG_S / took_s)))

    def submit(self, item: Any, *, hurry: bool = False) -> None:
        """Put ``item`` into the next transaction; ``hurry`` where somebody waits for this one of a patient kind."""
        self._items.append(item)
        self._hurried = hurry or self._hurried
        self._wake(self.in_hurry)

    def take(self) -> list[Any]:
        """The waiting items, as many as one transaction should hold; the rest waits for the next."""
        taken: list[Any] = []
        weight = 0
        while self._items and weight < self._most:
            taken.append(self._items.popleft())
            weight += self._weigh(taken[-1])
        self._hurried = self._hurried and bool(self._items)
        return taken

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self._items)

    @property
    def in_hurry(self) -> bool:
        """Whether somebody waits for an item that waits."""
        return bool(self._items) and (self._hurried or not self.patient)


class GroupCommit:
    """Gathers what stages submit and has it written, batch after batch, while anything waits."""

    def __init__(
        self,
        commit: Callable[[Work], Awaitable[list[list[Any]]]],
        loop: asyncio.AbstractEventLoop,
        *,
        linger_s: float = LINGER_S,
        telemetry: Telemetry | None = None,
    ) -> None:
        """``commit`` writes a batch in one transaction and gives an outcome for each item, or raises."""
        self._telemetry = telemetry or Telemetry()
        self._commit = commit
        self._loop = loop
        self._linger_s = linger_s
        self._writes: list[BatchedWrite] = []
        self._hurry = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def register(
        self,
        run: Run,
        done: Done,
        max_weight: int,
        weigh: Weigh = one,
        *,
        patient: bool = False,
        stage: str = "other",
    ) -> BatchedWrite:
        """A new kind of write. Kinds are written in the order in which they were registered.

        ``patient``: nobody waits for its outcomes, so that under load its items may wait to share a commit.
        ``stage``: whose write it is, for telemetry.
        """
        write = BatchedWrite(stage, run, done, self._wake, weigh, max_weight, patient)
        self._writes.append(write)
        return write

    async def close(self) -> None:
        """Write what waits, and what stages submit in answer to it."""
        self._closing = True
        self._hurry.set()
        while self._task is not None:
            await asyncio.wait([self._task])

    def _wake(self, hurry: bool) -> None:
        if hurry:
            self._hurry.set()
        # Not at once: what else is submitted in this turn of the event loop comes along.
        if self._task is None:
            self._task = self._loop.create_task(self._write_on(), name="tellwire-writer")

    async def _write_on(self) -> None:
        try:
            while work := [(write, write.take()) for write in self._writes if write.waiting]:
                outcomes = await self._transact(work)
                self._hand_over(work, outcomes)
                if not self._linger_s:
                    continue
                if sum(len(items) for _, items in work) >= BUSY_ITEMS:
                    await self._linger()
                elif all(write.patient for write, _ in work):
                    await self._wait_for_company()
        finally:
            self._task = None

    async def _linger(self) -> None:
        for _ in range(PATIENT_LINGERS):
            await asyncio.sleep(self._linger_s)
            waiting = sum(write.waiting for write in self._writes)
            if not 0 < waiting < PATIENT_ITEMS or any(write.in_hurry for write in self._writes):
                return

    async def _wait_for_company(self) -> None:
        """After a few items for which nobody waits: let the next such come together, until somebody is in a hurry."""
        if self._closing or any(write.in_hurry for write in self._writes):
            return
        self._hurry.clear()
        await woken(self._hurry, PATIENT_LINGERS * self._linger_s)

    async def _transact(self, work: Work) -> list[list[Any]]:
        """Write one batch. If it fails for a reason of its own, every item gets a transaction of its own."""
        started = perf_counter()
        for write, _ in work:
            write.spent_s = 0.0
        try:
            outcomes = await self._commit(work)
            self._tell(work, perf_counter() - started)
            return outcomes
        except Exception as error:
            unavailable = isinstance(error, StoreUnavailableError) and not isinstance(error, BlockedError)
            if unavailable or sum(len(items) for _, items in work) == 1:
                return [[error] * len(items) for _, items in work]
        return [[(await self._transact([(write, [item])]))[0][0] for item in items] for write, items in work]

    def _tell(self, work: Work, duration_s: float) -> None:
        if self._telemetry.active:
            shares = tuple([StageShare(write.stage, len(items), write.spent_s) for write, items in work])
            self._telemetry.emit(TransactionCommitted(duration_s, shares))

    def _hand_over(self, work: Work, outcomes: list[list[Any]]) -> None:
        for (write, items), results in zip(work, outcomes, strict=True):
            try:
                write.done(items, results)
            except Exception as error:  # one stage's fault must not keep the others from their outcomes
                self._loop.call_exception_handler(
                    {"message": "a stage failed on its outcomes", "exception": error}
                )
