"""Yielding: a lane that has much to catch up on uses fewer of its slots while the event loop is late for others.

What comes back after an outage, or in a flood, is sent as fast as its receiver takes it, and each turn of the event
loop then has as many answers to read and requests to send as the lane has slots. Whoever publishes meanwhile, or has
one event to send, waits for some of these turns. So while a lane is behind and others are not, it is seen how late the
event loop is; where that is much, such lanes use ever fewer slots, and more again when it is not. On a machine with
time to spare nothing changes; where there is none, few slots get nearly as much done (docs/adr/0016).
"""

import asyncio
from typing import Final

_LOOK_EVERY_S: Final = 0.02
_LATE_S: Final = 0.004
_LESS: Final = 0.75
_MORE: Final = 0.02
_LEAST: Final = 1 / 8
"""Of the slots of a lane, but not less than two."""
_ALONE_AFTER: Final = 50
"""So many looks after the last claim in a lane that is not behind, there are no others."""


class Yielding:
    """How many slots lanes that are behind may use; belongs to the event loop in which that is asked."""

    def __init__(self) -> None:
        """All of them."""
        self._share = 1.0
        self._asked = False
        self._looks_alone = _ALONE_AFTER
        self._timer: asyncio.TimerHandle | None = None

    def others(self) -> None:
        """A lane that is not behind has something to send."""
        self._looks_alone = 0

    def slots(self, allowed: int) -> int:
        """How many of its slots a lane that is behind may use now."""
        self._asked = True
        if self._timer is None:
            self._look_later()
        return allowed if self._share == 1 else max(min(allowed, 2), int(allowed * self._share))

    def looked(self, late_s: float) -> None:
        """The event loop is so late."""
        self._looks_alone += 1
        if late_s > _LATE_S and self._looks_alone <= _ALONE_AFTER:
            self._share = max(self._share * _LESS, _LEAST)
        else:
            self._share = min(self._share + _MORE, 1.0)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._share = 1.0

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _LOOK_EVERY_S
        self._timer = loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        if not self._asked:  # nobody is behind any more
            self.stop()
            return
        self._asked = False
        self.looked(asyncio.get_running_loop().time() - due)
        self._look_later()
