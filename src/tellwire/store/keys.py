"""Queries on API keys. The key itself is never stored, only its SHA-256."""

from sqlalchemy import Connection, RowMapping, insert, select, update

from tellwire.clock import to_datetime
from tellwire.errors import NotFoundError
from tellwire.ids import KEY, decode, encode
from tellwire.model.key import ApiKey, Scope
from tellwire.model.page import Page

from .paging import decode_cursor, page
from .roster import raise_revision
from .tables import keys


def create(
    connection: Connection,
    id: bytes,
    *,
    name: str,
    prefix: str,
    hash: bytes,
    scopes: tuple[Scope, ...],
    expires_ms: int | None,
    now_ms: int,
) -> ApiKey:
    """Store a new key."""
    connection.execute(
        insert(keys).values(
            id=id, name=name, prefix=prefix, hash=hash, scopes=" ".join(scopes), created_ms=now_ms,
            expires_ms=expires_ms, revision=raise_revision(connection),
        )
    )  # fmt: skip
    return get(connection, encode(KEY, id))


def get(connection: Connection, id: str) -> ApiKey:
    """One key. Raises NotFoundError."""
    row = connection.execute(select(keys).where(keys.c.id == decode(KEY, id))).mappings().first()
    if row is None:
        raise NotFoundError("key", id)
    return _key(row)


def list_page(connection: Connection, *, limit: int, cursor: str | None) -> Page[ApiKey]:
    """Keys, newest first, the revoked ones included."""
    query = select(keys).order_by(keys.c.id.desc()).limit(limit + 1)
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


def _key(row: RowMapping) -> ApiKey:
    return ApiKey(
        encode(KEY, row["id"]),
        row["name"],
        row["prefix"],
        tuple(map(Scope, row["scopes"].split())),
        to_datetime(row["created_ms"]),
        None if row["expires_ms"] is None else to_datetime(row["expires_ms"]),
        None if row["revoked_ms"] is None else to_datetime(row["revoked_ms"]),
    )
