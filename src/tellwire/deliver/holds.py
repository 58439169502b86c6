"""Holds: a lane whose receiver is overloaded and says until when (``Retry-After``) sends nothing until then.

What is in the air lands; what waits keeps its place and burns no attempts; what comes stays in the store. Then a single
attempt goes first, and the lane recovers as after any slowing down.

A hold is for all processes: the one that was told so by an answer writes it down (``store.holds``) at once, and the
others find it at the survey by which they hear of whatever has been written. They go on a moment after the one that was
told: if its first attempt is answered in the same way, they hear of that instead of asking for themselves.
"""

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

import msgspec

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.store import holds
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry

from .lane import Lane
from .lanes import Lanes

_APART_S: Final = 0.25
"""Holds that are closer together are written together, a few hundred at a time."""
_AT_ONCE: Final = 500
_AFTER_TROUBLE_S: Final = 1.0
BEHIND_MS: Final = 500
"""So much longer waits who was not told itself."""


class _Hold(msgspec.Struct, eq=False):
    """One lane that is held back."""

    lane: Lane
    until_ms: int
    behind_ms: int
    written: int | None = None
    """Which write of this process was the last when it was in the store; None while it is not, as far as we know."""
    timer: asyncio.TimerHandle | None = None


class Holds:
    """The lanes of a process that are held back, and until when."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        let_go: Callable[[Lane], None],
    ) -> None:
        """``let_go`` has a lane go on."""
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._let_go = let_go
        self._loop = asyncio.get_running_loop()
        self._held: dict[bytes, _Hold] = {}
        self._unwritten: dict[bytes, int] = {}
        self._wake = asyncio.Event()
        self._stopped = False
        self.writes = 0
        """How many writes of this process are in the store: to be asked before a look at it."""

    def hold(self, lane: Lane, until_ms: int) -> None:
        """An answer says so: hold a lane back until then, or for longer where that was asked for before."""
        known = self._held.get(lane.endpoint_id)
        if known is None or known.until_ms < until_ms:
            self._hold(lane, until_ms, behind_ms=0).written = None
            self._unwritten[lane.endpoint_id] = until_ms
            self._wake.set()

    def heard(self, until_ms: Mapping[bytes, int], now_ms: int, writes: int, *, lifts: bool = True) -> None:
        """These are the holds in the store, which was looked at after ``now_ms`` and so many ``writes``.

        What is not among them was lifted, because its endpoint was changed or deleted: unless ``lifts``, that is not
        known here yet, and what waits would go to where it is not to go any more.
        """
        for endpoint_id, end_ms in until_ms.items():
            known = self._held.get(endpoint_id)
            if known is None or known.until_ms < end_ms:
                known = self._hold(self._lanes[endpoint_id], end_ms, behind_ms=BEHIND_MS)
            if known.until_ms == end_ms and known.written is None:
                known.written = writes
        lifted = self._held.keys() - until_ms.keys() if lifts else set()
        for known in [self._held[endpoint_id] for endpoint_id in lifted]:
            if known.written is not None and known.written <= writes and known.until_ms > now_ms:
                self._end(known)

    async def look(self) -> None:
        """Learn what others were told before this process began. Raises StoreError."""
        now_ms = self._clock.now_ms()
        self.heard(
            await self._store.read(lambda connection: holds.held(connection, now_ms)), now_ms, self.writes
        )

    async def run(self) -> None:
        """Write down what this process is told, until cancelled; costs nothing while that is nothing."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.write()
            except StoreError as error:
                self._telemetry.emit(StoreFailed("hold", str(error)))
                self._wake.set()
                await asyncio.sleep(_AFTER_TROUBLE_S)
            await asyncio.sleep(_APART_S)

    async def write(self) -> None:
        """Write down what is not yet in the store. Raises StoreError."""
        now_ms = self._clock.now_ms()
        self._unwritten = {id: end_ms for id, end_ms in self._unwritten.items() if end_ms > now_ms}
        new = dict(islice(self._unwritten.items(), _AT_ONCE))
        if not new:
            return
        await self._store.write(lambda connection: holds.hold(connection, new, now_ms=now_ms))
        self.writes += 1
        for endpoint_id, end_ms in new.items():
            if self._unwritten.get(endpoint_id) == end_ms:
                del self._unwritten[endpoint_id]
            known = self._held.get(endpoint_id)
            if known is not None and known.until_ms == end_ms:
                known.written = self.writes
        if self._unwritten:
            self._wake.set()

    def stop(self) -> None:
        """Nothing goes on any more."""
        self._stopped = True
        for known in self._held.values():
            if known.timer is not None:
                known.timer.cancel()

    def _hold(self, lane: Lane, until_ms: int, *, behind_ms: int) -> _Hold:
        lane.limit = lane.limit.held_back()
        known = self._held.get(lane.endpoint_id)
        if known is None:
            known = self._held[lane.endpoint_id] = _Hold(lane, until_ms, behind_ms)
            self._wait(known)
        else:
            known.until_ms, known.behind_ms = until_ms, behind_ms
        return known

    def _wait(self, known: _Hold) -> None:
        left_ms = known.until_ms + known.behind_ms - self._clock.now_ms()
        if left_ms <= 0:
            self._end(known)
        elif not self._stopped:
            known.timer = self._loop.call_later(left_ms / 1000, self._wait, known)

    def _end(self, known: _Hold) -> None:
        if known.timer is not None:
            known.timer.cancel()
        del self._held[known.lane.endpoint_id]
        known.lane.limit = known.lane.limit.let_go()
        self._let_go(known.lane)
