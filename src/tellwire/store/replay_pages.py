"""Working off replays: what the agent of the engine needs of the store (``deliver.replayer``).

A page of a replay is one transaction: it holds the replay's row, looks at some events, makes deliveries due and moves
the row on. So a crash loses nothing and repeats nobody, and only one process works on a replay at a time. The
endpoint's row is held too, so that several replays of one endpoint go one after the other, page by page.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, case, func, or_, select, text, update

from tellwire.errors import NotFoundError
from tellwire.ids import EVENT, decode
from tellwire.model.delivery import TRANSITIONS, Move, State
from tellwire.model.replay import Again, Criteria, ReplayState

from .events import has_no_data
from .order import sequence_now
from .paging import first_id_of
from .tables import STATE_CODES, STATES, attempts, deliveries, endpoints, events, fanout_pages, replays

_EXAMPLE: Final = "test"

# Literally, not as parameters: the planner must see that these are the conditions of the partial indexes.
RUNNING: Final = text("replays.state = 'running'")
_RUNNING: Final = select(replays.c.id, replays.c.dry_run).where(RUNNING).order_by(replays.c.id)
_UNTRIED: Final = text("deliveries.state = 0 AND deliveries.trigger = 'replay'")

# One state for all: from whatever a replay moves a delivery, it becomes the same.
(_PENDING_AGAIN,) = {after for (_, move), after in TRANSITIONS.items() if move is Move.REPLAY}


class TakenReplay(NamedTuple):
    """A running replay that this transaction holds: events after ``up_to`` and before ``end`` are still to come."""

    id: bytes
    endpoint_id: bytes
    tenant: str
    criteria: Criteria
    up_to: bytes
    end: bytes

    @property
    def asks_missing(self) -> bool:
        """Whether events without a delivery to the endpoint are wanted."""
        return Again.MISSING in self.criteria.states


class SeenEvent(NamedTuple):
    """An event, whosever it is, with its delivery to the endpoint if there is one."""

    event_id: bytes
    tenant: str
    type: str
    delivery_id: bytes | None
    state: State | None
    attempt_count: int


class Counts(NamedTuple):
    """What a page has counted; the names are the columns'."""

    looked_at: int = 0
    retried: int = 0
    created: int = 0
    expired: int = 0


class Content(NamedTuple):
    """What sending needs of an event."""

    type: str
    data: bytes
    occurred_ms: int
    expires_ms: int | None
    traceparent: str | None


def running(connection: Connection) -> list[tuple[bytes, bool]]:
    """The replays that run, oldest first, and whether each is a dry run."""
    return [(id, bool(dry_run)) for id, dry_run in connection.execute(_RUNNING)]


def take(connection: Connection, id: bytes) -> TakenReplay | None:
    """Hold a replay and its endpoint until the end of this transaction; None if it has ended or another holds it."""
    row = connection.execute(
        select(replays).where(replays.c.id == id, RUNNING).with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    connection.execute(
        select(endpoints.c.id).where(endpoints.c.id == row.endpoint_id).with_for_update(key_share=True)
    )
    criteria = msgspec.json.decode(row.criteria, type=Criteria)
    return TakenReplay(row.id, row.endpoint_id, row.tenant, criteria, row.up_to, _after_last(criteria))


def count_untried(connection: Connection, endpoint_id: bytes) -> int:
    """How many deliveries that replays have made due for an endpoint have not been tried since."""
    query = select(func.count()).select_from(deliveries).where(deliveries.c.endpoint_id == endpoint_id)
    return int(connection.execute(query.where(_UNTRIED)).scalar_one())


def look(connection: Connection, replay: TakenReplay, limit: int) -> tuple[list[SeenEvent], bool]:
    """Up to ``limit`` events that come next, of all tenants, and whether there is nothing after them.

    By id rather than by an index on the tenant, which every event that is published would have to pay for. Where events
    without a delivery are asked for, it ends before the first that is not wholly fanned out: its delivery may be on
    its way.
    """
    end = replay.end
    if (
        replay.asks_missing
    ):  # first of all, so that the deliveries of what is fanned out meanwhile are seen below
        unfinished = connection.execute(
            select(fanout_pages.c.event_id)
            .where(fanout_pages.c.event_id > replay.up_to, fanout_pages.c.event_id < end)
            .order_by(fanout_pages.c.event_id)  # PostgreSQL has min() for bytes since 18 only
            .limit(1)
        ).scalar()
        end = unfinished or end
    span = (
        select(events.c.id, events.c.tenant, events.c.type)
        .where(events.c.id > replay.up_to, events.c.id < end)
        .order_by(events.c.id)
        .limit(limit)
        .subquery()
    )
    to_endpoint = and_(
        deliveries.c.event_id == span.c.id,
        deliveries.c.endpoint_id == replay.endpoint_id,
        span.c.tenant == replay.tenant,
    )
    rows = connection.execute(
        select(span, deliveries.c.id, deliveries.c.state, deliveries.c.attempt_count)
        .select_from(span.outerjoin(deliveries, to_endpoint))
        .order_by(span.c.id)
    ).all()
    return [_seen(*row) for row in rows], len(rows) < limit and end == replay.end


def examples_among(connection: Connection, event_ids: Sequence[bytes]) -> set[bytes]:
    """Those events that are examples, sent to one endpoint to try it out: no other endpoint misses them."""
    if not event_ids:
        return set()
    first = and_(attempts.c.delivery_id == deliveries.c.id, attempts.c.number == 1)
    query = (
        select(deliveries.c.event_id)
        .select_from(events.join(deliveries, deliveries.c.event_id == events.c.id).outerjoin(attempts, first))
        .where(
            events.c.id.in_(event_ids),
            events.c.deliveries == 1,
            or_(deliveries.c.trigger == _EXAMPLE, attempts.c.trigger == _EXAMPLE),
        )
    )
    return set(connection.execute(query).scalars())


def keep(connection: Connection, event_ids: Sequence[bytes], now_ms: int) -> dict[bytes, int]:
    """Those of these events that are still worth sending, and from when on each may be.

    They have their data, which does not expire before the end of this transaction, and have not expired themselves.

    In order, so that several transactions that keep the same events wait for one another instead of locking up.
    """
    if not event_ids:
        return {}
    query = select(events.c.id, has_no_data(), events.c.deliver_ms, events.c.expires_ms)
    query = query.where(events.c.id.in_(event_ids)).order_by(events.c.id)
    found = connection.execute(query.with_for_update(key_share=True))
    return {
        id: deliver_ms or 0
        for id, empty, deliver_ms, expires_ms in found
        if not empty and (expires_ms is None or expires_ms > now_ms)
    }


def contents(connection: Connection, event_ids: Sequence[bytes]) -> dict[bytes, Content]:
    """What sending needs of these events."""
    query = select(
        events.c.id,
        events.c.type,
        events.c.data,
        events.c.occurred_ms,
        events.c.expires_ms,
        events.c.traceparent,
    )
    found = connection.execute(query.where(events.c.id.in_(event_ids)))
    return {id: Content(*content) for id, *content in found}


def ordering_keys(connection: Connection, event_ids: Sequence[bytes]) -> dict[bytes, str | None]:
    """The ordering keys of these events."""
    query = select(events.c.id, events.c.ordering_key).where(events.c.id.in_(event_ids))
    return {row.id: row.ordering_key for row in connection.execute(query)}


def make_pending(
    connection: Connection,
    ids: Sequence[bytes],
    before: Collection[Again],
    *,
    now_ms: int,
    lease: tuple[int, int] | None,
    order: str | None,
) -> set[bytes]:
    """Make deliveries that are still as ``before`` says pending again, a whole schedule before them.

    Each stands at its old place in the sequence that it has by ``order``.

    They are due now, or when their event is to be delivered at the earliest.

    With a ``lease`` (token, until) they are claimed at the same time. Gives the ids of those that were changed.
    """
    if not ids:
        return set()
    states = [one.state for one in before if one.state is not None]
    token, until_ms = lease or (None, None)
    deliver_ms = select(events.c.deliver_ms).where(events.c.id == deliveries.c.event_id).scalar_subquery()
    changed = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(ids), deliveries.c.state.in_([STATE_CODES[state] for state in states]))
        .values(
            state=STATE_CODES[_PENDING_AGAIN],
            due_ms=case((deliver_ms > now_ms, deliver_ms), else_=now_ms),
            again_ms=now_ms,
            schedule_step=0,
            trigger="replay",
            finished_ms=None,
            batch_id=None,
            lease_token=token,
            lease_until_ms=until_ms,
            sequence=sequence_now(order),
        )
        .returning(deliveries.c.id)
    )
    return set(changed.scalars())


def count_deliveries(connection: Connection, event_ids: Sequence[bytes]) -> None:
    """Each of these events has one delivery more."""
    if event_ids:
        more = update(events).where(events.c.id.in_(event_ids)).values(deliveries=events.c.deliveries + 1)
        connection.execute(more)


def move_on(
    connection: Connection,
    id: bytes,
    *,
    up_to: bytes,
    counts: Counts,
    now_ms: int,
    state: ReplayState = ReplayState.RUNNING,
    reason: str | None = None,
) -> None:
    """Note how far a replay has come, and what it has come to."""
    connection.execute(
        update(replays)
        .where(replays.c.id == id)
        .values(
            up_to=up_to,
            state=state,
            reason=reason,
            updated_ms=now_ms,
            finished_ms=None if state is ReplayState.RUNNING else now_ms,
            **{name: replays.c[name] + number for name, number in counts._asdict().items()},
        )
    )


def before_first(criteria: Criteria) -> bytes:
    """The id after which the events of a replay come."""
    if criteria.event is None:
        return first_id_of(criteria.since_ms)
    return (int.from_bytes(_raw_event(criteria.event), "big") - 1).to_bytes(16, "big")


def _after_last(criteria: Criteria) -> bytes:
    if criteria.event is None:
        return first_id_of(criteria.until_ms)
    return (int.from_bytes(_raw_event(criteria.event), "big") + 1).to_bytes(16, "big")


def _raw_event(id: str) -> bytes:
    raw = decode(EVENT, id)
    if raw is None:
        raise NotFoundError("event", id)
    return raw


def _seen(
    event_id: bytes,
    tenant: str,
    type: str,
    delivery_id: bytes | None,
    state: int | None,
    attempt_count: int | None,
) -> SeenEvent:
    return SeenEvent(
        event_id, tenant, type, delivery_id, None if state is None else STATES[state], attempt_count or 0
    )
