"""Publishing inside the caller's own transaction: the event exists exactly if the caller commits.

A second front door of the life of an event, beside the publisher. The rows are those of any fan-out, but nothing is
born claimed: whether the caller commits is not known here, so the engine finds the deliveries after the commit. Nothing
here commits, rolls back or closes what is the caller's.

A sync connection that is given on the event loop is used there and then, since some are bound to their thread; where it
would have to wait for another transaction, the event loop goes on meanwhile (``hurried``).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from inspect import isawaitable
from typing import Any, TypeVar

from tellwire.clock import Clock
from tellwire.errors import ConflictError, InvalidInputError, TellwireError
from tellwire.ids import IdMaker
from tellwire.model.event import NewEvent, Receipt
from tellwire.store.order import placed, places_of
from tellwire.store.roster import Roster
from tellwire.store.rows import OrderedDeliveryRow
from tellwire.store.store import Store
from tellwire.store.within import PAUSE_S, Ground, NewRows, Rows, Sql, Steps, Wish

from .connections import Caller, any_caller, sync_caller
from .fanout import Fanout, Known, known_of
from .tracing import Traced

T = TypeVar("T")

_TRIES = 5


class Within:
    """Publishes on connections of callers."""

    def __init__(
        self, store: Store, clock: Clock, new_id: Callable[[], bytes], traced: Traced, *, at_once: int
    ) -> None:
        """``at_once``: events for more endpoints than that are fanned out in pages (see ``fanout``)."""
        self._at_once = at_once
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._traced = traced
        self._ground: Ground | None = None

    async def publish(self, connection: object, events: Sequence[NewEvent], *, listed: bool) -> list[Receipt]:
        """Store ``events`` in the transaction of ``connection``, all or none, and give their receipts in order.

        Raises:
            InvalidInputError: the connection cannot be used for this, or a tenant does not exist.
            ConflictError: an idempotency key was used before with other content.
        """
        caller = await any_caller(connection)
        with self._traced.begun(events) as span:
            steps = self._steps(caller, span.events, listed, self._new_id, hurried=not caller.is_async)
            span.receipts = await _run(steps, caller, self._read_ground)
        return span.receipts

    def publish_sync(
        self,
        connection: object,
        events: Sequence[NewEvent],
        *,
        listed: bool,
        call: Callable[[Coroutine[Any, Any, Ground]], Ground],
    ) -> list[Receipt]:
        """The same in the calling thread, on a sync connection; ``call`` runs a coroutine on the event loop."""
        caller = sync_caller(connection)

        async def ground() -> Ground:
            return call(self._read_ground())

        with self._traced.begun(events) as span:
            # Ids of their own: the maker of the event loop is not made for several threads.
            steps = self._steps(caller, span.events, listed, IdMaker(self._clock.now_ms), hurried=False)
            try:
                _run(steps, caller, ground).send(None)
            except StopIteration as end:
                span.receipts = end.value
                return span.receipts
            raise AssertionError("a sync connection has nothing to wait for on an event loop")

    def _steps(
        self,
        caller: Caller,
        events: Sequence[NewEvent],
        listed: bool,
        new_id: Callable[[], bytes],
        *,
        hurried: bool,
    ) -> Steps[list[Receipt]]:
        """Everything that runs on the caller's connection, in its order."""
        within = self._store.within
        ground = yield from self._find(caller)
        revision = yield from within.revision(ground.schema, hurried=hurried)
        roster = self._store.roster
        if roster.revision != revision:
            roster = (yield Wish.GROUND).roster
        if roster.revision > revision:
            roster = yield from self._as_seen(ground.schema, roster, events)
        places = sorted({(e.tenant, e.idempotency_key) for e in events if e.idempotency_key is not None})
        for _ in range(_TRIES):
            known = yield from self._known(ground.schema, places, events)
            fanout = Fanout(
                roster,
                known,
                now_ms=self._clock.now_ms(),
                new_id=new_id,
                lease=None,
                at_once=self._at_once,
            )
            accepted = fanout.accept(events, listed=listed)
            if isinstance(accepted, TellwireError):
                raise accepted
            fanout.ordered_rows = yield from self._in_line(ground.schema, fanout.ordered_rows)
            rows = NewRows(fanout.all_events, fanout.all_deliveries, fanout.page_rows)
            if not rows.events or (
                yield from within.insert(ground.schema, rows, keyed=bool(places), hurried=hurried)
            ):
                return accepted.receipts
        raise ConflictError("idempotency keys are used and removed by others at this moment: try again")

    def _find(self, caller: Caller) -> Steps[Ground]:
        """Where our tables are, if the caller is on their database and in a transaction."""
        within, elsewhere = self._store.within, "is not on Tellwire's database"
        if caller.dialect != within.dialect:
            raise InvalidInputError.at("connection", msg=f"{elsewhere}, but on {caller.dialect}")
        place = yield from within.place()
        ground = self._ground
        if ground is None or ground.place != place:  # a server that was restarted is another place
            ground = self._ground = yield Wish.GROUND
        if place is None or ground.place != place:
            raise InvalidInputError.at("connection", msg=elsewhere)
        if caller.commits_at_once():
            msg = "is in autocommit mode and in no transaction: begin one, the event is to exist only if it commits"
            raise InvalidInputError.at("connection", msg=msg)
        return ground

    def _as_seen(self, schema: str, roster: Roster, events: Sequence[NewEvent]) -> Steps[Roster]:
        """The roster without the endpoints that are newer than what the caller's transaction sees."""
        targets = {e.id for event in events for e in roster.targets(event.tenant, event.type, event.data)}
        visible = yield from self._store.within.visible(schema, list(targets))
        return roster.with_changes(roster.revision, {}, dict.fromkeys(targets - visible), {})

    def _in_line(self, schema: str, rows: list[OrderedDeliveryRow]) -> Steps[list[OrderedDeliveryRow]]:
        """Deliveries that stand in sequences, under the ids that have them stand after those before."""
        if not rows:
            return rows
        places = places_of(rows)
        last = yield from self._store.within.last(schema, places)
        return placed(rows, dict(zip(places, last, strict=True)))

    def _known(
        self, schema: str, places: Sequence[tuple[str, str]], events: Sequence[NewEvent]
    ) -> Steps[dict[tuple[str, str], Known]]:
        if not places:
            return {}
        rows: Rows = yield from self._store.within.known(schema, places)
        types = {(e.tenant, e.idempotency_key): e.type for e in events}
        known: dict[tuple[str, str], Known] = {}
        for number, fingerprint, id, *rest in rows:
            place = places[number]
            # The type is part of the fingerprint: where it differs, there is no receipt but a conflict.
            known[place] = known_of(place[0], (bytes(fingerprint), bytes(id), types[place], *rest))
        return known

    async def _read_ground(self) -> Ground:
        # By a read: the caller may hold the lock for writing.
        return await self._store.read(
            lambda connection: Ground(
                *self._store.within.place_in(connection), self._store.roster_in(connection)
            )
        )


async def _run(steps: Steps[T], caller: Caller, ground: Callable[[], Coroutine[Any, Any, Ground]]) -> T:
    """Run ``steps``; errors of the driver go to them, since they may have something to undo."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            wish = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = error = None
        try:
            if isinstance(wish, Sql):
                answer = caller.execute(*wish)
                if isawaitable(answer):
                    answer = await answer
            elif wish is Wish.GROUND:
                answer = await ground()
            else:
                await asyncio.sleep(PAUSE_S)
        except BaseException as found:
            error = found
