"""Queries on tenants. Removing one with everything of its own is in ``tenant_removal``."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from tellwire.clock import to_datetime
from tellwire.errors import ConflictError, NotFoundError
from tellwire.model.page import Page
from tellwire.model.tenant import (
    NO_DEFAULTS,
    OPERATIONAL_TENANT,
    Tenant,
    TenantDefaults,
    TenantLimits,
    TenantState,
)
from tellwire.model.verification import Verification

from .paging import decode_text_cursor, page
from .roster import raise_revision
from .tables import tenants

_PLAIN: Final = ("name", "verification")


def create(
    connection: Connection,
    id: str,
    name: str,
    *,
    metadata: Mapping[str, str] | None = None,
    limits: TenantLimits = TenantLimits(),  # noqa: B008 - frozen
    verification: Verification | None = None,
    defaults: TenantDefaults = NO_DEFAULTS,
    now_ms: int,
) -> Tenant:
    """Store a new tenant. Raises ConflictError where the id is taken, be it by one that is being removed."""
    revision = raise_revision(connection)  # first of all: it lets one change after the other
    connection.execute(delete(tenants).where(tenants.c.id == id, tenants.c.removed_ms.is_not(None)))
    row = connection.execute(select(tenants.c.deleted_ms).where(tenants.c.id == id)).first()
    if row is not None:
        more = "" if row.deleted_ms is None else ", which is being deleted: wait until it is gone"
        raise ConflictError(f"there is a tenant {id!r} already{more}")
    values = _columns(
        {
            "name": name,
            "metadata": metadata or {},
            "limits": limits,
            "verification": verification,
            "defaults": defaults,
        }
    )
    connection.execute(insert(tenants).values(id=id, created_ms=now_ms, revision=revision, **values))
    return get(connection, id)


def change(connection: Connection, id: str, fields: Mapping[str, Any]) -> Tenant:
    """Change fields of a tenant (by their names in ``model.Tenant``). Raises NotFoundError."""
    connection.execute(
        update(tenants)
        .where(tenants.c.id == id)
        .values(revision=raise_revision(connection), **_columns(fields))
    )
    return get(connection, id)


def mark_deleted(connection: Connection, id: str, *, now_ms: int) -> Tenant:
    """Let a tenant publish no more, and have it removed. Doing it twice changes nothing. Raises NotFoundError."""
    get(connection, id)
    connection.execute(
        update(tenants)
        .where(tenants.c.id == id, tenants.c.deleted_ms.is_(None))
        .values(deleted_ms=now_ms, revision=raise_revision(connection))
    )
    return get(connection, id)


def get(connection: Connection, id: str) -> Tenant:
    """One tenant. Raises NotFoundError."""
    row = (
        connection.execute(select(tenants).where(tenants.c.id == id, tenants.c.removed_ms.is_(None)))
        .mappings()
        .first()
    )
    if row is None:
        raise NotFoundError("tenant", id)
    return _tenant(row)


def verification_of(connection: Connection, id: str) -> Verification | None:
    """How endpoints of a tenant are verified by its own wish; None where it has none, or is not there."""
    own = connection.execute(select(tenants.c.verification).where(tenants.c.id == id)).scalar_one_or_none()
    return None if own is None else Verification(own)


def defaults_of(connection: Connection, id: str) -> TenantDefaults:
    """What endpoints of a tenant have where they do not say it themselves; nothing if it is not there."""
    text = connection.execute(select(tenants.c.defaults).where(tenants.c.id == id)).scalar_one_or_none()
    return NO_DEFAULTS if text is None else msgspec.json.decode(text, type=TenantDefaults)


def list_page(connection: Connection, *, limit: int, cursor: str | None) -> Page[Tenant]:
    """Tenants by id, without Tellwire's own."""
    listed = (tenants.c.removed_ms.is_(None), tenants.c.id != OPERATIONAL_TENANT)
    query = select(tenants).where(*listed).order_by(tenants.c.id).limit(limit + 1)
    after = decode_text_cursor(cursor)
    if after is not None:
        query = query.where(tenants.c.id > after)
    rows = connection.execute(query).mappings().all()
    return page(rows, limit, _tenant, lambda row: row["id"].encode())


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if name in _PLAIN else msgspec.json.encode(value).decode()
        for name, value in fields.items()
    }


def _tenant(row: RowMapping) -> Tenant:
    return Tenant(
        row["id"],
        row["name"],
        msgspec.json.decode(row["metadata"], type=dict[str, str]),
        msgspec.json.decode(row["limits"], type=TenantLimits),
        TenantState.ACTIVE if row["deleted_ms"] is None else TenantState.DELETING,
        to_datetime(row["created_ms"]),
        None if row["verification"] is None else Verification(row["verification"]),
        msgspec.json.decode(row["defaults"], type=TenantDefaults),
    )
