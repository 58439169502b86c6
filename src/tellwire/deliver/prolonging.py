"""Prolonging: claims more of a line behind a run that is still being sent, so that the line need not rest at its end.

When half of a run is through and that is durable, as much again is claimed behind its last. Whoever holds a line up to
there may do so: its head is under the same lease, which is the lock of the line, and nobody comes past that. So there
are never more deliveries of a line between claim and record than a run has.

Only where all lines that may be sent are in memory: where some wait in the store, a run ends, and they have their turn.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.model.claim import Claim, More
from tellwire.model.endpoint import EndpointState
from tellwire.store.order import Further
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store

from .claimer import claim_of
from .lanes import Lanes
from .sequences import chained

_PER_TRANSACTION: Final = 20


class Prolonging:
    """Prolongs runs."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        lease_ms: int,
        *,
        take_turns: Callable[[bytes], bool],
        prolonged: Callable[[Claim, Claim], None],
    ) -> None:
        """``take_turns`` tells whether lines of an endpoint wait for their turn in the store. ``prolonged(last, next)``
        hears what was claimed behind the last of a run: a chain that begins with ``next``."""
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._lease_ms = lease_ms
        self._take_turns = take_turns
        self._prolonged = prolonged
        self._write = store.batched(self._run, self._done, max_weight=_PER_TRANSACTION, patient=True)

    def recorded(self, claim: Claim) -> None:
        """A claim is through, and that is durable: see whether it is the one in the middle of a run."""
        more, claim.more = claim.more, None
        if more is not None and self._may(*more):
            self._write.submit(more)

    def _may(self, last: Claim, most: int) -> bool:
        endpoint_id = last.endpoint_id
        lane = self._lanes[endpoint_id]
        if lane.backlog or lane.is_open or self._take_turns(endpoint_id):
            return False
        return last.received is None and self._lanes.room(lane) >= most

    def _run(self, connection: Connection, items: list[More]) -> list[Any]:
        endpoints = self._store.roster_in(connection).endpoints
        found: list[list[Claim]] = []
        for (endpoint_id, order, token), same in groupby(items, key=_whose):
            asked, endpoint = list(same), endpoints.get(endpoint_id)
            if endpoint is not None and _goes_on(endpoint, order):
                found += self._claimed(connection, endpoint, token, asked)
            else:
                found += [[] for _ in asked]
        return found

    def _claimed(
        self, connection: Connection, endpoint: LiveEndpoint, token: int, asked: list[More]
    ) -> list[list[Claim]]:
        now_ms = self._clock.now_ms()
        until_ms = now_ms + self._lease_ms
        furthers = [Further(last.sequence or "", last.delivery_id, most) for last, most in asked]
        runs = self._store.in_order.claim_further(
            connection, endpoint.id, furthers, now_ms=now_ms, until_ms=until_ms, token=token
        )
        return [[claim_of(row, endpoint, token, until_ms) for row in run] for run in runs]

    def _done(self, items: list[More], outcomes: list[Any]) -> None:
        for (last, most), claims in zip(items, outcomes, strict=True):
            if isinstance(claims, list) and claims:
                if len(claims) == most:
                    last.more = More(claims[-1], most)
                self._prolonged(last, chained(claims))


def _whose(asked: More) -> tuple[bytes, str | None, int]:
    return asked.last.endpoint_id, asked.last.order, asked.last.token


def _goes_on(endpoint: LiveEndpoint, order: str | None) -> bool:
    """Whether runs that were claimed under an order are still those of the endpoint, one delivery a request."""
    as_it_was = endpoint.order == order and endpoint.rearranging is None and endpoint.settings.batch is None
    return as_it_was and endpoint.state is EndpointState.ENABLED
