"""Queries on deliveries and their attempts, and the changes that people make by hand."""

from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from tellwire.clock import to_datetime
from tellwire.errors import ConflictError, NotFoundError
from tellwire.ids import ATTEMPT, BATCH, DELIVERY, ENDPOINT, EVENT, decode, encode
from tellwire.model.attempt import Attempt
from tellwire.model.delivery import TRANSITIONS, Delivery, Move, State, WaitingFor, states_that_allow
from tellwire.model.page import Page
from tellwire.policy.circuit import Circuit

from . import rollups
from .events import has_no_data, type_matches
from .fanouts import count_left
from .order import sequence_now
from .paging import decode_cursor, page
from .roster import Roster
from .tables import (
    STATE_CODES,
    STATES,
    attempts,
    deliveries,
    endpoints,
    events,
    fanout_pages,
    holds,
    lanes,
    rearrangements,
    still_pending,
)
from .tallies import Tallies


class Filters(msgspec.Struct, frozen=True):
    """What a list is narrowed to; None leaves a filter out. Times bound ``created_at``: [since, until)."""

    tenant: str | None = None
    endpoint_id: str | None = None
    event_id: str | None = None
    type: str | None = None
    state: State | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def get(connection: Connection, id: str, *, now_ms: int) -> Delivery:
    """One delivery. Raises NotFoundError."""
    row = connection.execute(_select().where(deliveries.c.id == decode(DELIVERY, id))).mappings().first()
    if row is None:
        raise NotFoundError("delivery", id)
    return _delivery(row, now_ms)


def attempts_of(connection: Connection, id: str) -> list[Attempt]:
    """The attempts of a delivery, first to last."""
    rows = connection.execute(
        select(attempts).where(attempts.c.delivery_id == decode(DELIVERY, id)).order_by(attempts.c.number)
    ).mappings()
    return [_attempt(row) for row in rows]


def list_page(
    connection: Connection, filters: Filters, *, limit: int, cursor: str | None, now_ms: int
) -> Page[Delivery]:
    """Deliveries, newest first."""
    query = _filtered(filters).order_by(deliveries.c.id.desc()).limit(limit + 1)
    before = decode_cursor(cursor)
    if before is not None:
        query = query.where(deliveries.c.id < before)
    rows = connection.execute(query).mappings().all()
    return page(rows, limit, lambda row: _delivery(row, now_ms), lambda row: row["id"])


def retry(connection: Connection, id: str, roster: Roster, *, now_ms: int) -> Delivery:
    """Make a delivery due now, with a whole schedule of retries before it. Raises NotFoundError, ConflictError.

    It stands at its old place in the order that its endpoint has by ``roster``.
    """
    found = connection.execute(
        select(has_no_data(), endpoints.c.deleted_ms, events.c.expires_ms, endpoints.c.id)
        .select_from(deliveries)
        .join(events, events.c.id == deliveries.c.event_id)
        .join(endpoints, endpoints.c.id == deliveries.c.endpoint_id)
        .where(deliveries.c.id == decode(DELIVERY, id))
        .with_for_update(read=True, of=events)  # its data must not expire from here on
    ).first()
    if found is not None and found[1] is not None:
        raise ConflictError(f"delivery {id!r} cannot be retried: its endpoint was deleted")
    if found is not None and found[0]:
        raise ConflictError(f"delivery {id!r} cannot be retried: the data of its event has expired")
    if found is not None and found[2] is not None and found[2] <= now_ms:
        raise ConflictError(f"delivery {id!r} cannot be retried: its event has expired")
    endpoint = None if found is None else roster.endpoints.get(found[3])
    _move(
        connection, id, Move.RETRY_BY_HAND, now_ms,
        due_ms=now_ms, again_ms=now_ms, schedule_step=0, trigger="manual", finished_ms=None, batch_id=None,
        sequence=sequence_now(None if endpoint is None else endpoint.order),
    )  # fmt: skip
    return get(connection, id, now_ms=now_ms)


def cancel(connection: Connection, id: str, *, now_ms: int) -> Delivery:
    """End a delivery that is pending, or exhausted: then it blocks nothing any more. An attempt in the air changes
    nothing more. Raises NotFoundError, ConflictError."""
    _move(connection, id, Move.CANCEL, now_ms, due_ms=None, finished_ms=now_ms)
    cancelled = get(connection, id, now_ms=now_ms)
    tallies = Tallies()
    tallies.ended(
        cancelled.tenant, _raw(ENDPOINT, "endpoint", cancelled.endpoint_id), State.CANCELLED, now_ms
    )
    rollups.append(connection, tallies)
    return cancelled


def cancel_event(connection: Connection, id: str, *, now_ms: int) -> int:
    """End all that is pending of an event, and what is not fanned out yet; gives how many deliveries that were.

    Raises NotFoundError; ConflictError where nothing is pending.
    """
    raw = decode(EVENT, id)
    tenant = connection.execute(select(events.c.tenant).where(events.c.id == raw)).scalar_one_or_none()
    if tenant is None:
        raise NotFoundError("event", id)
    # The pages first: whoever is just fanning one out has put it into deliveries when this goes on.
    pages = delete(fanout_pages).where(fanout_pages.c.event_id == raw).returning(fanout_pages.c.targets)
    left: int = sum(connection.execute(pages).scalars().all())
    if left:
        fewer = update(events).where(events.c.id == raw).values(deliveries=events.c.deliveries - left)
        connection.execute(fewer)
    endpoint_ids = connection.execute(
        update(deliveries)
        .where(deliveries.c.event_id == raw, deliveries.c.state == STATE_CODES[State.PENDING])
        .values(
            state=STATE_CODES[TRANSITIONS[State.PENDING, Move.CANCEL]],
            due_ms=None,
            finished_ms=now_ms,
            lease_token=None,
            lease_until_ms=None,
        )
        .returning(deliveries.c.endpoint_id)
    )
    cancelled = endpoint_ids.scalars().all()
    if not left and not cancelled:
        raise ConflictError(f"event {id!r} has no pending delivery to cancel")
    tallies = Tallies()
    for endpoint_id in cancelled:
        tallies.ended(tenant, endpoint_id, State.CANCELLED, now_ms)
    rollups.append(connection, tallies)
    return left + len(cancelled)


def create_test(
    connection: Connection, *, delivery_id: bytes, event_id: bytes, endpoint_id: bytes, tenant: str, type: str,
    data: bytes, now_ms: int,
) -> Delivery:  # fmt: skip
    """Store an example event with one delivery, to this endpoint alone."""
    connection.execute(
        insert(events).values(
            id=event_id,
            tenant=tenant,
            type=type,
            data=data,
            occurred_ms=now_ms,
            created_ms=now_ms,
            deliveries=1,
        )
    )
    connection.execute(
        insert(deliveries).values(
            id=delivery_id, event_id=event_id, endpoint_id=endpoint_id, state=STATE_CODES[State.PENDING],
            attempt_count=0, schedule_step=0, trigger="test", due_ms=now_ms, created_ms=now_ms,
        )
    )  # fmt: skip
    return get(connection, encode(DELIVERY, delivery_id), now_ms=now_ms)


def count_due(connection: Connection, now_ms: int) -> int:
    """How many deliveries of enabled endpoints are due, in flight or not even fanned out yet.

    Those that wait for a retry are not counted.
    """
    due = count_left(connection)
    for pending in still_pending(connection):
        due += connection.execute(
            select(func.count())
            .select_from(deliveries.join(endpoints, endpoints.c.id == deliveries.c.endpoint_id))
            .where(
                text(pending),
                deliveries.c.due_ms <= now_ms,
                endpoints.c.state == "enabled",
                endpoints.c.deleted_ms.is_(None),
            )
        ).scalar_one()
    return due


def _move(connection: Connection, id: str, move: Move, now_ms: int, **values: Any) -> None:
    before = get(connection, id, now_ms=now_ms)
    if (before.state, move) not in TRANSITIONS:
        allowed = " or ".join(states_that_allow(move))
        raise ConflictError(f"delivery {id!r} is {before.state}; only one that is {allowed} can do that")
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == decode(DELIVERY, id))
        .values(
            state=STATE_CODES[TRANSITIONS[before.state, move]],
            lease_token=None,
            lease_until_ms=None,
            **values,
        )
    )


def _select() -> Select[Any]:
    return (
        select(
            deliveries,
            events.c.tenant,
            events.c.type,
            endpoints.c.state.label("endpoint_state"),
            lanes.c.waiting_for,
            lanes.c.until_ms,
            lanes.c.circuit,
            holds.c.until_ms.label("held_until_ms"),
            _waits_in_line().label("waits_in_line"),
        )
        .join(events, events.c.id == deliveries.c.event_id)
        .outerjoin(endpoints, endpoints.c.id == deliveries.c.endpoint_id)
        .outerjoin(lanes, lanes.c.endpoint_id == deliveries.c.endpoint_id)
        .outerjoin(holds, holds.c.endpoint_id == deliveries.c.endpoint_id)
    )


def _waits_in_line() -> ColumnElement[bool]:
    """Whether a delivery before it in its sequence is pending, or is exhausted and blocks it: two index seeks; or
    what is before it is not known yet, after a change of order."""
    before = deliveries.alias("earlier")
    return or_(
        *(
            exists().where(
                text(f"earlier.state = {state} AND earlier.sequence IS NOT NULL"),
                before.c.endpoint_id == deliveries.c.endpoint_id,
                before.c.sequence == deliveries.c.sequence,
                before.c.id < deliveries.c.id,
            )
            for state in (STATE_CODES[State.PENDING], STATE_CODES[State.EXHAUSTED])
        ),
        exists().where(rearrangements.c.endpoint_id == deliveries.c.endpoint_id, rearrangements.c.holds == 1),
    )


def _filtered(filters: Filters) -> Select[Any]:
    query = _select().where(type_matches(filters.type))
    if filters.tenant is not None:
        query = query.where(events.c.tenant == filters.tenant)
    if filters.endpoint_id is not None:
        query = query.where(deliveries.c.endpoint_id == _raw(ENDPOINT, "endpoint", filters.endpoint_id))
    if filters.event_id is not None:
        query = query.where(deliveries.c.event_id == _raw(EVENT, "event", filters.event_id))
    if filters.state is not None:
        query = query.where(deliveries.c.state == STATE_CODES[filters.state])
    if filters.since_ms is not None:
        query = query.where(deliveries.c.created_ms >= filters.since_ms)
    if filters.until_ms is not None:
        query = query.where(deliveries.c.created_ms < filters.until_ms)
    return query


def _raw(prefix: str, kind: str, id: str) -> bytes:
    raw = decode(prefix, id)
    if raw is None:
        raise NotFoundError(kind, id)
    return raw


def _delivery(row: RowMapping, now_ms: int) -> Delivery:
    waiting_for, waiting_until_ms = _waiting(row, now_ms)
    return Delivery(
        id=encode(DELIVERY, row["id"]),
        event_id=encode(EVENT, row["event_id"]),
        endpoint_id=encode(ENDPOINT, row["endpoint_id"]),
        tenant=row["tenant"],
        type=row["type"],
        state=STATES[row["state"]],
        attempt_count=row["attempt_count"],
        due_at=None if row["due_ms"] is None else to_datetime(row["due_ms"]),
        last_status_code=row["last_status_code"],
        last_error=row["last_error"],
        created_at=to_datetime(row["created_ms"]),
        finished_at=None if row["finished_ms"] is None else to_datetime(row["finished_ms"]),
        waiting_for=waiting_for,
        waiting_until=None if waiting_until_ms is None else to_datetime(waiting_until_ms),
        batch_id=None if row["batch_id"] is None else encode(BATCH, row["batch_id"]),
    )


def _waiting(row: RowMapping, now_ms: int) -> tuple[WaitingFor | None, int | None]:
    """The state of its endpoint; its turn; or, if it is due, what its lane waits for: as somebody says who may know, or
    because its receiver has asked for it. With when that ends, where it is known."""
    if row["state"] != STATE_CODES[State.PENDING]:
        return None, None
    if row["endpoint_state"] in ("paused", "disabled", "unverified"):
        return WaitingFor(row["endpoint_state"]), None
    if row["waits_in_line"]:
        return WaitingFor.ORDER, None
    if row["due_ms"] > now_ms:
        return None, None
    told = None if row["until_ms"] is None or row["until_ms"] <= now_ms else row["waiting_for"]
    if told == WaitingFor.CIRCUIT:
        circuit = None if row["circuit"] is None else msgspec.json.decode(row["circuit"], type=Circuit)
        return WaitingFor.CIRCUIT, None if circuit is None or circuit.probe_ms <= now_ms else circuit.probe_ms
    if row["held_until_ms"] is not None and row["held_until_ms"] > now_ms:
        return WaitingFor.RATE, row["held_until_ms"]
    return None if told is None else WaitingFor(told), None


def _attempt(row: RowMapping) -> Attempt:
    succeeded = row["error"] is None and row["status_code"] is not None and 200 <= row["status_code"] < 300
    return Attempt(
        id=encode(ATTEMPT, row["id"]),
        number=row["number"],
        started_at=to_datetime(row["started_ms"]),
        duration_ms=row["duration_ms"],
        outcome="succeeded" if succeeded else "failed",
        status_code=row["status_code"],
        error=row["error"],
        detail=row["detail"],
        response_headers=msgspec.json.decode(row["response_headers"], type=list[tuple[str, str]]),
        response_body=row["response_body"],
        trigger=row["trigger"],
    )
