"""Virtual time: an event loop whose clock jumps to the next timer as soon as there is nothing left to do.

One loop is one process. All processes of a simulation share one ``Timeline``, so that a process that starts after a
crash goes on where the other left off.
"""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

EPOCH_MS = 1_767_225_600_000
"""2026-01-01T00:00Z, when every simulation begins."""


class Timeline:
    """The time of a simulation, in seconds since it began. It is also the ``Clock`` of all its processes."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z."""
        return EPOCH_MS + round(self.now_s * 1000)


class _Selector(selectors.SelectSelector):
    """Waits for nothing: where the loop would wait for its next timer, time passes at once."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.timeline = timeline
        self.idle_until: Callable[[], float | None] = lambda: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the simulated process waits for something that can never happen")
        if timeout > 0:
            target = self.timeline.now_s + timeout
            skip = self.idle_until()
            self.timeline.now_s = target if skip is None else max(target, skip)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; I/O does not exist in it."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._waiter = _Selector(timeline)
        super().__init__(self._waiter)
        # What a crash leaves behind is garbage, and says so when it is collected.
        self.set_exception_handler(self._remember)
        self.faults: list[dict[str, Any]] = []

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self.timeline.now_s

    def skip_idle_time(self, until: Callable[[], float | None]) -> None:
        """Where ``until`` gives a time, the process sleeps until then as a suspended machine does: timers that end
        in between end late, all at once. Looking four times a second for ten days would take too long."""
        self._waiter.idle_until = until

    def _remember(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "destroyed" not in context["message"]:
            self.faults.append(context)
