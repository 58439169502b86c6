"""Gathering: the claims of an endpoint that gets batches, until there are enough or the first has waited long enough.

Stands in a lane where others have a plain queue: it is true as soon as a batch may go, and gives one when a slot is
free. So a batch grows while the lane is busy or held back, and nothing is done while nothing comes. A batch that was
sent before comes as a whole, and goes as it is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from tellwire.clock import Clock
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim

from .batch_request import size_of

LONG_S: Final = 1.0
"""A shorter wait is not worth telling."""


class Gathering:
    """What waits in the lane of an endpoint with batches."""

    def __init__(
        self,
        settings: BatchSettings,
        clock: Clock,
        ripe: Callable[[], object],
        begins: Callable[[], object] = lambda: None,
    ) -> None:
        """``ripe`` is called when what is there has waited long enough, ``begins`` when it begins to wait for long."""
        self.settings = settings
        self._clock = clock
        self._ripe = ripe
        self._begins = begins
        self._whole: deque[Claim] = deque()
        self._fresh: deque[Claim] = deque()
        self._bytes = 0
        self._due = False
        self._timer: asyncio.TimerHandle | None = None

    def append(self, claim: Claim) -> None:
        """Hold a claim: one that is to go with others, or one with all that go along, as what stands in line comes."""
        if claim.along or claim.batch_id is not None or claim.sequence is not None:
            self._whole.append(claim)
            return
        self._fresh.append(claim)
        self._bytes += size_of(claim, self.settings)
        if self._timer is None and not self._due:
            self._wait(self._left_s())

    def __bool__(self) -> bool:
        """Whether a batch may go."""
        return bool(self._whole or (self._due and self._fresh) or self._is_full)

    def __len__(self) -> int:
        """How many deliveries wait."""
        return len(self._fresh) + sum(1 + len(claim.along) for claim in self._whole)

    def __iter__(self) -> Iterator[Claim]:
        """Whatever waits, each with what goes along."""
        return chain(self._whole, self._fresh)

    @property
    def since_ms(self) -> int | None:
        """Since when something waits that need not wait for others any more; later than now where all have to."""
        first = [claims[0].due_ms for claims in (self._whole,) if claims]
        if self._fresh:
            first.append(self._fresh[0].due_ms + int(self.settings.max_wait_s * 1000))
        return min(first, default=None)

    def popleft(self) -> Claim:
        """The next batch: the claim of one of its deliveries, with all that go along."""
        if self._whole:
            return self._whole.popleft()
        first, *others = self._cut()
        first.along = tuple(others)
        self._stop()
        if self._fresh:
            left_s = self._left_s()
            if left_s > 0:
                self._wait(left_s)
            else:
                self._due = True
        return first

    def clear(self) -> None:
        """Hold nothing any more."""
        self._whole.clear()
        self._fresh.clear()
        self._bytes = 0
        self._stop()

    @property
    def gathers(self) -> bool:
        """Whether something waits for others to go along, and may do so for long."""
        return self._timer is not None and self.settings.max_wait_s > LONG_S and not self

    @property
    def _is_full(self) -> bool:
        return len(self._fresh) >= self.settings.max_events or self._bytes >= self.settings.max_bytes

    def _cut(self) -> list[Claim]:
        """As many as one request takes, of those that are at the same step of their schedule."""
        fresh, settings = self._fresh, self.settings
        step, left_bytes = fresh[0].schedule_step, settings.max_bytes - 1
        taken: list[Claim] = []
        while fresh and len(taken) < settings.max_events and fresh[0].schedule_step == step:
            size = size_of(fresh[0], settings)
            if taken and size > left_bytes:
                break
            left_bytes -= size
            self._bytes -= size
            taken.append(fresh.popleft())
        return taken

    def _left_s(self) -> float:
        """How long the first may still wait for others; never longer than the setting, whatever the clock says."""
        due_s = (self._fresh[0].due_ms - self._clock.now_ms()) / 1000
        return self.settings.max_wait_s + min(due_s, 0.0)

    def _wait(self, wait_s: float) -> None:
        if wait_s > LONG_S:
            self._begins()
        # Never at once: what is offered together comes one after the other, and is to go together.
        self._timer = asyncio.get_running_loop().call_later(max(wait_s, 0.0), self._on_time)

    def _on_time(self) -> None:
        self._timer, self._due = None, True
        self._ripe()

    def _stop(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
