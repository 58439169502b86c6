"""Queries on events."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select, true, tuple_

from tellwire.clock import to_datetime
from tellwire.errors import NotFoundError
from tellwire.ids import EVENT, decode, encode
from tellwire.model.event import StoredEvent
from tellwire.model.page import Page

from .fanouts import left_of_event
from .paging import decode_cursor, first_id_of, page
from .postgres_at_once import gatherer_of
from .tables import NO_DATA, events, idempotency_keys


def get(connection: Connection, id: str) -> StoredEvent:
    """One event with its data. Raises NotFoundError."""
    query = select(events, *_more()).where(events.c.id == decode(EVENT, id))
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError("event", id)
    return _event(row)


def list_page(
    connection: Connection,
    *,
    tenant: str | None = None,
    type: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int,
    cursor: str | None,
) -> Page[StoredEvent]:
    """Events without their data, newest first; ``type`` is a pattern, the times bound ``created_at`` [since, until)."""
    columns = [column for column in events.c if column.name != "data"]
    query = select(*columns, *_more()).where(type_matches(type)).order_by(events.c.id.desc()).limit(limit + 1)
    if tenant is not None:
        query = query.where(events.c.tenant == tenant)
    if since_ms is not None:
        query = query.where(events.c.id >= first_id_of(since_ms), events.c.created_ms >= since_ms)
    if until_ms is not None:
        query = query.where(events.c.created_ms < until_ms)
    before = decode_cursor(cursor)
    if before is not None:
        query = query.where(events.c.id < before)
    return page(connection.execute(query).mappings().all(), limit, _event, lambda row: row["id"])


def _more() -> list[ColumnElement[Any]]:
    return [left_of_event().label("left"), has_no_data().label("data_expired")]


def known_by_keys(connection: Connection, places: Sequence[tuple[str, str]]) -> Sequence[Any]:
    """The events that hold these idempotency keys: (tenant, key, fingerprint, id, type, times, deliveries).

    Where all is to be one statement, keys are believed to be new: their unique index says so if they are not.
    """
    if gatherer_of(connection) is not None:
        return []
    query = select(
        events.c.tenant,
        events.c.idempotency_key,
        events.c.fingerprint,
        events.c.id,
        events.c.type,
        events.c.occurred_ms,
        events.c.created_ms,
        events.c.deliveries,
    )
    tenant, key = events.c.tenant, events.c.idempotency_key
    if connection.dialect.name == "postgresql":
        tenant, key = idempotency_keys.c.tenant, idempotency_keys.c.key
        query = query.join(idempotency_keys, idempotency_keys.c.event_id == events.c.id)
    return connection.execute(query.where(tuple_(tenant, key).in_(places))).all()


def has_no_data() -> ColumnElement[bool]:
    """Whether the data of an event has expired. By its length, for which no database reads the data itself."""
    return func.length(events.c.data) == len(NO_DATA)


def type_matches(pattern: str | None) -> ColumnElement[bool]:
    """An event type against a pattern, in SQL (see ``policy.matching`` for the rule)."""
    if pattern is None or pattern == "*":
        return true()
    if "*" not in pattern:
        return events.c.type == pattern
    # A regular expression, because LIKE and GLOB know no segments.
    *inner, last = pattern.split(".")
    segments = ["[^.]+" if segment == "*" else segment for segment in inner]
    expression = r"\.".join([*segments, ".+" if last == "*" else last])
    return events.c.type.regexp_match(f"^{expression}$")


def _event(row: RowMapping) -> StoredEvent:
    return StoredEvent(
        id=encode(EVENT, row["id"]),
        type=row["type"],
        tenant=row["tenant"],
        occurred_at=to_datetime(row["occurred_ms"]),
        created_at=to_datetime(row["created_ms"]),
        idempotency_key=row["idempotency_key"],
        deliveries=row["deliveries"],
        fanned_out=row["deliveries"] - row["left"],
        data=row.get("data") or None,
        data_expired=bool(row["data_expired"]),
        deliver_at=None if row["deliver_ms"] is None else to_datetime(row["deliver_ms"]),
        expires_at=None if row["expires_ms"] is None else to_datetime(row["expires_ms"]),
        ordering_key=row["ordering_key"],
    )
