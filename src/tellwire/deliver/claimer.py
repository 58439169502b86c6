"""The claimer: fetches from the store what was not born claimed.

Retries that have come due, backlogs of lanes that had no room, what other processes published, and what processes that
died had claimed: an expired lease and a due delivery are the same thing to a claim (that is the rescue). It sleeps
until the earliest of these, as far as it knows: each scan reads it for all lanes, and the store tells of what other
processes write. A scan every few seconds covers what was not told.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, rfc3339
from tellwire.errors import StoreError
from tellwire.ids import EVENT, encode
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import envelope
from tellwire.store import fanouts
from tellwire.store.endpoints import cancel_if_deleted
from tellwire.store.rows import ClaimedRow
from tellwire.store.store import Store
from tellwire.telemetry import DeliveriesRescued, StoreFailed, Telemetry

from .lanes import Lanes
from .leases import ClaimWrites

_SCAN_EVERY_MS: Final = 10_000
_PER_LANE_PER_PASS: Final = 500
_SCANS_APART_MS: Final = 20
_SCANS_AT_MOST_APART_MS: Final = 1_000
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 4.0
"""After trouble with the store; each time twice as long."""


class _Pass(msgspec.Struct):
    """What one pass over the store found."""

    claims: list[Claim]
    rescued: int = 0
    next_ms: int | None = None
    pages: bool = False


class Claimer:
    """Keeps the lanes supplied."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        *,
        token: Callable[[], int],
        lease_ms: int,
        offer: Callable[[list[Claim]], None],
        fan_out: Callable[[], None],
    ) -> None:
        """``token`` makes a lease token; ``offer`` takes what was claimed; ``fan_out`` is called when there are pages
        of wide events in the store."""
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._token = token
        self._lease_ms = lease_ms
        self._offer = offer
        self._fan_out = fan_out
        self._claims = ClaimWrites(store)
        self._wake = asyncio.Event()
        self._next_ms: int | None = 0  # scan at once: something may be left from before
        self._last_scan_ms = 0
        self._apart_ms = _SCANS_APART_MS
        self._wanted: dict[bytes, None] = {}  # in order

    def expect(self, due_ms: int) -> None:
        """Something will be due at ``due_ms``: be there."""
        if self._next_ms is None or due_ms < self._next_ms:
            self._next_ms = due_ms
            self._wake.set()

    def supply(self, endpoint_id: bytes) -> None:
        """A lane with a backlog has room again."""
        self._wanted[endpoint_id] = None
        self._wake.set()

    async def run(self) -> None:
        """Claim until cancelled. Trouble with the store is told and outlived."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._turn()
                pause_s = _FIRST_PAUSE_S
            except StoreError as error:
                self._telemetry.emit(StoreFailed("claim", str(error)))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                self._next_ms = 0

    async def _turn(self) -> None:
        now_ms = self._clock.now_ms()
        since_scan_ms = now_ms - self._last_scan_ms
        due = self._next_ms is not None and self._next_ms <= now_ms
        # A scan that lies ahead of us tells that the clock was set back.
        if not 0 <= since_scan_ms < _SCAN_EVERY_MS or (due and since_scan_ms >= self._apart_ms):
            await self._scan()
        elif self._wanted:
            wanted, self._wanted = self._wanted, {}
            await self._claims.write(lambda connection: self._claim_wanted(connection, wanted), self._accept)
        else:
            await self._sleep(now_ms)

    async def _sleep(self, now_ms: int) -> None:
        until_ms = self._last_scan_ms + _SCAN_EVERY_MS
        if self._next_ms is not None:
            until_ms = min(until_ms, max(self._next_ms, self._last_scan_ms + self._apart_ms))
        timeout_s = max(until_ms - now_ms, 1) / 1000
        self._wake.clear()
        try:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the wake-up.
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _scan(self) -> None:
        self._next_ms = None  # what is expected while the scan runs is set anew
        self._last_scan_ms = self._clock.now_ms()
        self._lanes.forget_idle()
        await self._claims.write(self._claim_ready, self._accept)
        # News may come without a pause: where scans take long, most of the time is not for them.
        took_ms = self._clock.now_ms() - self._last_scan_ms
        self._apart_ms = min(max(_SCANS_APART_MS, 2 * took_ms), _SCANS_AT_MOST_APART_MS)

    def _accept(self, found: _Pass) -> None:
        if found.next_ms is not None:
            self.expect(found.next_ms)
        if found.rescued:
            self._telemetry.emit(DeliveriesRescued(found.rescued))
        if found.claims:
            self._offer(found.claims)
        if found.pages:
            self._fan_out()

    def _claim_ready(self, connection: Connection) -> _Pass:
        now_ms = self._clock.now_ms()
        lanes = self._store.hot.ready_lanes(connection)
        found = self._claim(
            connection, [endpoint_id for endpoint_id, ready_ms in lanes if ready_ms <= now_ms]
        )
        if found.claims:  # what came first in a lane hid what will be due next in it
            lanes = self._store.hot.ready_lanes(connection)
        found.next_ms = min((ready_ms for _, ready_ms in lanes if ready_ms > now_ms), default=None)
        found.pages = fanouts.any_left(connection)
        return found

    def _claim_wanted(self, connection: Connection, wanted: Iterable[bytes]) -> _Pass:
        found = self._claim(connection, wanted)
        if not all(self._lanes[endpoint_id].backlog for endpoint_id in wanted):
            found.next_ms = 0  # a backlog has ended: scan for what will be due behind it
        return found

    def _claim(self, connection: Connection, endpoint_ids: Iterable[bytes]) -> _Pass:
        """Claim for each lane what it has room for. A lane that gets all it asked for may have more: a backlog."""
        found = _Pass([])
        endpoints = self._store.roster_in(connection).endpoints
        now_ms = self._clock.now_ms()
        until_ms, token = now_ms + self._lease_ms, self._token()
        for endpoint_id in endpoint_ids:
            endpoint = endpoints.get(endpoint_id)
            if endpoint is None:
                cancel_if_deleted(connection, endpoint_id, now_ms=now_ms)
                continue
            if endpoint.state is not EndpointState.ENABLED:
                continue
            lane = self._lanes[endpoint_id]
            limit = min(self._lanes.room(lane, len(found.claims)), _PER_LANE_PER_PASS)
            if limit <= 0:
                lane.backlog = True
                continue
            rows = self._store.hot.claim(
                connection, endpoint_id, now_ms=now_ms, until_ms=until_ms, token=token, limit=limit
            )
            lane.backlog = len(rows) == limit
            found.rescued += sum(row.rescued for row in rows)
            found.claims += [_claim_of(row, endpoint_id, token, until_ms) for row in rows]
        return found


def _claim_of(row: ClaimedRow, endpoint_id: bytes, token: int, until_ms: int) -> Claim:
    return Claim(
        row.id,
        row.event_id,
        endpoint_id,
        encode(EVENT, row.event_id),
        row.type,
        envelope(row.type, rfc3339(row.occurred_ms), row.data),
        token,
        until_ms,
        row.attempt_count,
        row.schedule_step,
        row.trigger,
        row.due_ms,
    )
