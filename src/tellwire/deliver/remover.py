"""The remover: takes away what is left of deleted tenants, piece after piece, until nothing is.

Each piece is a short transaction of its own (``store.tenant_removal``), with a pause after it, so that publishing and
delivering hardly notice. Several processes share the work: each takes a tenant that no other has taken.
"""

import asyncio
from functools import partial
from typing import Final

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.store.store import Store
from tellwire.store.tenant_removal import Piece, any_marked, remove_piece
from tellwire.telemetry import StoreFailed, Telemetry, TenantRemoved

_EVERY_S: Final = 5.0
_PAUSE_S: Final = 0.02


class Remover:
    """Removes tenants."""

    def __init__(self, store: Store, clock: Clock, telemetry: Telemetry) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry

    async def run(self) -> None:
        """Look for deleted tenants every few seconds until cancelled."""
        while True:
            try:
                if await self._store.read(any_marked):
                    await self.remove()
            except StoreError as error:
                self._telemetry.emit(StoreFailed("remove", str(error)))
            await asyncio.sleep(_EVERY_S)

    async def remove(self) -> None:
        """Remove everything of tenants whose time has come."""
        while True:
            piece, tenant = await self._store.write(partial(remove_piece, now_ms=self._clock.now_ms()))
            if piece in (Piece.NOTHING, Piece.LATER):
                return
            if piece is Piece.LAST:
                self._telemetry.emit(TenantRemoved(tenant))
            await asyncio.sleep(_PAUSE_S)
