"""The roller: adds up in the background what transactions have noted for the statistics.

Recording appends a few bytes to a journal (``store.tallies``); here they are added to the rows by hour and day, some
seconds later, in short transactions. Entries leave the journal in the transaction that adds them, or puts them
together, so that each is counted once, whatever dies. Of several processes one does it at a time.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from tellwire.errors import StoreError
from tellwire.store import rollups
from tellwire.store.group_commit import settle
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

T = TypeVar("T")


class Roller:
    """Keeps the statistics added up."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # On the event loop, like all hot statements: in a thread beside a busy one, each row would wait for its turn.
        self._write = store.batched(_run, settle, max_weight=1, patient=True, stage="roll up")

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
            statements, sums = self._store.rollups, await _sums(found)
            together = partial(rollups.put_together, statements, taken=found, tallies=sums)
            for id in await self._written(together):
                await asyncio.sleep(_PAUSE_S)
                await self._written(partial(rollups.add_up, statements, id=id))
            if len(found) < rollups.ENTRIES:
                return
            await asyncio.sleep(_PAUSE_S)

    async def _written(self, change: Callable[[Connection], T]) -> T:
        written: asyncio.Future[T] = self._loop.create_future()
        self._write.submit((change, written))
        return await written


def _run(connection: Connection, items: list[Any]) -> list[Any]:
    return [change(connection) for change, _ in items]


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
