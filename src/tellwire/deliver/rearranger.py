"""The rearranger: where the order of an endpoint has changed and much waits there, it gives that its new places.

A change of order left a mark in the store (``store.rearranging``). Here page after page of what waits takes its place,
each in a short transaction that also moves the mark on, and then the lane goes on. Several processes share the marks:
each takes one that no other holds.

Nobody waits for it but the endpoint's own receiver, so a page takes as many deliveries as it moves in a short while,
and rests for half as long: others write in between.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.ids import ENDPOINT, encode
from tellwire.store import rearranging
from tellwire.store.rearranging import Mark, Moved
from tellwire.store.store import Store
from tellwire.telemetry import EndpointRearranged, StoreFailed, Telemetry
from tellwire.waking import woken

_LOOK_EVERY_S: Final = 2.0
_PAUSE_S: Final = 0.005
_PAUSE_AFTER_ERROR_S: Final = 1.0
_FEW: Final = 500
_PAGE_MS: Final = 25
"""What moves more slowly is moved in smaller pages, down to ``_FEW``: below, beginning and ending take longest."""


class Rearranger:
    """Moves what waits at endpoints whose order has changed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        *,
        claim_in: Callable[[Iterable[bytes]], None],
        at_once: int,
    ) -> None:
        """``claim_in`` is told where something may be claimed; a page has ``at_once`` deliveries at most."""
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._claim_in = claim_in
        self._most = at_once
        self._size = min(_FEW, at_once)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """The order of an endpoint has changed: there may be something to move."""
        self._wake.set()

    async def run(self) -> None:
        """Move until cancelled. Trouble with the store is told and outlived."""
        while True:
            self._wake.clear()
            try:
                marks = await self._store.read(rearranging.under_way)
                moved = [await self._work_on(mark) for mark in marks]
            except StoreError as error:
                self._telemetry.emit(StoreFailed("rearrange", str(error)))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                continue
            if not any(moved):
                await woken(self._wake, _LOOK_EVERY_S)

    async def _work_on(self, mark: Mark) -> bool:
        """Move one page, if no other process is about to; gives whether it did."""
        after = mark.up_to
        if after is None:
            after = await self._store.read(partial(rearranging.first, endpoint_id=mark.endpoint_id))
        started_ms = self._clock.now_ms()
        page = await self._store.write(lambda connection: self._move_page(connection, mark, after))
        if page is None:
            return False
        if page.ended and await self._store.write(
            partial(rearranging.finish, endpoint_id=mark.endpoint_id, up_to=page.up_to)
        ):
            fact = EndpointRearranged(encode(ENDPOINT, mark.endpoint_id), mark.moved + page.moved)
            self._telemetry.emit(fact)
        self._claim_in([mark.endpoint_id])
        took_ms = self._clock.now_ms() - started_ms
        await asyncio.sleep(max(took_ms / 2000, _PAUSE_S))
        return True

    def _move_page(self, connection: Connection, seen: Mark, after: bytes) -> Moved | None:
        mark = rearranging.take(connection, seen.endpoint_id)
        if mark is None or mark.up_to != seen.up_to:  # ended, or another process's, or begun anew
            return None
        endpoint = self._store.roster_in(connection).endpoints.get(mark.endpoint_id)
        if endpoint is None:  # deleted, with what waited there
            rearranging.forget(connection, mark.endpoint_id)
            return None
        started_ms = self._clock.now_ms()
        page = rearranging.move_page(connection, mark, endpoint.order, after=after, most=self._size)
        took_ms = self._clock.now_ms() - started_ms
        if took_ms > _PAGE_MS:
            self._size = max(self._size // 2, min(_FEW, self._most))
        elif took_ms * 2 < _PAGE_MS:
            self._size = min(self._size * 2, self._most)
        return page
