"""Queries on the catalogue of event types."""

import json
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from tellwire.clock import to_datetime
from tellwire.errors import NotFoundError
from tellwire.model.event_type import EventType
from tellwire.model.page import Page
from tellwire.policy.schema import Schema, compile_schema

from .paging import decode_type_cursor, page
from .tables import event_types, revisions

CATALOGUE: Final = "event_types"
"""The row of ``revisions`` that has the revision at which the catalogue changed last."""


def find(connection: Connection, name: str) -> EventType | None:
    """One event type, if the catalogue has it."""
    row = connection.execute(select(event_types).where(event_types.c.name == name)).mappings().first()
    return None if row is None else _event_type(row)


def get(connection: Connection, name: str) -> EventType:
    """One event type. Raises NotFoundError."""
    found = find(connection, name)
    if found is None:
        raise NotFoundError("event type", name)
    return found


def put(connection: Connection, event_type: EventType, revision: int, *, now_ms: int) -> EventType:
    """Store an event type in place of the one of that name, which keeps the time that it was made at."""
    values: dict[str, Any] = {
        "description": event_type.description,
        "schema": None if event_type.schema is None else json.dumps(event_type.schema, ensure_ascii=False),
        "version": event_type.version,
        "examples": json.dumps(event_type.examples, ensure_ascii=False),
        "deprecated": int(event_type.deprecated),
        "validate": int(event_type.validate),
        "updated_ms": now_ms,
    }
    changed = connection.execute(
        update(event_types).where(event_types.c.name == event_type.name).values(**values)
    )
    if not changed.rowcount:
        connection.execute(insert(event_types).values(name=event_type.name, created_ms=now_ms, **values))
    _note_change(connection, revision)
    return get(connection, event_type.name)


def remove(connection: Connection, name: str, revision: int) -> None:
    """Take an event type out of the catalogue. Raises NotFoundError."""
    if not connection.execute(delete(event_types).where(event_types.c.name == name)).rowcount:
        raise NotFoundError("event type", name)
    _note_change(connection, revision)


def count(connection: Connection) -> int:
    """How many event types the catalogue has."""
    return connection.execute(select(func.count()).select_from(event_types)).scalar_one()


def list_page(connection: Connection, *, limit: int, cursor: str | None) -> Page[EventType]:
    """Event types by name."""
    query = select(event_types).order_by(event_types.c.name).limit(limit + 1)
    after = decode_type_cursor(cursor)
    if after is not None:
        query = query.where(event_types.c.name > after)
    rows = connection.execute(query).mappings().all()
    return page(rows, limit, _event_type, lambda row: row["name"].encode())


def live_schemas(connection: Connection, seen: int) -> dict[str, Schema] | None:
    """The schemas that publishing asks, if the catalogue has changed after the revision ``seen``; else None."""
    revision = connection.execute(select(revisions.c.value).where(revisions.c.name == CATALOGUE)).scalar_one()
    if revision <= seen:
        return None
    rows = connection.execute(
        select(event_types.c.name, event_types.c.schema).where(
            event_types.c.validate == 1, event_types.c.schema.is_not(None)
        )
    )
    return {name: compile_schema(json.loads(schema)) for name, schema in rows}


def _note_change(connection: Connection, revision: int) -> None:
    connection.execute(update(revisions).where(revisions.c.name == CATALOGUE).values(value=revision))


def _event_type(row: RowMapping) -> EventType:
    return EventType(
        row["name"],
        row["description"],
        None if row["schema"] is None else json.loads(row["schema"]),
        row["version"],
        tuple(json.loads(row["examples"])),
        bool(row["deprecated"]),
        bool(row["validate"]),
        to_datetime(row["created_ms"]),
        to_datetime(row["updated_ms"]),
    )
