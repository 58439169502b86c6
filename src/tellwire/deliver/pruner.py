"""The pruner: removes events that are older than the retention and have nothing pending, a few at a time.

Their data may go earlier than the rest. What is pending keeps everything, however old it is.
Entries of the audit log go at the same age, and so do the empty rows that are left of deleted tenants.
Replays that ended so long ago go too, and so do statistics by the hour; those by the day stay longer. Answers that were
kept for idempotency keys go after a day.
"""

import asyncio
from functools import partial
from typing import Final

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.model.stats import Span
from tellwire.store.answers import KEPT_MS, forget_answers
from tellwire.store.audit import prune_audit
from tellwire.store.pruning import expire_payloads, prune
from tellwire.store.replays import forget_ended
from tellwire.store.rollups import prune_rollups
from tellwire.store.store import Store
from tellwire.store.tenant_removal import forget_removed
from tellwire.telemetry import EventsPruned, StoreFailed, Telemetry

_EVERY_S: Final = 600.0
_AT_A_TIME: Final = 100
_PAYLOADS_AT_A_TIME: Final = 500
_PAUSE_S: Final = 0.05
_DAY_MS: Final = 86_400_000


class Pruner:
    """Keeps history as long as the retention says, and no longer."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        retention_days: int,
        payload_retention_days: int,
        stats_retention_days: int,
    ) -> None:
        """``payload_retention_days`` counts where it is less than ``retention_days``."""
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._retention_ms = retention_days * _DAY_MS
        self._payload_retention_ms = payload_retention_days * _DAY_MS
        self._stats_retention_ms = stats_retention_days * _DAY_MS
        self._expired_to = b""
        self._from_the_start_ms = 0

    async def run(self) -> None:
        """Prune every ten minutes until cancelled."""
        while True:
            try:
                removed = await self.prune()
                if removed:
                    self._telemetry.emit(EventsPruned(removed))
                if self._payload_retention_ms < self._retention_ms:
                    await self.expire_payloads()
            except StoreError as error:
                self._telemetry.emit(StoreFailed("prune", str(error)))
            await asyncio.sleep(_EVERY_S)

    async def prune(self) -> int:
        """Remove everything that is too old now; gives the number of events."""
        before_ms = max(self._clock.now_ms() - self._retention_ms, 0)
        await self._store.write(lambda connection: forget_removed(connection, before_ms=before_ms))
        await self._store.write(lambda connection: forget_ended(connection, before_ms=before_ms))
        await self._prune_audit(before_ms)
        await self._forget_answers()
        await self._prune_rollups(Span.HOUR, before_ms)
        await self._prune_rollups(Span.DAY, max(self._clock.now_ms() - self._stats_retention_ms, 0))
        before_ms = await self._store.drop_days(before_ms)
        removed = 0
        while True:
            some = await self._store.write(
                lambda connection: prune(connection, before_ms=before_ms, limit=_AT_A_TIME)
            )
            removed += some
            if some < _AT_A_TIME:
                return removed
            await asyncio.sleep(_PAUSE_S)

    async def _prune_audit(self, before_ms: int) -> None:
        while True:
            some = await self._store.write(partial(prune_audit, before_ms=before_ms, limit=_AT_A_TIME))
            if some < _AT_A_TIME:
                return
            await asyncio.sleep(_PAUSE_S)

    async def _forget_answers(self) -> None:
        before_ms = self._clock.now_ms() - KEPT_MS
        while True:
            some = await self._store.write(partial(forget_answers, before_ms=before_ms, limit=_AT_A_TIME))
            if some < _AT_A_TIME:
                return
            await asyncio.sleep(_PAUSE_S)

    async def _prune_rollups(self, span: Span, before_ms: int) -> None:
        while True:
            some = await self._store.write(
                partial(prune_rollups, span=span, before_ms=before_ms, limit=_AT_A_TIME)
            )
            if some < _AT_A_TIME:
                return
            await asyncio.sleep(_PAUSE_S)

    async def expire_payloads(self) -> None:
        """Remove the data of all that is too old for it: what has become so since the last time.

        Once a day all events are gone through, for those that were not finished when their time came.
        """
        now_ms = self._clock.now_ms()
        if now_ms - self._from_the_start_ms >= _DAY_MS:
            self._from_the_start_ms, self._expired_to = now_ms, b""
        before_ms = max(now_ms - self._payload_retention_ms, 0)
        while (last := await self._expire_some(self._expired_to, before_ms)) is not None:
            self._expired_to = last
            await asyncio.sleep(_PAUSE_S)

    async def _expire_some(self, after: bytes, before_ms: int) -> bytes | None:
        return await self._store.write(
            lambda connection: expire_payloads(
                connection, after=after, before_ms=before_ms, limit=_PAYLOADS_AT_A_TIME
            )
        )
