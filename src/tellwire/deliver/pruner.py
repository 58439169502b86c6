"""The pruner: removes events that are older than the retention and have nothing pending, a few at a time.

What is left of deleted tenants so long after, an empty row each, goes too.
"""

import asyncio
from typing import Final

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.store.pruning import prune
from tellwire.store.store import Store
from tellwire.store.tenant_removal import forget_removed
from tellwire.telemetry import EventsPruned, StoreFailed, Telemetry

_EVERY_S: Final = 600.0
_AT_A_TIME: Final = 100
_PAUSE_S: Final = 0.05
_DAY_MS: Final = 86_400_000


class Pruner:
    """Keeps history as long as the retention says, and no longer."""

    def __init__(self, store: Store, clock: Clock, telemetry: Telemetry, retention_days: int) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._retention_ms = retention_days * _DAY_MS

    async def run(self) -> None:
        """Prune every ten minutes until cancelled."""
        while True:
            try:
                removed = await self.prune()
                if removed:
                    self._telemetry.emit(EventsPruned(removed))
            except StoreError as error:
                self._telemetry.emit(StoreFailed("prune", str(error)))
            await asyncio.sleep(_EVERY_S)

    async def prune(self) -> int:
        """Remove everything that is too old now; gives the number of events."""
        before_ms = max(self._clock.now_ms() - self._retention_ms, 0)
        await self._store.write(lambda connection: forget_removed(connection, before_ms=before_ms))
        removed = 0
        while True:
            some = await self._store.write(
                lambda connection: prune(connection, before_ms=before_ms, limit=_AT_A_TIME)
            )
            removed += some
            if some < _AT_A_TIME:
                return removed
            await asyncio.sleep(_PAUSE_S)
