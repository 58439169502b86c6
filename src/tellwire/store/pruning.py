"""Removing what has passed its retention, in small pieces so that nobody waits long for the writer."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select, update

from .events import has_no_data
from .paging import first_id_of
from .tables import NO_DATA, attempts, deliveries, events, fanout_pages, idempotency_keys


def prune(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` events older than ``before_ms``, with their deliveries and attempts.

    An event with a pending delivery, or one that is not wholly fanned out, stays, however old it is. Gives how many
    were removed.
    """
    old = (
        connection.execute(
            select(events.c.id)
            .where(events.c.id < first_id_of(before_ms), events.c.created_ms < before_ms)
            .where(~_unfinished())
            .order_by(events.c.id)
            .limit(limit)
            .with_for_update()  # a retry by hand holds its event: before us, or after us
        )
        .scalars()
        .all()
    )
    # Asked once more, now that nobody can begin a retry: whoever had begun one has made his delivery pending.
    old = connection.execute(select(events.c.id).where(events.c.id.in_(old), ~_unfinished())).scalars().all()
    if not old:
        return 0
    theirs = select(deliveries.c.id).where(deliveries.c.event_id.in_(old))
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(theirs)))
    connection.execute(delete(deliveries).where(deliveries.c.event_id.in_(old)))
    connection.execute(delete(events).where(events.c.id.in_(old)))
    forget_keys(connection, old)
    return len(old)


def forget_keys(connection: Connection, event_ids: Sequence[bytes]) -> None:
    """Free the idempotency keys of events that are removed, where keys have a table of their own."""
    if connection.dialect.name == "postgresql":
        connection.execute(delete(idempotency_keys).where(idempotency_keys.c.event_id.in_(event_ids)))


def expire_payloads(connection: Connection, *, after: bytes, before_ms: int, limit: int) -> bytes | None:
    """Remove the data of the next ``limit`` events after the id ``after`` that are older than ``before_ms``.

    An event that is not finished keeps its data. Gives the last id that was looked at, or None at the end.
    """
    old = (
        connection.execute(
            select(events.c.id)
            .where(events.c.id > after, events.c.id < first_id_of(before_ms))
            .order_by(events.c.id)
            .limit(limit)
            .with_for_update()  # a retry by hand looks at the data: before us, or after us
        )
        .scalars()
        .all()
    )
    if not old:
        return None
    connection.execute(
        update(events).where(events.c.id.in_(old), ~has_no_data(), ~_unfinished()).values(data=NO_DATA)
    )
    last: bytes = old[-1]
    return last


def _unfinished() -> ColumnElement[bool]:
    """Whether an event has a pending delivery, or is still to be fanned out."""
    return or_(
        exists().where(deliveries.c.event_id == events.c.id, deliveries.c.state == 0),
        exists().where(fanout_pages.c.event_id == events.c.id),
    )
