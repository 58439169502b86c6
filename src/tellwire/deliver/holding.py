"""Holding back: tells the store which lanes of this process hold deliveries back, and why, so that these can show it.

Where a lane has an owner, only that knows; others look at what it wrote, and the next owner goes on with a circuit that
is open. Where it has none, whoever holds back notes it, anew as long as it lasts. A lane that goes on by itself within
a second is not told. Nothing else moves in such a lane, so this is also where it learns that its limits have changed.
"""

import asyncio
from typing import Final

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.store import lanes
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry

from .lane import HeldBack
from .lanes import Lanes

_LOOK_EVERY_S: Final = 1.0
_NOTED_MS: Final = 15_000
"""So long a note is believed; it is written anew when half of that is over."""


class Holding:
    """Looks at the lanes that hold something back, as long as there are any."""

    def __init__(self, store: Store, lanes: Lanes, clock: Clock, telemetry: Telemetry, *, owner: int) -> None:
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._owner = owner
        self._told: dict[bytes, HeldBack] = {}
        self._noted_ms = 0

    async def run(self) -> None:
        """Tell until cancelled; costs nothing while no lane holds anything back."""
        while True:
            if not self._told:
                await self._lanes.holding.wait()
            self._lanes.holding.clear()
            await asyncio.sleep(_LOOK_EVERY_S)
            for endpoint_id in self._lanes.held_back():
                endpoint = self._store.roster.endpoints.get(endpoint_id)
                if endpoint is not None:
                    self._lanes.of(endpoint)  # whose limits may have changed meanwhile
            try:
                await self._tell(self._lanes.held_back())
            except StoreError as error:
                self._lanes.holding.set()  # there is still something to tell
                self._telemetry.emit(StoreFailed("hold", str(error)))

    async def _tell(self, now: dict[bytes, HeldBack]) -> None:
        """Write down what has changed."""
        freed = {id for id in self._told.keys() - now.keys() if not self._left_open(id)}
        new = {id: why for id, why in now.items() if self._told.get(id) != why}
        notes = {id for id, why in now.items() if why.shared}
        now_ms = self._clock.now_ms()
        again = bool(notes) and not 0 <= now_ms - self._noted_ms < _NOTED_MS / 2
        if not new and not freed and not again:
            return
        owned = _alike({id: why for id, why in new.items() if not why.shared})
        noted = _alike({id: now[id] for id in (notes if again else notes & new.keys())})

        def tell(connection: Connection) -> None:
            if freed:
                lanes.tell(connection, freed, self._owner, None)
            for why, ids in owned.items():
                lanes.tell(connection, ids, self._owner, why.waiting_for, why.circuit)
            until_ms = now_ms + _NOTED_MS
            for why, ids in noted.items():
                lanes.note(connection, ids, self._owner, why.waiting_for, now_ms=now_ms, until_ms=until_ms)

        await self._store.write(tell)
        self._told = now
        if again:
            self._noted_ms = now_ms

    def _left_open(self, endpoint_id: bytes) -> bool:
        """Whether a lane is forgotten, as nobody owns it, that was left with an open circuit for whoever takes it."""
        return self._told[endpoint_id].circuit is not None and not self._lanes.knows(endpoint_id)


def _alike(reasons: dict[bytes, HeldBack]) -> dict[HeldBack, list[bytes]]:
    alike: dict[HeldBack, list[bytes]] = {}
    for id, why in reasons.items():
        alike.setdefault(why, []).append(id)
    return alike
