"""Holding back: tells the store which lanes of this process hold deliveries back, and why, so that these can show it.

Only the owner of a lane knows; others look at what it wrote, and the next owner goes on with a circuit that is open.
A lane that goes on by itself within a second is not told. Nothing else moves in such a lane, so this is also where it
learns that its limits have changed.
"""

import asyncio
from typing import Final

from sqlalchemy import Connection

from tellwire.errors import StoreError
from tellwire.model.delivery import WaitingFor
from tellwire.policy.circuit import Circuit
from tellwire.store import lanes
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry

from .lanes import Lanes

_LOOK_EVERY_S: Final = 1.0


class Holding:
    """Looks at the lanes that hold something back, as long as there are any."""

    def __init__(self, store: Store, lanes: Lanes, telemetry: Telemetry, *, owner: int) -> None:
        self._store = store
        self._lanes = lanes
        self._telemetry = telemetry
        self._owner = owner
        self._told: dict[bytes, Circuit | None] = {}

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

    async def _tell(self, now: dict[bytes, Circuit | None]) -> None:
        """Write down what has changed."""
        freed = self._told.keys() - now.keys()
        new = {
            id: circuit for id, circuit in now.items() if id not in self._told or self._told[id] != circuit
        }
        by_rate = {id for id, circuit in new.items() if circuit is None}
        opened = {id: circuit for id, circuit in new.items() if circuit is not None}
        if not new and not freed:
            return

        def tell(connection: Connection) -> None:
            if freed:
                lanes.tell(connection, freed, self._owner, None)
            if by_rate:
                lanes.tell(connection, by_rate, self._owner, WaitingFor.RATE)
            for id, circuit in opened.items():
                lanes.tell(connection, {id}, self._owner, WaitingFor.CIRCUIT, circuit)

        await self._store.write(tell)
        self._told = now
