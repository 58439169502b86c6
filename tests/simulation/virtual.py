"""Virtual time: event loops that run in no time at all.

Every simulated process has an event loop of its own, as real ones do, and all loops share one ``Timeline``. Somebody
else (``simulation``) decides whose loop takes the next step, and lets time pass when nobody has one. So a process can
be stopped between any two steps: for a while (it was frozen), or for ever (it has died, and not even its ``finally``
is run).
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

EPOCH_MS = 1_767_225_600_000
"""2026-01-01T00:00Z, when every simulation begins."""


class Timeline:
    """The time of a simulation, in seconds since it began: what the database's clock shows."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z."""
        return EPOCH_MS + round(self.now_s * 1000)


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one process, one step at a time. I/O and threads do not exist in it."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._number = count()
        self.faults: list[str] = []

    def step(self) -> None:
        """Run one callback."""
        handle = self._ready.popleft()
        if not handle.cancelled():
            asyncio.events._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio.events._set_running_loop(None)

    def has_work(self) -> bool:
        """Whether there is a step to take now: timers that have ended are one too."""
        timers = self._timers
        while timers and (timers[0][0] <= self._timeline.now_s or timers[0][2].cancelled()):
            _, _, timer = heapq.heappop(timers)
            if not timer.cancelled():
                self._ready.append(timer)
        return bool(self._ready)

    @property
    def next_timer_s(self) -> float:
        """When there will be something to do; call it where there is nothing now."""
        return self._timers[0][0] if self._timers else float("inf")

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._timeline.now_s

    def call_soon(  # type: ignore[override]  # without the types of the arguments
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # without the types of the arguments
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]  # without the types of the arguments
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # without the types of the arguments
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._number), timer))
        return timer

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """It is thrown away when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        # A pending task that is destroyed is what a crash leaves behind.
        if "destroyed" not in context["message"]:
            self.faults.append(f"{context['message']}: {context.get('exception')!r}")
