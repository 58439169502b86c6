"""Yielding: a lane that has much to catch up on does less at a time while others are kept waiting.

What comes back after an outage, or in a flood, is sent as fast as its receiver takes it, and takes all there is of the
machine: answers to read, results to record, more to claim. Whoever publishes meanwhile, or has one event to send, waits
for that. So while a lane is behind and others are not, it is seen every moment

- how late the event loop is. Each slot is one more answer to read in its next turn: where it is late, lanes that are
  behind use fewer slots. Few get nearly as much done.
- how long what the others send has waited when it begins. Where that is much longer than in calm times, machine and
  database have too much to do: then each slot of a lane that is behind rests after an attempt, ever longer, but not so
  long that less than half as much gets done. A slot that waits for a slow receiver anyway loses little by that.

When nobody is kept waiting any more, all that is taken back. On a machine with time to spare nothing changes
(docs/adr/0016-what-nobody-waits-for-takes-short-turns.md).
"""

import asyncio
from typing import Final

_LOOK_EVERY_S: Final = 0.02
_ALONE_AFTER: Final = 50
"""So many looks after the last claim in a lane that is not behind, there are no others."""

_LATE_S: Final = 0.004
_FEWER: Final = 0.75
_MORE: Final = 0.02
_FEWEST: Final = 1 / 8
"""Of the slots of a lane, but not less than two."""

_CALM_MS: Final = 4.0
"""So long the others wait in calm times, until that is known."""
_LONGEST_CALM_MS: Final = 100.0
_TIMES_CALM: Final = 2
_AND_MS: Final = 2.0
"""Those who wait for so many times as long as in calm times, and so much more, are kept waiting."""
_FIRST_REST_S: Final = 0.001
_LONGER: Final = 1.5
_SHORTER: Final = 0.95
_LONGEST_REST_S: Final = 1.0
_LEAST_PER_S: Final = 500
_LEAST_PART: Final = 0.5
"""Lanes that are behind begin so many attempts a second, all of them together, and such a part of what they begin when
no slot rests: else rests do not become longer."""


class Yielding:
    """What lanes that are behind may do; belongs to the event loop in which that is asked."""

    def __init__(self) -> None:
        """All they can."""
        self.rest_s = 0.0
        """How long one of their slots is to rest after an attempt."""
        self._share = 1.0
        self._begun = 0
        self._per_s = 0.0
        self._calm_ms = _CALM_MS
        self._kept_waiting = False
        self._looks_alone = _ALONE_AFTER
        self._timer: asyncio.TimerHandle | None = None

    def slots(self, allowed: int) -> int:
        """How many of its slots a lane that is behind may use now."""
        return allowed if self._share == 1 else max(min(allowed, 2), int(allowed * self._share))

    def others(self, waited_ms: int | None) -> None:
        """A lane that is not behind has something to send, which has waited so long; None: not for that alone."""
        self._looks_alone = 0
        if waited_ms is None:
            return
        if self._timer is None:
            self._calm_ms += 0.02 * (min(max(waited_ms, 0.0), _LONGEST_CALM_MS) - self._calm_ms)
        elif waited_ms > _TIMES_CALM * self._calm_ms + _AND_MS:
            self._kept_waiting = True

    def begun(self) -> None:
        """A lane that is behind begins an attempt."""
        self._begun += 1
        if self._timer is None:
            self._look_later()

    def looked(self, late_s: float, within_s: float) -> None:
        """The event loop is so late; ``within_s`` is how long ago this was asked before."""
        self._looks_alone += 1
        alone = self._looks_alone > _ALONE_AFTER
        self._use_slots(late_s > _LATE_S and not alone)
        self._rest(self._kept_waiting and not alone, self._begun / within_s)
        self._kept_waiting, self._begun = False, 0

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.rest_s, self._share = 0.0, 1.0

    def _use_slots(self, late: bool) -> None:
        self._share = max(self._share * _FEWER, _FEWEST) if late else min(self._share + _MORE, 1.0)

    def _rest(self, others_wait: bool, per_s: float) -> None:
        if not self.rest_s:
            self._per_s += 0.1 * (per_s - self._per_s)
        if not others_wait:
            self.rest_s = self.rest_s * _SHORTER if self.rest_s > _FIRST_REST_S else 0.0
        elif per_s > max(_LEAST_PER_S, _LEAST_PART * self._per_s):
            self.rest_s = min(max(self.rest_s * _LONGER, _FIRST_REST_S), _LONGEST_REST_S)

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_at(now + _LOOK_EVERY_S, self._look, now)

    def _look(self, since: float) -> None:
        if not self._begun and not self.rest_s:  # nobody is behind any more
            self.stop()
            return
        within_s = asyncio.get_running_loop().time() - since
        self.looked(within_s - _LOOK_EVERY_S, within_s)
        self._look_later()
