"""What a page of a replay has chosen becomes due: by new deliveries, or by those that there are, made pending again.

The second half of the replayer's transaction, after `replay_choice`. As far as the lane of this process has room, the
deliveries are claimed at the same time, so that their next attempt needs no read.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from tellwire.clock import Clock, rfc3339
from tellwire.ids import EVENT, encode, moved_to
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import envelope
from tellwire.model.order import sequence_of
from tellwire.store import replay_pages
from tellwire.store.order import put_in_line
from tellwire.store.replay_pages import TakenReplay
from tellwire.store.roster import LiveEndpoint
from tellwire.store.rows import DeliveryRow, OrderedDeliveryRow
from tellwire.store.store import Store

from .leases import Claiming
from .replay_choice import Pick


class MadeDue(NamedTuple):
    """The claims that came of a page, and how many deliveries that there were have been made pending.

    Another process may have moved some of those first.
    """

    claims: list[Claim]
    retried: int


class _Planned(NamedTuple):
    """One delivery that is to become due, claimed or not."""

    id: bytes
    pick: Pick
    due_ms: int
    sequence: str | None
    claimed: bool

    @property
    def is_new(self) -> bool:
        return self.pick.delivery_id is None


class DueMaker:
    """Makes due what was chosen for one endpoint, in one transaction, now."""

    def __init__(
        self,
        connection: Connection,
        replay: TakenReplay,
        endpoint: LiveEndpoint,
        *,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        claiming: Claiming,
    ) -> None:
        self._connection = connection
        self._replay = replay
        self._endpoint = endpoint
        self._store = store
        self._new_id = new_id
        self._admission = claiming.admission()
        self._now_ms = clock.now_ms()
        self._lease = claiming.token(), self._now_ms + claiming.lease_ms

    def make_due(self, picks: Sequence[Pick]) -> MadeDue:
        """Write the deliveries of ``picks``."""
        planned = self._plan(picks)
        self._insert([one for one in planned if one.is_new])
        changed = self._make_pending([one for one in planned if not one.is_new])
        to_send = [one for one in planned if one.claimed and (one.is_new or one.id in changed)]
        return MadeDue(self._claims(to_send), len(changed))

    def _plan(self, picks: Sequence[Pick]) -> list[_Planned]:
        enabled = self._endpoint.state is EndpointState.ENABLED
        sequences = self._sequences(picks)
        planned: list[_Planned] = []
        for pick in picks:
            due_ms = max(self._now_ms, pick.not_before_ms)
            sequence = sequences.get(pick.event_id)
            claimable = enabled and sequence is None and due_ms == self._now_ms
            claimed = claimable and self._admission.admit(self._endpoint)
            planned.append(_Planned(pick.delivery_id or self._new_id(), pick, due_ms, sequence, claimed))
        return planned

    def _sequences(self, picks: Sequence[Pick]) -> dict[bytes, str | None]:
        """In which sequence at the endpoint each event stands, if it has an order."""
        order = self._endpoint.order
        if order is None:
            return {}
        keys = replay_pages.ordering_keys(self._connection, [pick.event_id for pick in picks])
        return {event_id: sequence_of(order, key) for event_id, key in keys.items()}

    def _insert(self, planned: Sequence[_Planned]) -> None:
        rows = [self._row(one) for one in planned if one.sequence is None]
        self._store.hot.insert_deliveries(self._connection, rows)
        in_order = [self._ordered_row(one, one.sequence) for one in planned if one.sequence is not None]
        if in_order:
            in_line = put_in_line(self._store.in_order, self._connection, in_order)
            self._store.hot.insert_deliveries(self._connection, in_line)
        replay_pages.count_deliveries(self._connection, [one.pick.event_id for one in planned])

    def _row(self, one: _Planned) -> DeliveryRow:
        token, until_ms = self._lease if one.claimed else (None, None)
        return DeliveryRow(
            one.id, one.pick.event_id, self._endpoint.id, "replay", one.due_ms, token, until_ms, self._now_ms
        )

    def _ordered_row(self, one: _Planned, sequence: str) -> OrderedDeliveryRow:
        # What is not due yet stands where it will be due: until then nothing is to wait for it.
        id = moved_to(one.id, one.due_ms) if one.due_ms > self._now_ms else one.id
        row = self._row(one)._replace(id=self._endpoint.place_of(id))
        return OrderedDeliveryRow(*row, sequence)

    def _make_pending(self, planned: Sequence[_Planned]) -> set[bytes]:
        changed: set[bytes] = set()
        for lease in (self._lease, None):
            changed |= replay_pages.make_pending(
                self._connection,
                [one.id for one in planned if one.claimed is (lease is not None)],
                self._replay.criteria.states,
                now_ms=self._now_ms,
                lease=lease,
                order=self._endpoint.order,
            )
        return changed

    def _claims(self, planned: Sequence[_Planned]) -> list[Claim]:
        contents = replay_pages.contents(self._connection, [one.pick.event_id for one in planned])
        token, until_ms = self._lease
        claims: list[Claim] = []
        for one in planned:
            content = contents[one.pick.event_id]
            claims.append(
                Claim(
                    one.id,
                    one.pick.event_id,
                    self._endpoint.id,
                    encode(EVENT, one.pick.event_id),
                    content.type,
                    envelope(content.type, rfc3339(content.occurred_ms), content.data),
                    token,
                    until_ms,
                    one.pick.attempt_count,
                    trigger="replay",
                    due_ms=self._now_ms,
                    expires_ms=content.expires_ms,
                    again_ms=self._now_ms,
                    traceparent=content.traceparent,
                    order=self._endpoint.order,
                )
            )
        return claims
