"""The claimer: fetches from the store what was not born claimed.

Retries that have come due, backlogs of lanes that had no room, what other processes published, and what processes that
died had claimed: an expired lease and a due delivery are the same thing to a claim (that is the rescue). It sleeps
until the earliest of these, as far as it knows, and then claims in the lanes whose time has come. What it knows comes
from a survey of all lanes, a read beside the writing, at the start, whenever others have written something and every
few seconds; and from what this process records itself.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, rfc3339
from tellwire.errors import StoreError
from tellwire.ids import EVENT, encode
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import envelope
from tellwire.store import fanouts, holds
from tellwire.store.endpoints import cancel_if_deleted
from tellwire.store.order import Glance, glances
from tellwire.store.roster import LiveEndpoint
from tellwire.store.rows import ClaimedRow
from tellwire.store.store import Store
from tellwire.telemetry import DeliveriesRescued, StoreFailed, Telemetry
from tellwire.waking import woken

from .holds import Holds
from .lane import Lane
from .lanes import Lanes
from .leases import Claiming, ClaimWrites
from .ownership import Ownership, Taking
from .rejoining import rejoined
from .sequences import Look, MakeClaim, Pass, Sequences
from .timetable import Timetable

_SURVEY_EVERY_MS: Final = 10_000
_LANES_PER_PASS: Final = 200
_PER_LANE_PER_PASS: Final = 100
_IN_ORDER_PER_PASS: Final = 400
"""At an endpoint with an order its lines share them, each of which then waits for a commit and the next pass."""
_PASS_MS: Final = 20
"""A pass that has taken so long leaves other lanes to the next: who publishes meanwhile waits for it."""
_APART_MS: Final = 20
_AT_MOST_APART_MS: Final = 1_000
_REARRANGING_MS: Final = 250
"""A lane that rests until what waits has its place in a new order is looked at again after that."""
_BEHIND_MS: Final = 100
"""A survey that saw changes of endpoints of which this process has not heard yet is made again after that."""
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 4.0
"""After trouble with the store; each time twice as long."""


class _Pass(msgspec.Struct):
    """What one pass over the store found."""

    claims: list[Claim]
    rescued: int = 0
    ready: list[tuple[bytes, int]] = []
    taking: Taking = msgspec.field(default_factory=Taking)
    held: int = 0
    emptied: list[bytes] = []
    left: list[bytes] = []


class _Survey(NamedTuple):
    """What one look through all lanes found; ``abreast``: this process has heard of all changes of endpoints in it."""

    ready: list[tuple[bytes, int]]
    in_order: list[Glance]
    pages: bool
    held: dict[bytes, int]
    abreast: bool


class Claimer:
    """Keeps the lanes supplied."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        *,
        claiming: Claiming,
        ownership: Ownership,
        holds: Holds,
        fan_out: Callable[[], None],
        prolong_from: int,
    ) -> None:
        """``holds`` hears which lanes are held back, ``fan_out`` is called when there are pages of wide events in the
        store."""
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._claiming = claiming
        self._ownership = ownership
        self._holds = holds
        self._fan_out = fan_out
        self._claims = ClaimWrites(store)
        self._sequences = Sequences(store, prolong_from)
        self._wake = asyncio.Event()
        self._timetable = Timetable()
        self._survey_ms: int | None = 0
        self._last_survey_ms = self._last_pass_ms = 0
        self._apart_ms = _APART_MS
        self._wanted: dict[bytes, None] = {}  # in order
        self._surveyed = store.roster

    def expect(self, endpoint_id: bytes, ready_ms: int) -> None:
        """Something in this lane may be claimed from ``ready_ms`` on: be there."""
        next_ms = self._timetable.next_ms
        self._timetable.expect(endpoint_id, ready_ms)
        if self._sequences.scans and ready_ms <= self._clock.now_ms():
            self._sequences.news(endpoint_id)
        if next_ms is None or ready_ms < next_ms:
            self._wake.set()

    def expect_anywhere(self, ready_ms: int) -> None:
        """Something may be claimed from ``ready_ms`` on, in which lane is not known: look through all of them then."""
        if self._survey_ms is None or ready_ms < self._survey_ms:
            self._survey_ms = ready_ms
            self._wake.set()

    def supply(self, endpoint_id: bytes) -> None:
        """A lane with a backlog has room again."""
        self._wanted[endpoint_id] = None
        self._sequences.news(endpoint_id)
        self._wake.set()

    def take_turns(self, endpoint_id: bytes) -> bool:
        """Whether lines of this endpoint that may be sent were left in the store."""
        return endpoint_id in self._sequences.scans

    async def run(self) -> None:
        """Claim until cancelled. Trouble with the store is told and outlived."""
        pause_s = _FIRST_PAUSE_S
        self._survey_ms = 0  # whatever ended the last run may have taken something with it
        while True:
            try:
                await self._turn()
                pause_s = _FIRST_PAUSE_S
            except StoreError as error:
                self._telemetry.emit(StoreFailed("claim", str(error)))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                self._survey_ms = 0

    async def _turn(self) -> None:
        now_ms = self._clock.now_ms()
        since_survey_ms = now_ms - self._last_survey_ms
        wanted = self._survey_ms is not None and self._survey_ms <= now_ms
        # A survey that lies ahead of us tells that the clock was set back.
        if not 0 <= since_survey_ms < _SURVEY_EVERY_MS or (wanted and since_survey_ms >= self._apart_ms):
            await self._survey()
            now_ms = self._clock.now_ms()
        lanes, self._wanted = self._wanted, {}
        if not 0 <= now_ms - self._last_pass_ms < _APART_MS:
            lanes |= dict.fromkeys(self._timetable.take_due(now_ms, _LANES_PER_PASS))
        lanes = {id: None for id in lanes if self._is_open(id, now_ms) and not self._is_elsewhere(id, now_ms)}
        if lanes:
            self._last_pass_ms = now_ms
            await self._claims.write(lambda connection: self._claim(connection, lanes), self._accept)
        else:
            await self._sleep(now_ms)

    def _is_open(self, endpoint_id: bytes, now_ms: int) -> bool:
        """Whether claiming there is worth a transaction. What is left at a deleted endpoint is to be cancelled."""
        roster = max(self._store.roster, self._surveyed, key=lambda one: one.revision)
        endpoint = roster.endpoints.get(endpoint_id)
        if endpoint is not None and endpoint.rearranging is not None:
            self._timetable.expect(endpoint_id, now_ms + _REARRANGING_MS)
            return False
        return endpoint is None or endpoint.state is EndpointState.ENABLED

    def _is_elsewhere(self, endpoint_id: bytes, now_ms: int) -> bool:
        """Whether the lane is another process's, by what was found a moment ago; then it is looked at again later."""
        again_ms = self._ownership.retry_ms(endpoint_id, now_ms)
        if again_ms is not None:
            self._timetable.expect(endpoint_id, again_ms)
        return again_ms is not None

    async def _sleep(self, now_ms: int) -> None:
        until_ms = self._last_survey_ms + _SURVEY_EVERY_MS
        if self._survey_ms is not None:
            until_ms = min(until_ms, max(self._survey_ms, self._last_survey_ms + self._apart_ms))
        next_ms = self._timetable.next_ms
        if next_ms is not None:
            until_ms = min(until_ms, max(next_ms, self._last_pass_ms + _APART_MS))
        timeout_s = max(until_ms - now_ms, 1) / 1000
        self._wake.clear()
        await woken(self._wake, timeout_s)

    async def _survey(self) -> None:
        """Look through all lanes. With very many of them it takes its time, but nobody waits for it."""
        self._survey_ms = None  # what is expected while the survey runs is set anew
        self._last_survey_ms = self._clock.now_ms()
        self._lanes.forget_idle(self._ownership.remembers)
        writes = self._holds.writes
        found = await self._store.read(self._look_through)
        self._holds.heard(found.held, self._last_survey_ms, writes, lifts=found.abreast)
        if not found.abreast:
            self.expect_anywhere(self._clock.now_ms() + _BEHIND_MS)
        for endpoint_id, ready_ms in found.ready:
            self._timetable.expect(endpoint_id, ready_ms)
        self._sequences.known = {one.endpoint_id for one in found.in_order}
        for one in found.in_order:
            first_ms = one.ready_ms if one.whole else self._last_survey_ms
            if first_ms is not None:
                self._timetable.expect(one.endpoint_id, first_ms)
                self._sequences.news(one.endpoint_id)
        if found.pages:
            self._fan_out()
        # News may come without a pause: where surveys take long, most of the time is not for them.
        took_ms = self._clock.now_ms() - self._last_survey_ms
        self._apart_ms = min(max(_APART_MS, 2 * took_ms), _AT_MOST_APART_MS)

    def _look_through(self, connection: Connection) -> _Survey:
        # News of a lane that was switched on elsewhere comes before the news that it was: who asked the roster of this
        # process alone would pass it over, until the next survey.
        abreast = self._store.hot.revision(connection) <= self._store.roster.revision
        if not abreast:
            self._surveyed = self._store.roster_in(connection)
        ready = self._store.hot.ready_lanes(connection)
        in_order, pages = glances(self._store.in_order, connection), fanouts.any_left(connection)
        return _Survey(ready, in_order, pages, holds.held(connection, self._last_survey_ms), abreast)

    def _accept(self, found: _Pass) -> None:
        for endpoint_id, taken in self._ownership.accept(found.taking):
            self._lanes.own(endpoint_id, taken.idle_since_ms, taken.circuit)
        for endpoint_id, ready_ms in found.ready:
            self._timetable.expect(endpoint_id, ready_ms)
        self._wanted = dict.fromkeys(found.left) | self._wanted
        if found.rescued:
            self._telemetry.emit(DeliveriesRescued(found.rescued))
        if found.claims:
            self._claiming.offer(found.claims)

    def _claim(self, connection: Connection, endpoint_ids: Iterable[bytes]) -> _Pass:
        """Claim for each lane what it has room for, and see when there is more."""
        found = _Pass([])
        endpoints = self._store.roster_in(connection).endpoints
        now_ms = self._clock.now_ms()
        until_ms, token = now_ms + self._claiming.lease_ms, self._claiming.token()
        in_order = Pass(self._sequences, now_ms=now_ms, until_ms=until_ms, token=token)
        following = iter(endpoint_ids)
        for endpoint_id in following:
            endpoint = endpoints.get(endpoint_id)
            if endpoint is None:
                cancel_if_deleted(connection, endpoint_id, now_ms=now_ms)
            elif endpoint.state is EndpointState.ENABLED:
                self._claim_in(connection, endpoint, found, in_order)
            if self._clock.now_ms() - now_ms >= _PASS_MS:
                break
        found.left = list(following)
        found.ready += self._store.hot.lanes_ready(connection, found.emptied)
        return found

    def _claim_in(self, connection: Connection, endpoint: LiveEndpoint, found: _Pass, in_order: Pass) -> None:
        """Claim in one lane. If it gets all it asked for it has a backlog: it is looked at again when it has room."""
        if endpoint.rearranging is not None:  # what is first is known when all have their places
            found.ready.append((endpoint.id, in_order.now_ms + _REARRANGING_MS))
            return
        if endpoint.exclusive and not self._ownership.take(connection, endpoint.id, found.taking):
            found.ready.append((endpoint.id, found.taking.elsewhere[endpoint.id]))
            return
        lane = self._lanes.of(endpoint)
        stand = self._sequences.stands_at(endpoint)
        most = _IN_ORDER_PER_PASS if stand else _PER_LANE_PER_PASS
        limit = min(self._lanes.room(lane, found.held), max(most, lane.per_request))
        if found.taking.leaves_open(endpoint.id):
            limit = min(limit, lane.per_request)
        if limit <= 0:
            lane.backlog = True
            return
        make = partial(claim_of, endpoint=endpoint, token=in_order.token, until_ms=in_order.until_ms)
        # In turn with what has no key: neither is to wait until nothing is left of the other.
        lane.lines_first = stand and endpoint.order == "key" and not lane.lines_first
        cut, room = False, limit
        if lane.lines_first:
            look = in_order.claim(connection, endpoint, make, room)
            cut |= self._look(look, lane, found)
            room -= look.count
        taken = self._claim_out_of_line(connection, endpoint, found, in_order, make, room)
        cut |= 0 < room == taken
        if stand and not lane.lines_first:
            cut |= self._look(in_order.claim(connection, endpoint, make, room - taken), lane, found)
        lane.backlog = cut

    def _claim_out_of_line(
        self,
        connection: Connection,
        endpoint: LiveEndpoint,
        found: _Pass,
        in_order: Pass,
        make: MakeClaim,
        room: int,
    ) -> int:
        """Claim what stands in no sequence; gives how many."""
        now_ms, until_ms, token = in_order.now_ms, in_order.until_ms, in_order.token
        if room <= 0:  # sequences have taken all: look when it is the turn of these
            found.emptied.append(endpoint.id)
            return 0
        rows = self._store.hot.claim(
            connection, endpoint.id, now_ms=now_ms, until_ms=until_ms, token=token, limit=room
        )
        if len(rows) < room:
            found.emptied.append(endpoint.id)
        found.rescued += sum(row.rescued for row in rows)
        claims = [make(row) for row in rows]
        if endpoint.settings.batch is not None:
            claims, rescued = rejoined(
                connection, endpoint, claims, make, now_ms=now_ms, until_ms=until_ms, token=token
            )
            found.rescued += rescued
        found.claims += claims
        found.held += len(rows)
        return len(rows)

    def _look(self, look: Look, lane: Lane, found: _Pass) -> bool:
        """Take what was found in the sequences of a lane; gives whether there is more."""
        found.held += look.count
        found.rescued += look.rescued
        found.claims += look.claims
        lane.gathers = look.gathers
        if look.gathers:
            self._lanes.holding.set()
        if look.ready_ms is not None:
            found.ready.append((lane.endpoint_id, look.ready_ms))
        return look.cut


def claim_of(row: ClaimedRow, endpoint: LiveEndpoint, token: int, until_ms: int) -> Claim:
    """What is sent for a row that was claimed."""
    return Claim(
        row.id,
        row.event_id,
        endpoint.id,
        encode(EVENT, row.event_id),
        row.type,
        envelope(row.type, rfc3339(row.occurred_ms), row.data),
        token,
        until_ms,
        row.attempt_count,
        row.schedule_step,
        row.trigger,
        row.due_ms,
        row.expires_ms,
        row.deliver_ms or 0,
        row.again_ms or 0,
        row.traceparent,
        order=endpoint.order,
        sequence=row.sequence,
    )
