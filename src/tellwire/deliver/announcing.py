"""Announcing: what delivering has to tell as operational events (see ``store.announcer``).

Deliveries that end, and endpoints that fail, are announced in the transaction that records them. A circuit opens and
closes in memory: that is announced in a transaction of its own right after, which is tried again while the database
cannot be written, and lost with the process that dies before.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection

from tellwire.clock import rfc3339
from tellwire.errors import StoreUnavailableError
from tellwire.ids import DELIVERY, ENDPOINT, encode
from tellwire.model.claim import Claim
from tellwire.model.operational import (
    DeliveryExhausted,
    EndpointFails,
    EndpointRecovers,
    Happening,
    LaneCloses,
    LaneOpens,
)
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.store.announcer import Announcer, shown_url
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store
from tellwire.telemetry import EndpointFailing, StoreFailed, Telemetry

_RETRY_AFTER_S: Final = 0.5


class Announcing:
    """Announces what is in no transaction: circuits that open and close."""

    def __init__(self, store: Store, telemetry: Telemetry, announcer: Announcer) -> None:
        self._announcer = announcer
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        self._write = store.batched(self._run, self._done, max_weight=1_000, stage="announce")

    def lane_opened(self, endpoint: LiveEndpoint, probe_in_ms: int) -> None:
        """A circuit has opened."""
        url = shown_url(endpoint.url)
        data = LaneOpens(endpoint.text_id, endpoint.tenant, url, probe_in_s=probe_in_ms / 1000)
        self._submit(endpoint, Happening("lane.opened", data))

    def lane_closed(self, endpoint: LiveEndpoint, open_ms: int) -> None:
        """A circuit has closed."""
        url = shown_url(endpoint.url)
        data = LaneCloses(endpoint.text_id, endpoint.tenant, url, open_for_s=open_ms / 1000)
        self._submit(endpoint, Happening("lane.closed", data))

    def _submit(self, endpoint: LiveEndpoint, happening: Happening) -> None:
        if endpoint.tenant != OPERATIONAL_TENANT and self._announcer.listens:
            self._write.submit(happening)

    def _run(self, connection: Connection, happenings: list[Any]) -> list[Any]:
        self._announcer.announce(connection, happenings)
        return happenings

    def _done(self, happenings: list[Any], outcomes: list[Any]) -> None:
        self._announcer.told()
        for happening, outcome in zip(happenings, outcomes, strict=True):
            if isinstance(outcome, StoreUnavailableError):
                self._loop.call_later(_RETRY_AFTER_S, self._write.submit, happening)
        if isinstance(outcomes[0], Exception):
            self._telemetry.emit(StoreFailed("announce", str(outcomes[0])))


def exhausted(
    claim: Claim, endpoint: LiveEndpoint, *, attempts: int, status_code: int | None, error: str | None
) -> Iterator[Happening]:
    """A delivery that ended without success; nothing where it was of an announcement: that would never end."""
    if endpoint.tenant != OPERATIONAL_TENANT:
        data = DeliveryExhausted(
            encode(DELIVERY, claim.delivery_id),
            claim.event_text_id,
            endpoint.text_id,
            endpoint.tenant,
            claim.type,
            attempts,
            status_code,
            error,
        )
        yield Happening("delivery.exhausted", data)


def fails(
    announcer: Announcer, connection: Connection, id: bytes, fact: EndpointFailing
) -> Iterator[Happening]:
    """A warning of an endpoint at which every attempt fails."""
    place = announcer.place(connection, id)
    if place is not None and place.tenant != OPERATIONAL_TENANT:
        data = EndpointFails(
            fact.endpoint_id, place.tenant, place.url, fact.failing_ms // 1000, fact.left_ms // 1000
        )
        yield Happening("endpoint.failing", data)


def recovered(announcer: Announcer, connection: Connection, id: bytes, since_ms: int) -> Iterator[Happening]:
    """An endpoint that had been warned of, and has answered."""
    place = announcer.place(connection, id)
    if place is not None and place.tenant != OPERATIONAL_TENANT:
        data = EndpointRecovers(encode(ENDPOINT, id), place.tenant, place.url, rfc3339(since_ms))
        yield Happening("endpoint.recovered", data)
