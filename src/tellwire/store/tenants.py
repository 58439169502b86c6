"""Queries on tenants."""

from sqlalchemy import Connection, RowMapping, insert, select

from tellwire.clock import to_datetime
from tellwire.errors import ConflictError, NotFoundError
from tellwire.model.page import Page
from tellwire.model.tenant import Tenant

from .paging import decode_text_cursor, page
from .roster import raise_revision
from .tables import tenants


def create(connection: Connection, id: str, name: str, *, now_ms: int) -> Tenant:
    """Store a new tenant. Raises ConflictError where the id is taken."""
    if connection.execute(select(tenants.c.id).where(tenants.c.id == id)).first():
        raise ConflictError(f"there is a tenant {id!r} already")
    revision = raise_revision(connection)
    connection.execute(insert(tenants).values(id=id, name=name, created_ms=now_ms, revision=revision))
    return get(connection, id)


def get(connection: Connection, id: str) -> Tenant:
    """One tenant. Raises NotFoundError."""
    row = connection.execute(select(tenants).where(tenants.c.id == id)).mappings().first()
    if row is None:
        raise NotFoundError("tenant", id)
    return _tenant(row)


def list_page(connection: Connection, *, limit: int, cursor: str | None) -> Page[Tenant]:
    """Tenants by id."""
    query = select(tenants).order_by(tenants.c.id).limit(limit + 1)
    after = decode_text_cursor(cursor)
    if after is not None:
        query = query.where(tenants.c.id > after)
    rows = connection.execute(query).mappings().all()
    return page(rows, limit, _tenant, lambda row: row["id"].encode())


def _tenant(row: RowMapping) -> Tenant:
    return Tenant(row["id"], row["name"], to_datetime(row["created_ms"]))
