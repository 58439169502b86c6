"""Holds: a lane whose receiver is overloaded and says until when (``Retry-After``) sends nothing until then.

What is in the air lands; what waits keeps its place and burns no attempts; what comes stays in the store. Then a single
attempt goes first, and the lane recovers as after any slowing down. Each process learns of it by an answer of its own.
"""

import asyncio
from collections.abc import Callable

from tellwire.clock import Clock

from .lane import Lane


class Holds:
    """The lanes of a process that are held back, and until when."""

    def __init__(self, clock: Clock, held: Callable[[], None], let_go: Callable[[Lane], None]) -> None:
        """``held`` is called when a lane is held back, ``let_go`` has it go on."""
        self._clock = clock
        self._held = held
        self._let_go = let_go
        self._loop = asyncio.get_running_loop()
        self._until_ms: dict[bytes, int] = {}
        self._timers: dict[bytes, asyncio.TimerHandle] = {}

    def hold(self, lane: Lane, until_ms: int) -> None:
        """Hold a lane back until then, or for longer where that was asked for before."""
        lane.limit = lane.limit.held_back()
        self._until_ms[lane.endpoint_id] = max(until_ms, self._until_ms.get(lane.endpoint_id, 0))
        if lane.endpoint_id not in self._timers:
            self._wait(lane)
        self._held()

    def stop(self) -> None:
        """Nothing goes on any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _wait(self, lane: Lane) -> None:
        left_ms = self._until_ms[lane.endpoint_id] - self._clock.now_ms()
        if left_ms > 0:
            self._timers[lane.endpoint_id] = self._loop.call_later(left_ms / 1000, self._wait, lane)
            return
        self._timers.pop(lane.endpoint_id, None)
        del self._until_ms[lane.endpoint_id]
        lane.limit = lane.limit.let_go()
        self._let_go(lane)
