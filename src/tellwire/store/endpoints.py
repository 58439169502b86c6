"""Queries on endpoints and their secrets. A deleted endpoint stays as a row, because its deliveries name it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, RowMapping, func, insert, select, text, update

from tellwire.clock import to_datetime
from tellwire.errors import NotFoundError
from tellwire.ids import ENDPOINT, decode, encode
from tellwire.model.delivery import State
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.page import Page
from tellwire.model.subscription import Envelope, Subscription, with_envelope
from tellwire.model.tenant import TenantLimits
from tellwire.signing.vault import Vault

from .endpoint_settings import opened_settings, sealed_settings
from .failing import forget
from .paging import decode_cursor, page
from .rollups import append
from .roster import raise_revision
from .tables import (
    STATE_CODES,
    deliveries,
    endpoints,
    holds,
    lanes,
    rearrangements,
    secrets,
    still_pending,
    tenants,
)
from .tallies import Tallies


class Former(NamedTuple):
    """What an endpoint was before it was disabled."""

    tenant: str
    state: str
    state_reason: str | None


class Room(NamedTuple):
    """How many endpoints a tenant has now, and its own limits."""

    taken: int
    limits: TenantLimits


def create(connection: Connection, vault: Vault, endpoint: Endpoint) -> Room | None:
    """Store a new endpoint; its first secret follows by ``add_secret``.

    Gives the room that its tenant has now, or None where there is no such tenant: then nothing is stored.
    """
    id = raw_id(endpoint.id)
    created_ms = int(endpoint.created_at.timestamp() * 1000)
    revision = raise_revision(connection)  # first of all: it lets one change after the other
    tenant = connection.execute(
        update(tenants)
        .where(tenants.c.id == endpoint.tenant, tenants.c.deleted_ms.is_(None))
        .values(endpoints=tenants.c.endpoints + 1)
        .returning(tenants.c.endpoints, tenants.c.limits)
    ).first()
    if tenant is None:
        return None
    connection.execute(
        insert(endpoints).values(
            id=id,
            tenant=endpoint.tenant,
            created_ms=created_ms,
            updated_ms=created_ms,
            revision=revision,
            **_columns(vault, id, msgspec.structs.asdict(endpoint)),
        )
    )
    return Room(tenant.endpoints, msgspec.json.decode(tenant.limits, type=TenantLimits))


def change(
    connection: Connection, vault: Vault, id: str, fields: Mapping[str, Any], *, now_ms: int
) -> Endpoint:
    """Change fields of an endpoint (by their names in ``model.Endpoint``). Raises NotFoundError."""
    raw = raw_id(id)
    changed = connection.execute(
        update(endpoints)
        .where(endpoints.c.id == raw, endpoints.c.deleted_ms.is_(None))
        .values(updated_ms=now_ms, revision=raise_revision(connection), **_columns(vault, raw, fields))
    )
    if not changed.rowcount:
        raise NotFoundError("endpoint", id)
    if "state" in fields or "url" in fields:
        forget(connection, [raw])
    return get(connection, vault, id)


def get(connection: Connection, vault: Vault, id: str) -> Endpoint:
    """One endpoint. Raises NotFoundError."""
    row = (
        connection.execute(
            select(endpoints).where(endpoints.c.id == decode(ENDPOINT, id), endpoints.c.deleted_ms.is_(None))
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFoundError("endpoint", id)
    return _endpoint(row, vault)


def tenant_of(connection: Connection, id: str) -> str:
    """The tenant that an endpoint belongs to. Raises NotFoundError."""
    tenant: str | None = connection.execute(
        select(endpoints.c.tenant).where(endpoints.c.id == raw_id(id), endpoints.c.deleted_ms.is_(None))
    ).scalar_one_or_none()
    if tenant is None:
        raise NotFoundError("endpoint", id)
    return tenant


def verified_url(connection: Connection, id: str) -> str | None:
    """The URL of an endpoint that was verified last, which may be another one than it has now."""
    found: str | None = connection.execute(
        select(endpoints.c.verified_url).where(endpoints.c.id == decode(ENDPOINT, id))
    ).scalar_one_or_none()
    return found


def list_page(
    connection: Connection, vault: Vault, *, tenant: str | None, limit: int, cursor: str | None
) -> Page[Endpoint]:
    """Endpoints, newest first."""
    query = select(endpoints).where(endpoints.c.deleted_ms.is_(None)).order_by(endpoints.c.id.desc())
    if tenant is not None:
        query = query.where(endpoints.c.tenant == tenant)
    before = decode_cursor(cursor)
    if before is not None:
        query = query.where(endpoints.c.id < before)
    rows = connection.execute(query.limit(limit + 1)).mappings().all()
    return page(rows, limit, lambda row: _endpoint(row, vault), lambda row: row["id"])


def delete(connection: Connection, id: str, *, now_ms: int) -> None:
    """Delete an endpoint with its secrets and headers; what was pending for it is cancelled. Raises NotFoundError."""
    raw = raw_id(id)
    deleted = connection.execute(
        update(endpoints)
        .where(endpoints.c.id == raw, endpoints.c.deleted_ms.is_(None))
        .values(deleted_ms=now_ms, headers=b"", settings=None, revision=raise_revision(connection))
        .returning(endpoints.c.tenant)
    ).scalar_one_or_none()
    if deleted is None:
        raise NotFoundError("endpoint", id)
    connection.execute(
        update(tenants).where(tenants.c.id == deleted).values(endpoints=tenants.c.endpoints - 1)
    )
    connection.execute(secrets.delete().where(secrets.c.endpoint_id == raw))
    forget(connection, [raw])
    connection.execute(lanes.delete().where(lanes.c.endpoint_id == raw))
    connection.execute(holds.delete().where(holds.c.endpoint_id == raw))
    connection.execute(rearrangements.delete().where(rearrangements.c.endpoint_id == raw))
    cancel_if_deleted(connection, raw, now_ms=now_ms)


def cancel_if_deleted(connection: Connection, id: bytes, *, now_ms: int) -> None:
    """Cancel what is pending for a deleted endpoint.

    Not only where it is deleted: a publish beside that, which read the control plane before it, may commit after it.
    """
    tenant = connection.execute(
        select(endpoints.c.tenant).where(endpoints.c.id == id, endpoints.c.deleted_ms.is_not(None))
    ).scalar_one_or_none()
    if tenant is None:
        return
    cancelled = 0
    for pending in still_pending(connection):
        cancelled += connection.execute(
            update(deliveries)
            .where(deliveries.c.endpoint_id == id, text(pending))
            .values(
                state=STATE_CODES[State.CANCELLED],
                finished_ms=now_ms,
                due_ms=None,
                lease_token=None,
                lease_until_ms=None,
            )
        ).rowcount
    tallies = Tallies()
    if cancelled:
        tallies.ended(tenant, id, State.CANCELLED, now_ms, times=cancelled)
    append(connection, tallies)


def disable(connection: Connection, id: bytes, reason: str, *, now_ms: int) -> Former | None:
    """Disable an endpoint, and give what it was before; None where it is disabled or deleted already."""
    revision = raise_revision(connection)  # first of all: it lets one change after the other
    former = connection.execute(
        select(endpoints.c.tenant, endpoints.c.state, endpoints.c.state_reason).where(
            endpoints.c.id == id,
            endpoints.c.state != EndpointState.DISABLED,
            endpoints.c.deleted_ms.is_(None),
        )
    ).first()
    if former is None:
        return None
    connection.execute(
        update(endpoints)
        .where(endpoints.c.id == id)
        .values(state=EndpointState.DISABLED, state_reason=reason, updated_ms=now_ms, revision=revision)
    )
    forget(connection, [id])
    return Former(*former)


def current_secret(connection: Connection, vault: Vault, id: str) -> str:
    """The secret that an endpoint's deliveries are signed with (first). Raises NotFoundError."""
    row = connection.execute(
        select(secrets.c.sealed)
        .join(endpoints, endpoints.c.id == secrets.c.endpoint_id)
        .where(secrets.c.endpoint_id == decode(ENDPOINT, id), endpoints.c.deleted_ms.is_(None))
        .order_by(secrets.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    if row is None:
        raise NotFoundError("endpoint", id)
    return vault.open(row, raw_id(id)).decode()


def add_secret(
    connection: Connection,
    vault: Vault,
    secret_id: bytes,
    id: str,
    secret: str,
    *,
    overlap_ms: int,
    now_ms: int,
) -> int:
    """Make ``secret`` the current one; those before sign along for ``overlap_ms`` more.

    Gives how many secrets are in force. Expired ones are removed.
    """
    raw = raw_id(id)
    connection.execute(secrets.delete().where(secrets.c.endpoint_id == raw, secrets.c.expires_ms <= now_ms))
    connection.execute(
        update(secrets)
        .where(secrets.c.endpoint_id == raw, secrets.c.expires_ms.is_(None))
        .values(expires_ms=now_ms + overlap_ms)
    )
    connection.execute(
        insert(secrets).values(
            id=secret_id, endpoint_id=raw, sealed=vault.seal(secret.encode(), raw), created_ms=now_ms
        )
    )
    connection.execute(
        update(endpoints).where(endpoints.c.id == raw).values(revision=raise_revision(connection))
    )
    return connection.execute(select(func.count()).where(secrets.c.endpoint_id == raw)).scalar_one()


def raw_id(id: str) -> bytes:
    """The 16 bytes of an endpoint id. Raises NotFoundError where it is none."""
    raw = decode(ENDPOINT, id)
    if raw is None:
        raise NotFoundError("endpoint", id)
    return raw


def _columns(vault: Vault, id: bytes, fields: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: fields[name]
        for name in ("url", "description", "state", "state_reason", "verified_url")
        if name in fields
    }
    if "subscriptions" in fields:
        columns["subscriptions"] = msgspec.json.encode(fields["subscriptions"]).decode()
    if "headers" in fields:
        columns["headers"] = vault.seal(msgspec.json.encode(fields["headers"]), id)
    if "metadata" in fields:
        columns["metadata"] = msgspec.json.encode(fields["metadata"]).decode()
    if "settings" in fields:
        columns["settings"] = sealed_settings(vault, id, fields["settings"])
    return columns


def _endpoint(row: RowMapping, vault: Vault) -> Endpoint:
    return Endpoint(
        id=encode(ENDPOINT, row["id"]),
        tenant=row["tenant"],
        url=row["url"],
        description=row["description"],
        subscriptions=with_envelope(
            msgspec.json.decode(row["subscriptions"], type=tuple[Subscription, ...]), Envelope.STANDARD
        ),
        headers=msgspec.json.decode(vault.open(row["headers"], row["id"]), type=dict[str, str]),
        metadata=msgspec.json.decode(row["metadata"], type=dict[str, str]),
        state=EndpointState(row["state"]),
        state_reason=row["state_reason"],
        created_at=to_datetime(row["created_ms"]),
        updated_at=to_datetime(row["updated_ms"]),
        settings=opened_settings(vault, row["id"], row["settings"]),
    )
