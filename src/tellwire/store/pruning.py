"""Removing what has passed its retention, in small pieces so that nobody waits long for the writer."""

from sqlalchemy import Connection, delete, exists, select

from .tables import attempts, deliveries, events, fanout_pages


def prune(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` events older than ``before_ms``, with their deliveries and attempts.

    An event with a pending delivery, or one that is not wholly fanned out, stays, however old it is. Gives how many
    were removed.
    """
    pending = exists().where(deliveries.c.event_id == events.c.id, deliveries.c.state == 0)
    unfinished = exists().where(fanout_pages.c.event_id == events.c.id)
    old = (
        connection.execute(
            select(events.c.id)
            .where(events.c.id < before_ms.to_bytes(6, "big"), events.c.created_ms < before_ms)
            .where(~pending, ~unfinished)
            .order_by(events.c.id)
            .limit(limit)
        )
        .scalars()
        .all()
    )
    if not old:
        return 0
    theirs = select(deliveries.c.id).where(deliveries.c.event_id.in_(old))
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(theirs)))
    connection.execute(delete(deliveries).where(deliveries.c.event_id.in_(old)))
    connection.execute(delete(events).where(events.c.id.in_(old)))
    return len(old)
