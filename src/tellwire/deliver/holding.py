"""Holding back: tells the store which lanes of this process hold deliveries back, and why, so that these can show it.

Only the owner of a lane knows; others look at what it wrote, and the next owner goes on with a circuit that is open.
A lane that goes on by itself within a second is not told. Nothing else moves in such a lane, so this is also where it
learns that its limits have changed.
"""

import asyncio
from typing import Final

from sqlalchemy import Connection

from tellwire.errors import StoreError
from tellwire.store import lanes
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry

from .lanes import HeldBack, Lanes

_LOOK_EVERY_S: Final = 1.0


class Holding:
    """Looks at the lanes that hold something back, as long as there are any."""

    def __init__(self, store: Store, lanes: Lanes, telemetry: Telemetry, *, owner: int) -> None:
        self._store = store
        self._lanes = lanes
        self._telemetry = telemetry
        self._owner = owner
        self._told: dict[bytes, HeldBack] = {}

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
                self._telemetry.emit(StoreFailed("hold", str(error)))

    async def _tell(self, now: dict[bytes, HeldBack]) -> None:
        """Write down what has changed."""
        freed = self._told.keys() - now.keys()
        new = {id: why for id, why in now.items() if self._told.get(id) != why}
        if not new and not freed:
            return
        alike: dict[HeldBack, set[bytes]] = {}
        for id, why in new.items():
            alike.setdefault(why, set()).add(id)

        def tell(connection: Connection) -> None:
            if freed:
                lanes.tell(connection, freed, self._owner, None)
            for why, ids in alike.items():
                lanes.tell(connection, ids, self._owner, why.waiting_for, why.circuit)

        await self._store.write(tell)
        self._told = now
