"""The fanner: fans out wide events, page after page, in the background.

An event for very many endpoints was stored with pages of endpoint ids instead of deliveries (``publish.fanout``).
Here a page becomes deliveries in one short transaction, which also removes the page: whatever dies in between, nothing
is lost and nobody gets the event twice. Several processes share the pages: each takes one that no other has taken.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, rfc3339
from tellwire.errors import StoreError
from tellwire.ids import EVENT, encode, moved_to
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import envelope
from tellwire.model.order import sequence_of
from tellwire.store import fanouts
from tellwire.store.rows import DeliveryRow, OrderedDeliveryRow
from tellwire.store.store import Store
from tellwire.telemetry import PageFannedOut, StoreFailed, Telemetry

from .lanes import Lanes
from .leases import Claiming, ClaimWrites

_PAUSE_AFTER_ERROR_S: Final = 1.0
_PACE_S: Final = 0.005
_PACES: Final = 200


class _Page(msgspec.Struct, frozen=True):
    """What became of a page: its claims, what is told of it, when it is due if not yet, and the lanes in which it left
    something."""

    claims: list[Claim]
    fact: PageFannedOut
    later_ms: int | None
    left: Collection[bytes] = ()


class Fanner:
    """Turns the pages of wide events into deliveries."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        *,
        new_id: Callable[[], bytes],
        claiming: Claiming,
        expect: Callable[[int], None],
    ) -> None:
        """``expect`` is told from when on something is due that is not due yet."""
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._new_id = new_id
        self._claiming = claiming
        self._expect = expect
        self._claims = ClaimWrites(store)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There are pages: fan them out."""
        self._wake.set()

    async def run(self) -> None:
        """Fan out until cancelled. Trouble with the store is told and outlived."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._fan_out_page():
                    await self._pace()
            except StoreError as error:
                self._telemetry.emit(StoreFailed("fan out", str(error)))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                self._wake.set()

    async def _pace(self) -> None:
        """Let what was fanned out be sent first, so that memory does not fill; for a second at most.

        After that it is the lanes that are slow, and not all endpoints are: a healthy one must not wait for them.
        """
        for _ in range(_PACES):
            if self._lanes.open:
                return
            await asyncio.sleep(_PACE_S)

    async def _fan_out_page(self) -> bool:
        """Fan out one page, if there is one."""
        found: list[_Page] = []

        def accept(page: _Page | None) -> None:
            if page is not None:
                found.append(page)
                self._claiming.offer(page.claims)
                self._claiming.claim_in(page.left)
                if page.later_ms is not None:
                    self._expect(page.later_ms)
                self._telemetry.emit(page.fact)

        await self._claims.write(self._take_page, accept)
        return bool(found)

    def _take_page(self, connection: Connection) -> _Page | None:
        page = fanouts.take_page(connection)
        if page is None:
            return None
        endpoints = self._store.roster_in(connection).endpoints
        admission = self._claiming.admission()
        now_ms, token, text_id = self._clock.now_ms(), self._claiming.token(), encode(EVENT, page.event_id)
        until_ms = now_ms + self._claiming.lease_ms
        later_ms = page.deliver_ms if page.deliver_ms is not None and page.deliver_ms > now_ms else None
        due_ms = now_ms if later_ms is None else later_ms
        body = envelope(page.type, rfc3339(page.occurred_ms), page.data)
        rows: list[DeliveryRow] = []
        in_order: list[OrderedDeliveryRow] = []
        claims: list[Claim] = []
        for endpoint_id in page.endpoint_ids:
            endpoint = endpoints.get(endpoint_id)
            if endpoint is None:  # deleted since
                continue
            id = self._new_id()
            sequence = sequence_of(endpoint.order, page.ordering_key)
            if sequence is not None:  # its order is newer than the event: there it takes the last place
                placed = endpoint.place_of(id if later_ms is None else moved_to(id, later_ms))
                in_order.append(
                    OrderedDeliveryRow(
                        placed, page.event_id, endpoint_id, "schedule", due_ms, None, None, now_ms, sequence
                    )
                )
                admission.left.add(endpoint_id)
                continue
            enabled = endpoint.state is EndpointState.ENABLED
            claimed = enabled and later_ms is None and admission.admit(endpoint)
            row = DeliveryRow(id, page.event_id, endpoint_id, "schedule", due_ms, None, None, now_ms)
            rows.append(row._replace(lease_token=token, lease_until_ms=until_ms) if claimed else row)
            if claimed:
                claims.append(
                    Claim(
                        id,
                        page.event_id,
                        endpoint_id,
                        text_id,
                        page.type,
                        body,
                        token,
                        until_ms,
                        due_ms=now_ms,
                        expires_ms=page.expires_ms,
                        deliver_ms=page.deliver_ms or 0,
                        traceparent=page.traceparent,
                        order=endpoint.order,
                    )
                )
        self._store.hot.insert_deliveries(connection, rows)
        self._store.hot.insert_deliveries(connection, in_order)
        made = len(rows) + len(in_order)
        deleted = len(page.endpoint_ids) - made
        left = fanouts.count_left(connection, page.event_id)
        fact = PageFannedOut(text_id, page.type, made, deleted, left)
        return _Page(claims, fact, later_ms, admission.left)
