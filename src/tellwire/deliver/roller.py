"""The roller: adds up in the background what transactions have noted for the statistics.

Recording appends a few bytes to a journal (``store.tallies``); here they are added to the rows by hour and day, some
seconds later, in short transactions. Entries leave the journal in the transaction that adds them, so that each is
counted once, whatever dies. Of several processes one does it at a time.
"""

import asyncio
from typing import Final

from tellwire.errors import StoreError
from tellwire.store.rollups import roll_up
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry
from tellwire.waking import woken

_AFTER_S: Final = 10.0
"""What is recorded within this time is added up together."""
_LOOK_EVERY_S: Final = 60.0
_PAUSE_S: Final = 0.02


class Roller:
    """Keeps the statistics added up."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was recorded."""
        self._wake.set()

    async def run(self) -> None:
        """Add up until cancelled: some seconds after something was recorded, and every minute for what others left."""
        while True:
            self._wake.clear()
            try:
                await self.roll_up()
            except StoreError as error:
                self._telemetry.emit(StoreFailed("roll up", str(error)))
            if await woken(self._wake, _LOOK_EVERY_S):
                await asyncio.sleep(_AFTER_S)

    async def roll_up(self) -> None:
        """Add up all that is in the journal now."""
        while True:
            if not (await self._store.write(roll_up)).more:
                return
            await asyncio.sleep(_PAUSE_S)
