"""The roller: adds up in the background what transactions have noted for the statistics.

Recording appends a few bytes to a journal (``store.tallies``); here they are added to the rows by hour and day, some
seconds later, in short transactions. Entries leave the journal in the transaction that adds them, or puts them
together, so that each is counted once, whatever dies. Of several processes one does it at a time.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final

from tellwire.errors import StoreError
from tellwire.store import rollups
from tellwire.store.store import Store
from tellwire.store.tallies import Tally, decode
from tellwire.telemetry import StoreFailed, Telemetry
from tellwire.waking import woken

_AFTER_S: Final = 10.0
"""What is recorded within this time is added up together."""
_LOOK_EVERY_S: Final = 60.0
_PAUSE_S: Final = 0.02
_IN_A_TURN: Final = 200
"""Tallies that are added without letting others run: less than a millisecond."""


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
        while found := await self._store.read(rollups.journal):
            put_together = partial(rollups.put_together, taken=found, tallies=await _sums(found))
            for id in await self._store.write(put_together):
                await asyncio.sleep(_PAUSE_S)
                await self._store.write(partial(rollups.add_up, id=id))
            if len(found) < rollups.ENTRIES:
                return
            await asyncio.sleep(_PAUSE_S)


async def _sums(found: Iterable[rollups.Entry]) -> list[Tally]:
    """What entries of the journal counted, each endpoint and hour once. Others get their turn meanwhile."""
    sums: dict[tuple[str, bytes, int], Tally] = {}
    counted = 0
    for entry in found:
        for tally in decode(entry.entries):
            whole = sums.setdefault((tally.tenant, tally.endpoint_id, tally.hour_ms), tally)
            if whole is not tally:
                whole.count_in(tally)
            counted += 1
            if counted % _IN_A_TURN == 0:
                await asyncio.sleep(0)
    return list(sums.values())
