"""The replayer: works off replays, page after page, in the background.

A replay was stored as a row by ``manage.replays``. Here a page of it becomes due deliveries in one short transaction,
which also moves the row on: whatever dies in between, nothing is lost and nobody gets an event twice. Several processes
share the replays; each takes one that no other holds.

A replay takes half of its endpoint's slots at most: so many deliveries that it has made due may be untried (or so many
batches, where the endpoint gets such), and as they are tried, more follow. What is published meanwhile finds the other
half free.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, rfc3339
from tellwire.errors import StoreError
from tellwire.ids import ENDPOINT, EVENT, REPLAY, encode, moved_to
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import envelope
from tellwire.model.order import sequence_of
from tellwire.model.replay import ReplayState
from tellwire.store import replay_pages
from tellwire.store.order import put_in_line
from tellwire.store.replay_pages import Counts, TakenReplay
from tellwire.store.roster import LiveEndpoint
from tellwire.store.rows import DeliveryRow, OrderedDeliveryRow
from tellwire.store.store import Store
from tellwire.telemetry import PageReplayed, StoreFailed, Telemetry
from tellwire.waking import woken

from .lanes import Lanes
from .leases import Claiming, ClaimWrites
from .replay_choice import Chosen, choose

_LOOK_EVERY_S: Final = 2.0
_WAIT_S: Final = 0.1
_PACE_S: Final = 0.005
_PAUSE_AFTER_ERROR_S: Final = 1.0
_FEW_EVENTS: Final = 50
_MANY_EVENTS: Final = 500
_MOST_EVENTS: Final = 2_000
_MOST_UNTRIED: Final = 1_000
_DAY_MS: Final = 86_400_000
_PRUNED_SOON_MS: Final = 60_000


class _Page(msgspec.Struct, frozen=True):
    """What became of a page: its claims, what is told of it, and the lanes in which it left something."""

    claims: list[Claim]
    fact: PageReplayed
    left: Collection[bytes] = ()


class Replayer:
    """Turns replays into due deliveries."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        *,
        new_id: Callable[[], bytes],
        claiming: Claiming,
        retention_days: int,
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._new_id = new_id
        self._claiming = claiming
        # What is to be pruned within the minute is not made pending: the pruner may have chosen it already.
        self._keeps_ms = retention_days * _DAY_MS - _PRUNED_SOON_MS
        self._claims = ClaimWrites(store)
        self._wake = asyncio.Event()
        self._looks: dict[bytes, int] = {}

    def wake(self) -> None:
        """There is a new replay, or something that a replay made due has been tried."""
        self._wake.set()

    async def run(self) -> None:
        """Replay until cancelled. Trouble with the store is told and outlived."""
        wait_s = _WAIT_S
        while True:
            self._wake.clear()
            try:
                running = await self._store.read(replay_pages.running)
                moved = [await self._work_on(id, dry_run) for id, dry_run in running]
            except StoreError as error:
                self._telemetry.emit(StoreFailed("replay", str(error)))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                continue
            self._looks = {id: self._looks[id] for id, _ in running if id in self._looks}
            if any(moved):
                wait_s = _WAIT_S
                await asyncio.sleep(_PACE_S)
            elif await woken(self._wake, wait_s if running else _LOOK_EVERY_S):
                wait_s = _WAIT_S
            else:  # an endpoint that is paused may be so for days
                wait_s = min(wait_s * 2, _LOOK_EVERY_S)

    async def _work_on(self, id: bytes, dry_run: bool) -> bool:
        """Take one page of a replay, if there is room for it now."""
        found: list[_Page] = []

        def accept(page: _Page | None) -> None:
            if page is not None:
                found.append(page)
                self._claiming.offer(page.claims)
                self._claiming.claim_in(page.left)
                self._telemetry.emit(page.fact)

        if dry_run:  # counts only, so it may look at many events, beside the event loop
            accept(await self._store.write(lambda connection: self._count_page(connection, id)))
        else:
            await self._claims.write(lambda connection: self._take_page(connection, id), accept)
        return bool(found)

    def _count_page(self, connection: Connection, id: bytes) -> _Page | None:
        replay = replay_pages.take(connection, id)
        if replay is None:
            return None
        endpoint = self._store.roster_in(connection).endpoints.get(replay.endpoint_id)
        if endpoint is None:
            return self._end_without_endpoint(connection, replay, True)
        chosen = self._choose(connection, replay, endpoint, _MOST_EVENTS, _MOST_EVENTS)
        if not chosen.seen and not chosen.ended:
            return None
        return self._moved_on(connection, replay, chosen, [], chosen.counts, True)

    def _take_page(self, connection: Connection, id: bytes) -> _Page | None:
        replay = replay_pages.take(connection, id)
        if replay is None:
            return None
        endpoint = self._store.roster_in(connection).endpoints.get(replay.endpoint_id)
        if endpoint is None:
            return self._end_without_endpoint(connection, replay, False)
        if endpoint.state is EndpointState.DISABLED:
            return None
        share = max(self._lanes.of(endpoint).limit.allowed // 2, 1)
        if endpoint.settings.batch is not None:  # so many full ones
            share = min(share * endpoint.settings.batch.max_events, _MOST_UNTRIED)
        untried = replay_pages.count_untried(connection, endpoint.id)
        if untried * 2 > share:  # more at a time, rather than one by one
            return None
        looks = self._looks.get(id, _FEW_EVENTS)
        chosen = self._choose(connection, replay, endpoint, looks, share - untried)
        if not chosen.seen and not chosen.ended:
            return None
        self._looks[id] = _FEW_EVENTS if chosen.full else min(looks * 2, _MANY_EVENTS)
        claims, retried = self._make_due(connection, chosen, replay, endpoint)
        counts = chosen.counts._replace(retried=retried)
        return self._moved_on(connection, replay, chosen, claims, counts, False)

    def _choose(
        self, connection: Connection, replay: TakenReplay, endpoint: LiveEndpoint, looks: int, room: int
    ) -> Chosen:
        now_ms = self._clock.now_ms()
        return choose(connection, replay, endpoint, looks, room, now_ms - self._keeps_ms, now_ms)

    def _make_due(
        self, connection: Connection, chosen: Chosen, replay: TakenReplay, endpoint: LiveEndpoint
    ) -> tuple[list[Claim], int]:
        """Make what was chosen due, claimed for this process as far as its lane has room. Gives the claims, and how
        many of the deliveries that there were have been made pending: another process may have moved some."""
        now_ms, token = self._clock.now_ms(), self._claiming.token()
        lease = token, now_ms + self._claiming.lease_ms
        admission = self._claiming.admission()
        enabled = endpoint.state is EndpointState.ENABLED
        claimed: dict[bytes, bool] = {}
        rows: list[DeliveryRow] = []
        in_order: list[OrderedDeliveryRow] = []
        sequences = self._sequences(connection, chosen, endpoint)
        made: list[tuple[bytes, bytes, int]] = []
        for event_id, delivery_id, attempt_count, not_before_ms in chosen.picks:
            id = self._new_id() if delivery_id is None else delivery_id
            due_ms = max(now_ms, not_before_ms)
            sequence = sequences.get(event_id)
            if sequence is None:
                claimed[id] = enabled and due_ms == now_ms and admission.admit(endpoint)
            else:
                claimed[id] = False
            made.append((id, event_id, attempt_count))
            if delivery_id is None and sequence is not None:
                placed = endpoint.place_of(moved_to(id, due_ms) if due_ms > now_ms else id)
                in_order.append(
                    OrderedDeliveryRow(
                        placed, event_id, endpoint.id, "replay", due_ms, None, None, now_ms, sequence
                    )
                )
            elif delivery_id is None:
                row = DeliveryRow(id, event_id, endpoint.id, "replay", due_ms, None, None, now_ms)
                rows.append(
                    row._replace(lease_token=lease[0], lease_until_ms=lease[1]) if claimed[id] else row
                )
        self._store.hot.insert_deliveries(connection, rows)
        if in_order:
            in_line = put_in_line(self._store.in_order, connection, in_order)
            self._store.hot.insert_deliveries(connection, in_line)
        created = [pick.event_id for pick in chosen.picks if pick.delivery_id is None]
        replay_pages.count_deliveries(connection, created)
        new = {row.id for row in rows}
        again = [pick.delivery_id for pick in chosen.picks if pick.delivery_id is not None]
        changed: set[bytes] = set()
        for lent in (True, False):
            changed |= replay_pages.make_pending(
                connection,
                [id for id in again if claimed[id] is lent],
                replay.criteria.states,
                now_ms=now_ms,
                lease=lease if lent else None,
                order=endpoint.order,
            )
        to_send = [one for one in made if claimed[one[0]] and (one[0] in new or one[0] in changed)]
        contents = replay_pages.contents(connection, [event_id for _, event_id, _ in to_send])
        claims = [
            Claim(
                id,
                event_id,
                endpoint.id,
                encode(EVENT, event_id),
                contents[event_id].type,
                envelope(
                    contents[event_id].type, rfc3339(contents[event_id].occurred_ms), contents[event_id].data
                ),
                lease[0],
                lease[1],
                attempt_count,
                trigger="replay",
                due_ms=now_ms,
                expires_ms=contents[event_id].expires_ms,
                again_ms=now_ms,
                traceparent=contents[event_id].traceparent,
                order=endpoint.order,
            )
            for id, event_id, attempt_count in to_send
        ]
        return claims, len(changed)

    def _sequences(
        self, connection: Connection, chosen: Chosen, endpoint: LiveEndpoint
    ) -> dict[bytes, str | None]:
        """In which sequence at the endpoint each chosen event stands, if it has an order."""
        if endpoint.order is None:
            return {}
        keys = replay_pages.ordering_keys(connection, [pick.event_id for pick in chosen.picks])
        return {event_id: sequence_of(endpoint.order, key) for event_id, key in keys.items()}

    def _moved_on(
        self,
        connection: Connection,
        replay: TakenReplay,
        chosen: Chosen,
        claims: list[Claim],
        counts: Counts,
        dry_run: bool,
    ) -> _Page:
        state = ReplayState.SUCCEEDED if chosen.ended else ReplayState.RUNNING
        replay_pages.move_on(
            connection, replay.id, up_to=chosen.up_to, counts=counts, now_ms=self._clock.now_ms(), state=state
        )
        # What was not claimed here stands in order, or waits for room.
        left = [replay.endpoint_id] if counts.retried + counts.created > len(claims) else []
        return _Page(claims, _fact(replay, state, dry_run, counts), left)

    def _end_without_endpoint(self, connection: Connection, replay: TakenReplay, dry_run: bool) -> _Page:
        replay_pages.move_on(
            connection,
            replay.id,
            up_to=replay.up_to,
            counts=Counts(),
            now_ms=self._clock.now_ms(),
            state=ReplayState.CANCELLED,
            reason="the endpoint was deleted",
        )
        return _Page([], _fact(replay, ReplayState.CANCELLED, dry_run, Counts()))


def _fact(replay: TakenReplay, state: ReplayState, dry_run: bool, counts: Counts) -> PageReplayed:
    return PageReplayed(
        encode(REPLAY, replay.id), encode(ENDPOINT, replay.endpoint_id), state, dry_run, **counts._asdict()
    )
