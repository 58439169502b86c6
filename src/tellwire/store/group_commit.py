"""Group commit: many writers, one transaction, one fsync.

What is submitted while a transaction is being written waits for the next one, so that the batch grows with the load
and nobody waits when there is none. One thread writes; it is the only place where SQLite's write lock is taken.

A stage registers a ``BatchedWrite``: ``run`` gets all its waiting items at once, inside the transaction; ``done``
gets their outcomes on the event loop, after the commit. An outcome that is an exception refuses that item alone.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection

Run = Callable[[Connection, list[Any]], list[Any]]
Done = Callable[[list[Any], list[Any]], None]
Weigh = Callable[[Any], int]
Work = list[tuple["BatchedWrite", list[Any]]]

LINGER_S = 0.002
"""How long a batch may grow while publishers are many. Measured: see docs/adr/0003-group-commit.md."""
BUSY_ITEMS = 4
"""A transaction with at least so many items means load: then the next one lingers."""


def one(_: Any) -> int:
    """The weight of an item that weighs like every other."""
    return 1


class BatchedWrite:
    """One stage's waiting items, and what to do with them."""

    def __init__(self, run: Run, done: Done, wake: Callable[[], None], weigh: Weigh, max_weight: int) -> None:
        self.run = run
        self.done = done
        self._wake = wake
        self._weigh = weigh
        self._max_weight = max_weight
        # A deque: the event loop appends while the writing thread takes.
        self._items: deque[Any] = deque()

    def submit(self, item: Any) -> None:
        """Put ``item`` into the next transaction."""
        self._items.append(item)
        self._wake()

    def take(self) -> list[Any]:
        """The waiting items, as many as one transaction should hold; the rest waits for the next."""
        taken: list[Any] = []
        weight = 0
        while self._items and weight < self._max_weight:
            taken.append(self._items.popleft())
            weight += self._weigh(taken[-1])
        return taken

    @property
    def waiting(self) -> bool:
        """Whether anything waits."""
        return bool(self._items)


class GroupCommit(ABC):
    """Gathers what stages submit and has it written, batch after batch."""

    def __init__(self, transact: Callable[[Work], list[list[Any]]], loop: asyncio.AbstractEventLoop) -> None:
        """``transact`` writes one batch and returns an outcome for each item; it must not raise."""
        self._transact = transact
        self._loop = loop
        self._writes: list[BatchedWrite] = []

    def register(self, run: Run, done: Done, max_weight: int, weigh: Weigh = one) -> BatchedWrite:
        """A new kind of write. Kinds are written in the order in which they were registered."""
        write = BatchedWrite(run, done, self.wake, weigh, max_weight)
        self._writes.append(write)
        return write

    @abstractmethod
    def wake(self) -> None:
        """Something waits: see to it that it is written."""

    @abstractmethod
    def close(self) -> None:
        """Write what waits, then stop."""

    def drain(self) -> None:
        """Write what waits, here and now; only where nothing else writes."""
        while work := self._take():
            self._hand_over(work, self._transact(work))

    def _take(self) -> Work:
        return [(write, write.take()) for write in self._writes if write.waiting]

    def _hand_over(self, work: Work, outcomes: list[list[Any]]) -> None:
        for (write, items), results in zip(work, outcomes, strict=True):
            try:
                write.done(items, results)
            except Exception as error:  # one stage's fault must not keep the others from their outcomes
                self._loop.call_exception_handler(
                    {"message": "a stage failed on its outcomes", "exception": error}
                )


class ThreadedGroupCommit(GroupCommit):
    """Writes in a thread of its own, so that an fsync holds up nobody but those who wait for it."""

    def __init__(self, transact: Callable[[Work], list[list[Any]]], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(transact, loop)
        self._signals: SimpleQueue[None] = SimpleQueue()
        self._awake = False
        self._closing = False
        self._thread = threading.Thread(target=self._write_on, name="tellwire-writer", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread, unless it is at work: then it looks again before it sleeps."""
        if not self._awake:
            self._awake = True
            self._signals.put(None)

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._closing = True
        self._signals.put(None)
        self._thread.join()

    def _write_on(self) -> None:
        busy = False
        while True:
            if busy:
                time.sleep(LINGER_S)
            work = self._take()
            if work:
                outcomes = self._transact(work)
                busy = sum(len(items) for _, items in work) >= BUSY_ITEMS
                try:
                    self._loop.call_soon_threadsafe(self._hand_over, work, outcomes)
                except RuntimeError:  # the event loop has closed: nobody is left to be told
                    return
                continue
            busy = False
            # The order matters: first say "asleep", then look again, so that no submission falls between.
            self._awake = False
            if any(write.waiting for write in self._writes):
                self._awake = True
                continue
            if self._closing:
                return
            self._signals.get()
            self._awake = True


class InlineGroupCommit(GroupCommit):
    """Writes on the event loop itself: for simulations, where time is virtual and a thread would escape it."""

    def __init__(self, transact: Callable[[Work], list[list[Any]]], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(transact, loop)
        self._scheduled = False

    def wake(self) -> None:
        """Write in the next turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._write_now)

    def close(self) -> None:
        """Write what waits."""
        self.drain()

    def _write_now(self) -> None:
        self._scheduled = False
        self.drain()
