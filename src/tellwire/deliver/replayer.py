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

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.ids import ENDPOINT, REPLAY, encode
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.replay import ReplayState
from tellwire.store import replay_pages
from tellwire.store.replay_pages import Counts, TakenReplay
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store
from tellwire.telemetry import PageReplayed, StoreFailed, Telemetry
from tellwire.waking import woken

from .lanes import Lanes
from .leases import Claiming, ClaimWrites
from .replay_choice import Chosen, choose
from .replay_due import DueMaker

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
        due = DueMaker(
            connection,
            replay,
            endpoint,
            store=self._store,
            clock=self._clock,
            new_id=self._new_id,
            claiming=self._claiming,
        )
        made = due.make_due(chosen.picks)
        counts = chosen.counts._replace(retried=made.retried)
        return self._moved_on(connection, replay, chosen, made.claims, counts, False)

    def _choose(
        self, connection: Connection, replay: TakenReplay, endpoint: LiveEndpoint, looks: int, room: int
    ) -> Chosen:
        now_ms = self._clock.now_ms()
        return choose(connection, replay, endpoint, looks, room, now_ms - self._keeps_ms, now_ms)

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
