"""The expirer: ends deliveries that came to their turn when their event was not worth delivering any more.

Nothing is sent, so there is no attempt to record; as with every result, only who holds the lease may write. If the
store cannot be written, the lease ends, and whoever claims the delivery then comes here again.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.ids import DELIVERY, encode
from tellwire.model.claim import Claim
from tellwire.model.delivery import EXPIRED, State
from tellwire.model.operational import Happening
from tellwire.store.announcer import Announcer
from tellwire.store.order import step_aside
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store
from tellwire.store.tallies import Tallies
from tellwire.telemetry import DeliveryExpired, StoreFailed, Telemetry

from .announcing import exhausted


class Expirer:
    """Ends what has expired, many at a time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        let_go: Callable[[Claim], None],
        announcer: Announcer,
    ) -> None:
        """``let_go`` is called for each claim that is ended, or could not be."""
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._let_go = let_go
        self._announcer = announcer
        self._write = store.batched(self._run, self._done, max_weight=1_000, patient=True, stage="expire")

    def expire(self, claim: Claim, endpoint: LiveEndpoint) -> None:
        """Have the delivery of ``claim`` ended with the next transaction."""
        self._write.submit((claim, endpoint))

    def _run(self, connection: Connection, items: list[Any]) -> list[Any]:
        now_ms = self._clock.now_ms()
        leases = [(claim.delivery_id, claim.token) for claim, _ in items]
        held = self._store.hot.expire(connection, leases, now_ms)
        in_order = [claim.delivery_id for claim, _ in items if claim.sequence is not None]
        step_aside(connection, [id for id in in_order if id in held])
        if self._announcer.listens:
            self._announcer.announce(connection, _exhausted(items, held))
        tallies = Tallies()
        for claim, endpoint in items:
            if claim.delivery_id in held:
                tallies.ended(endpoint.tenant, claim.endpoint_id, State.EXHAUSTED, now_ms)
        if held:
            self._store.hot.append_tallies(connection, tallies.encoded())
        return [claim.delivery_id in held for claim, _ in items]

    def _done(self, items: list[Any], outcomes: list[Any]) -> None:
        for (claim, endpoint), outcome in zip(items, outcomes, strict=True):
            self._let_go(claim)
            if outcome is True:
                self._telemetry.emit(expired(claim, endpoint, claim.attempt_count))
        self._announcer.told()
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if failures:
            self._telemetry.emit(StoreFailed("expire", str(failures[0])))


def _exhausted(items: list[Any], held: set[bytes]) -> Iterator[Happening]:
    for claim, endpoint in items:
        if claim.delivery_id in held:
            yield from exhausted(
                claim, endpoint, attempts=claim.attempt_count, status_code=None, error=EXPIRED
            )


def expired(claim: Claim, endpoint: LiveEndpoint, attempts: int) -> DeliveryExpired:
    """What is told of a delivery that ended after so many attempts because its event has expired."""
    return DeliveryExpired(
        event_id=claim.event_text_id,
        delivery_id=encode(DELIVERY, claim.delivery_id),
        endpoint_id=endpoint.text_id,
        tenant=endpoint.tenant,
        type=claim.type,
        attempts=attempts,
    )
