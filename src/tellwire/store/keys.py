"""Queries on API keys. The key itself is never stored, only its SHA-256."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update

from tellwire.clock import to_datetime
from tellwire.errors import NotFoundError
from tellwire.ids import KEY, decode, encode
from tellwire.model.key import ApiKey, Scope
from tellwire.model.page import Page

from .paging import decode_cursor, page
from .roster import raise_revision
from .tables import keys, tenants


class NewKey(msgspec.Struct, frozen=True):
    """A key to store; ``prefix`` is how its text begins."""

    id: bytes
    name: str
    prefix: str
    hash: bytes
    scopes: tuple[Scope, ...]
    tenant: str | None = None
    expires_ms: int | None = None


def create(connection: Connection, new: NewKey, *, now_ms: int) -> ApiKey:
    """Store a new key. Raises NotFoundError where its tenant is not there, or being deleted."""
    revision = raise_revision(connection)  # first of all: it lets one change after the other
    if new.tenant is not None:
        there = select(tenants.c.id).where(tenants.c.id == new.tenant, tenants.c.deleted_ms.is_(None))
        if connection.execute(there).first() is None:
            raise NotFoundError("tenant", new.tenant)
    values = msgspec.structs.asdict(new) | {"scopes": " ".join(new.scopes)}
    connection.execute(insert(keys).values(created_ms=now_ms, revision=revision, **values))
    return get(connection, encode(KEY, new.id))


def count_good(connection: Connection, tenant: str, *, now_ms: int) -> int:
    """How many keys that are good now are bound to a tenant."""
    return connection.execute(
        select(func.count()).where(
            keys.c.tenant == tenant,
            keys.c.revoked_ms.is_(None),
            or_(keys.c.expires_ms.is_(None), keys.c.expires_ms > now_ms),
        )
    ).scalar_one()


def get(connection: Connection, id: str) -> ApiKey:
    """One key. Raises NotFoundError."""
    row = connection.execute(select(keys).where(keys.c.id == decode(KEY, id))).mappings().first()
    if row is None:
        raise NotFoundError("key", id)
    return _key(row)


def list_page(
    connection: Connection, *, tenant: str | None = None, limit: int, cursor: str | None
) -> Page[ApiKey]:
    """Keys, newest first, the revoked ones included."""
    query = select(keys).order_by(keys.c.id.desc()).limit(limit + 1)
    if tenant is not None:
        query = query.where(keys.c.tenant == tenant)
    before = decode_cursor(cursor)
    if before is not None:
        query = query.where(keys.c.id < before)
    return page(connection.execute(query).mappings().all(), limit, _key, lambda row: row["id"])


def revoke(connection: Connection, id: str, *, now_ms: int) -> ApiKey:
    """Make a key useless from now on. Revoking twice keeps the first time. Raises NotFoundError."""
    get(connection, id)
    connection.execute(
        update(keys)
        .where(keys.c.id == decode(KEY, id), keys.c.revoked_ms.is_(None))
        .values(revoked_ms=now_ms, revision=raise_revision(connection))
    )
    return get(connection, id)


def expire(connection: Connection, id: str, *, at_ms: int) -> None:
    """Let a key end at ``at_ms``, if it does not end earlier."""
    connection.execute(
        update(keys)
        .where(
            keys.c.id == decode(KEY, id),
            or_(keys.c.expires_ms.is_(None), keys.c.expires_ms > at_ms),
        )
        .values(expires_ms=at_ms, revision=raise_revision(connection))
    )


def note_uses(connection: Connection, uses: Mapping[str, int]) -> None:
    """Write when keys (by id) were used last; what another process has seen later stays."""
    for id, at_ms in uses.items():
        connection.execute(
            update(keys)
            .where(
                keys.c.id == decode(KEY, id),
                or_(keys.c.last_used_ms.is_(None), keys.c.last_used_ms < at_ms),
            )
            .values(last_used_ms=at_ms)
        )


def _key(row: RowMapping) -> ApiKey:
    def at(name: str) -> datetime | None:
        return None if row[name] is None else to_datetime(row[name])

    return ApiKey(
        encode(KEY, row["id"]),
        row["name"],
        row["prefix"],
        tuple(map(Scope, row["scopes"].split())),
        row["tenant"],
        to_datetime(row["created_ms"]),
        at("expires_ms"),
        at("revoked_ms"),
        at("last_used_ms"),
    )
