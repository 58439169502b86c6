"""Ownership: which lanes only this process may send in, because their limits hold across all processes.

An endpoint with such a limit (``max_in_flight``, ``rate_limit``, ``circuit``) has one owner at a time; only the owner
claims its deliveries, so that it can count in its own memory, exactly. A claim transaction takes the lane
(``store.lanes``); it is the owner's until a lease ends, which is renewed as long as there is work. Nobody takes a
lane before, and an owner that comes too late to renew sends nothing more: like the leases of deliveries, so that what
is in the air at the end of one ownership has landed before the next begins. A graceful stop gives all lanes up at
once.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.store import lanes
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry

_LOW: Final = 2 / 3
_CHECK: Final = 1 / 6
"""Parts of the lease: with less than ``_LOW`` left it is renewed, and that is looked after each ``_CHECK``."""
_ASK_AGAIN_MS: Final = 1_000
"""So long a lane that is another's is not asked for again."""


class Taking(msgspec.Struct):
    """What one claim transaction learned of ownership; ``Ownership.accept`` takes it when that is durable."""

    mine: dict[bytes, lanes.Taken] = {}
    elsewhere: dict[bytes, int] = {}

    def leaves_open(self, endpoint_id: bytes) -> bool:
        """Whether the last owner of a lane that was taken left its circuit open: one claim is enough, for a probe."""
        taken = self.mine.get(endpoint_id)
        return taken is not None and taken.circuit is not None and taken.circuit.is_open


class Ownership:
    """The lanes that this process owns."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        *,
        owner: int,
        lease_ms: int,
        needed_ms: int,
        busy: Callable[[bytes], bool],
    ) -> None:
        """``owner`` names this process, ``needed_ms`` is what an attempt may take at most, ``busy`` tells whether a
        lane has work for which it is to be kept."""
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._owner = owner
        self._lease_ms = lease_ms
        self._needed_ms = needed_ms
        self._busy = busy
        self._until_ms: dict[bytes, int] = {}
        self._elsewhere: dict[bytes, int] = {}
        self._any = asyncio.Event()

    def holds(self, endpoint_id: bytes) -> bool:
        """Whether this process may begin an attempt in the lane now: its answer will come while the lane is ours."""
        until_ms = self._until_ms.get(endpoint_id)
        return until_ms is not None and until_ms - self._clock.now_ms() >= self._needed_ms

    def remembers(self, endpoint_id: bytes) -> bool:
        """Whether the lane is ours, perhaps not for long enough to begin an attempt, or was a moment ago."""
        return endpoint_id in self._until_ms

    def retry_ms(self, endpoint_id: bytes, now_ms: int) -> int | None:
        """When to ask again for a lane that was another's a moment ago; None where it is worth asking now."""
        again_ms = self._elsewhere.get(endpoint_id)
        return None if again_ms is None or again_ms <= now_ms else again_ms

    def take(self, connection: Connection, endpoint_id: bytes, taking: Taking) -> bool:
        """In a claim transaction: whether the lane is ours, which it becomes if it is nobody's."""
        now_ms = self._clock.now_ms()
        if self._until_ms.get(endpoint_id, 0) - now_ms >= self._lease_ms * _LOW:
            return True
        taken = lanes.take(
            connection, endpoint_id, self._owner, now_ms=now_ms, until_ms=now_ms + self._lease_ms
        )
        if taken.mine:
            taking.mine[endpoint_id] = taken
        else:
            taking.elsewhere[endpoint_id] = min(taken.until_ms, now_ms + _ASK_AGAIN_MS)
        return taken.mine

    def accept(self, taking: Taking) -> Iterable[tuple[bytes, lanes.Taken]]:
        """What a transaction took is ours; gives the lanes that are so anew.

        Also those of which we only knew that they had been ours: others may have owned them since.
        """
        fresh = []
        for endpoint_id, taken in taking.mine.items():
            if self._until_ms.get(endpoint_id, 0) <= taken.until_ms - self._lease_ms:
                fresh.append((endpoint_id, taken))
            self._until_ms[endpoint_id] = taken.until_ms
            self._elsewhere.pop(endpoint_id, None)
            self._any.set()
        for endpoint_id, again_ms in taking.elsewhere.items():
            self._until_ms.pop(endpoint_id, None)
            self._elsewhere[endpoint_id] = again_ms
        return fresh

    async def run(self) -> None:
        """Renew what is in use until cancelled; costs nothing while nothing is owned."""
        while True:
            await self._any.wait()
            await asyncio.sleep(self._lease_ms / 1000 * _CHECK)
            now_ms = self._clock.now_ms()
            self._elsewhere = {id: at_ms for id, at_ms in self._elsewhere.items() if at_ms > now_ms}
            low_ms = now_ms + self._lease_ms * _LOW
            low = [id for id, until_ms in self._until_ms.items() if until_ms < low_ms and self._busy(id)]
            try:
                if low:
                    await self._renew(low, now_ms + self._lease_ms)
            except StoreError as error:
                self._telemetry.emit(StoreFailed("own", str(error)))
            self._until_ms = {id: until for id, until in self._until_ms.items() if until > now_ms}
            if not self._until_ms:
                self._any.clear()

    async def _renew(self, endpoint_ids: list[bytes], until_ms: int) -> None:
        def renew(connection: Connection) -> set[bytes]:
            return lanes.renew(connection, endpoint_ids, self._owner, until_ms=until_ms)

        held = await self._store.write(renew)
        for id in endpoint_ids:
            if id in held:
                self._until_ms[id] = until_ms
            else:
                self._until_ms.pop(id, None)

    async def give_up(self) -> None:
        """Own nothing any more. Raises StoreError."""
        if self._until_ms:
            self._until_ms = {}
            now_ms = self._clock.now_ms()
            await self._store.write(lambda connection: lanes.give_up(connection, self._owner, now_ms=now_ms))
