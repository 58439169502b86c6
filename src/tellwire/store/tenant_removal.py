"""Removing a tenant with everything of its own, in small pieces, each a transaction.

The mark comes first (``tenants.mark_deleted``): no transaction that begins later publishes for the tenant, and no
roster knows its endpoints and keys any more. A little later nothing can come any more, and what is stored goes: event
by event, then endpoints and keys. How far it got is in the tenant's row, so that whoever dies in between, another goes
on. The row itself stays a while, empty, for processes that have not looked for long: it tells them to forget.
"""

from enum import Enum
from typing import Final

from sqlalchemy import Connection, delete, exists, select, update

from .failing import forget
from .pruning import forget_keys
from .rollups import forget_tenant, in_journal
from .tables import (
    attempts,
    deliveries,
    endpoints,
    events,
    fanout_pages,
    keys,
    rearrangements,
    replays,
    secrets,
    tenants,
)

SETTLE_MS: Final = 5_000
"""A transaction that began before the mark may still publish: so long after the mark none of them is left."""

_CLOCKS_APART_MS: Final = 60_000
_LOOKED_AT: Final = 2_000
_EVENTS: Final = 100
_DELIVERIES: Final = 1_000
_ROWS: Final = 200
_ANY_MARKED: Final = select(exists().where(tenants.c.deleted_ms.is_not(None), tenants.c.removed_ms.is_(None)))


class Piece(Enum):
    """What one transaction has come to."""

    NOTHING = "no tenant is to be removed"
    MORE = "there may be more of this tenant"
    LATER = "there is more of it, which somebody else holds at this moment"
    LAST = "nothing is left of it"


def any_marked(connection: Connection) -> bool:
    """Whether a tenant is to be removed."""
    return bool(connection.execute(_ANY_MARKED).scalar())


def remove_piece(connection: Connection, *, now_ms: int) -> tuple[Piece, str]:
    """Remove a little of one tenant that is marked, and that nobody else removes at this moment; gives its id too."""
    tenant = connection.execute(
        select(tenants)
        .where(tenants.c.deleted_ms <= now_ms - SETTLE_MS, tenants.c.removed_ms.is_(None))
        .order_by(tenants.c.deleted_ms)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if tenant is None:
        return Piece.NOTHING, ""
    first = tenant.removed_up_to or _id_of(tenant.created_ms - _CLOCKS_APART_MS)
    if _remove_events(connection, tenant.id, first):
        return Piece.MORE, tenant.id
    endpoint = _remove_endpoints(connection, tenant.id)
    if endpoint is not None:
        return endpoint, tenant.id
    if _remove_keys(connection, tenant.id) or forget_tenant(connection, tenant.id, limit=_ROWS):
        return Piece.MORE, tenant.id
    if in_journal(connection, tenant.id):  # the roller adds it up within seconds, and then it goes too
        return Piece.LATER, tenant.id
    connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant.id)
        .values(
            name="",
            metadata="{}",
            limits="{}",
            defaults="{}",
            endpoints=0,
            removed_up_to=None,
            removed_ms=now_ms,
        )
    )
    return Piece.LAST, tenant.id


def forget_removed(connection: Connection, *, before_ms: int) -> None:
    """Delete the rows of tenants that were removed before ``before_ms``."""
    connection.execute(delete(tenants).where(tenants.c.removed_ms < before_ms))


def _remove_events(connection: Connection, tenant: str, after: bytes) -> bool:
    """Look at some events after ``after`` and remove the tenant's; False at the end, where none was left.

    By id rather than by an index on the tenant, which every event that is published would have to pay for.
    """
    seen = connection.execute(
        select(events.c.id, events.c.tenant)
        .where(events.c.id > after)
        .order_by(events.c.id)
        .limit(_LOOKED_AT)
    ).all()
    theirs = [id for id, owner in seen if owner == tenant]
    if not theirs and len(seen) < _LOOKED_AT:  # others go on publishing: the end is where they are now
        return False
    up_to = seen[-1].id if len(theirs) <= _EVENTS else theirs[_EVENTS - 1]
    theirs = theirs[:_EVENTS]
    if theirs:
        found = (
            connection.execute(
                select(deliveries.c.id).where(deliveries.c.event_id.in_(theirs)).limit(_DELIVERIES)
            )
            .scalars()
            .all()
        )
        if found:
            connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(found)))
            connection.execute(delete(deliveries).where(deliveries.c.id.in_(found)))
        if len(found) == _DELIVERIES:  # there may be more of these events: they stay until the next piece
            return True
        connection.execute(delete(fanout_pages).where(fanout_pages.c.event_id.in_(theirs)))
        connection.execute(delete(events).where(events.c.id.in_(theirs)))
        forget_keys(connection, theirs)
    _note(connection, tenant, up_to)
    return True


def _remove_endpoints(connection: Connection, tenant: str) -> Piece | None:
    """Remove some endpoints with their secrets; None where there are none.

    An application may have published in a transaction of its own that it keeps open: its row is locked then, and must
    not be waited for. Once it has committed, its event is found by its delivery.
    """
    query = select(endpoints.c.id).where(endpoints.c.tenant == tenant).limit(_ROWS)
    found = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
    if not found:
        return Piece.LATER if connection.execute(query).first() else None
    late = connection.execute(
        select(deliveries.c.event_id)
        .where(deliveries.c.endpoint_id.in_(found))
        .order_by(deliveries.c.event_id)  # PostgreSQL has min() for bytes since 18 only
        .limit(1)
    ).scalar()
    if late is not None:
        _note(connection, tenant, (int.from_bytes(late, "big") - 1).to_bytes(16, "big"))
        return Piece.MORE
    connection.execute(delete(secrets).where(secrets.c.endpoint_id.in_(found)))
    forget(connection, found)
    connection.execute(delete(replays).where(replays.c.endpoint_id.in_(found)))
    connection.execute(delete(rearrangements).where(rearrangements.c.endpoint_id.in_(found)))
    connection.execute(delete(endpoints).where(endpoints.c.id.in_(found)))
    return Piece.MORE


def _remove_keys(connection: Connection, tenant: str) -> bool:
    found = list(connection.execute(select(keys.c.id).where(keys.c.tenant == tenant).limit(_ROWS)).scalars())
    connection.execute(delete(keys).where(keys.c.id.in_(found)))
    return bool(found)


def _note(connection: Connection, tenant: str, up_to: bytes) -> None:
    connection.execute(update(tenants).where(tenants.c.id == tenant).values(removed_up_to=up_to))


def _id_of(ms: int) -> bytes:
    return max(ms, 0).to_bytes(6, "big") + bytes(10)
