"""Queries on the audit log: written in the transaction of the change, so there is no change without its entry."""

from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, delete, insert, select

from tellwire.clock import to_datetime
from tellwire.ids import AUDIT, encode
from tellwire.model.audit import AuditEntry
from tellwire.model.page import Page

from .paging import decode_cursor, page
from .tables import audit


class NewEntry(msgspec.Struct, frozen=True):
    """An entry to store; ``before`` and ``after`` are masked already."""

    id: bytes
    at_ms: int
    action: str
    actor: str
    tenant: str | None
    subject: str
    request_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditFilters(msgspec.Struct, frozen=True):
    """What a list is narrowed to; None leaves a filter out. Times bound ``at``: [since, until)."""

    tenant: str | None = None
    actor: str | None = None
    subject: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def add(connection: Connection, entry: NewEntry) -> None:
    """Store an entry."""
    values = msgspec.structs.asdict(entry)
    for name in ("before", "after"):
        if values[name] is not None:
            values[name] = msgspec.json.encode(values[name]).decode()
    connection.execute(insert(audit).values(**values))


def list_page(
    connection: Connection, filters: AuditFilters, *, limit: int, cursor: str | None
) -> Page[AuditEntry]:
    """Entries, newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
    for name in ("tenant", "actor", "subject"):
        wanted = getattr(filters, name)
        if wanted is not None:
            query = query.where(audit.c[name] == wanted)
    if filters.since_ms is not None:
        query = query.where(audit.c.at_ms >= filters.since_ms)
    if filters.until_ms is not None:
        query = query.where(audit.c.at_ms < filters.until_ms)
    before = decode_cursor(cursor)
    if before is not None:
        query = query.where(audit.c.id < before)
    return page(connection.execute(query).mappings().all(), limit, _entry, lambda row: row["id"])


def prune_audit(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` entries older than ``before_ms``; gives how many were removed."""
    old = (
        select(audit.c.id)
        .where(audit.c.id < before_ms.to_bytes(6, "big"), audit.c.at_ms < before_ms)
        .order_by(audit.c.id)
        .limit(limit)
    )
    return connection.execute(delete(audit).where(audit.c.id.in_(old))).rowcount


def _entry(row: RowMapping) -> AuditEntry:
    def fields(name: str) -> dict[str, Any] | None:
        return None if row[name] is None else msgspec.json.decode(row[name], type=dict[str, Any])

    return AuditEntry(
        encode(AUDIT, row["id"]),
        to_datetime(row["at_ms"]),
        row["action"],
        row["actor"],
        row["tenant"],
        row["subject"],
        row["request_id"],
        fields("before"),
        fields("after"),
    )
