"""Leases: a claim holds for a minute (setting ``lease``); what is still held when its lease runs low gets it extended.

A process that dies or hangs extends nothing, so its deliveries can be claimed again when their leases end. A lease that
turns out to be lost is not sent under any more.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.model.claim import Claim
from tellwire.store.group_commit import settle
from tellwire.store.store import Store
from tellwire.telemetry import StoreFailed, Telemetry

from .admission import Admission

_LOW: Final = 2 / 3
_CHECK: Final = 1 / 6
"""Parts of a lease: when less than ``_LOW`` is left it is extended, and that is looked after each ``_CHECK``."""

T = TypeVar("T")


class Claiming(NamedTuple):
    """How claims are made: ``token`` gives a new lease token, ``offer`` takes claims that are durable.

    ``admission`` says which claims one transaction may make; when that is durable, ``claim_in`` is told of the lanes
    in which it left something to the claimer.
    """

    token: Callable[[], int]
    lease_ms: int
    offer: Callable[[list[Claim]], None]
    admission: Callable[[], Admission]
    claim_in: Callable[[Iterable[bytes]], None]


class ClaimWrites:
    """Transactions that make claims: hot statements, on the event loop like the others."""

    def __init__(self, store: Store) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = store.batched(_run, settle, max_weight=1)

    async def write(self, change: Callable[[Connection], T], accept: Callable[[T], None]) -> None:
        """Run a ``change`` that makes claims and hand its result to ``accept``, also when cancelled meanwhile.

        A claim that nobody holds would wait for its lease to end.
        """
        claiming: asyncio.Future[T] = self._loop.create_future()
        self._write.submit((change, claiming))
        try:
            accept(await asyncio.shield(claiming))
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            if not claiming.cancelled() and claiming.exception() is None:
                accept(claiming.result())
            raise


def _run(connection: Connection, items: list[Any]) -> list[Any]:
    return [change(connection) for change, _ in items]


class LeaseKeeper:
    """Extends the leases of the claims that this process holds."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        lease_ms: int,
        held: Callable[[], Collection[Claim]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._lease_ms = lease_ms
        self._held = held

    async def run(self) -> None:
        """Check until cancelled; costs nothing while no claim grows old."""
        while True:
            await asyncio.sleep(self._lease_ms / 1000 * _CHECK)
            low_ms = self._clock.now_ms() + self._lease_ms * _LOW
            claims = [claim for claim in self._held() if claim.lease_until_ms < low_ms]
            if not claims:
                continue
            try:
                await self._extend(claims)
            except StoreError as error:
                self._telemetry.emit(StoreFailed("lease", str(error)))

    async def _extend(self, claims: list[Claim]) -> None:
        until_ms = self._clock.now_ms() + self._lease_ms
        leases = [(claim.delivery_id, claim.token) for claim in claims]

        def extend(connection: Connection) -> set[bytes]:
            return self._store.hot.extend(connection, leases, until_ms)

        held = await self._store.write(extend)
        for claim in claims:
            claim.lease_until_ms = until_ms if claim.delivery_id in held else 0
