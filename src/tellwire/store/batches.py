"""Queries on batches: deliveries that go to their endpoint in one request, and stay together until that succeeds.

Which batch a delivery was sent in last is written down before it is sent (``HotStatements.seal``), so that whoever
sends it again, after a failure or a crash, finds the others. One that is retried by hand or replayed has left its
batch.
"""

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from .rows import ClaimedRow
from .tables import deliveries, events, ready_ms


def batch_ids(connection: Connection, ids: Collection[bytes]) -> dict[bytes, bytes]:
    """The batches of those of these deliveries that are in one."""
    if not ids:
        return {}
    rows = connection.execute(
        select(deliveries.c.id, deliveries.c.batch_id).where(
            deliveries.c.id.in_(ids), deliveries.c.batch_id.is_not(None)
        )
    )
    return {row.id: row.batch_id for row in rows}


def claim_rest(
    connection: Connection,
    endpoint_id: bytes,
    batches: Collection[bytes],
    *,
    now_ms: int,
    until_ms: int,
    token: int,
) -> list[tuple[bytes, ClaimedRow]]:
    """Claim what else may be claimed of these batches of an endpoint; gives each with its batch."""
    if not batches:
        return []
    rows = connection.execute(
        select(
            deliveries,
            events.c.type,
            events.c.data,
            events.c.occurred_ms,
            events.c.deliver_ms,
            events.c.expires_ms,
            events.c.traceparent,
        )
        .join(events, events.c.id == deliveries.c.event_id)
        .where(
            deliveries.c.endpoint_id == endpoint_id,
            deliveries.c.state == 0,
            deliveries.c.batch_id.in_(batches),
            ready_ms <= now_ms,
        )
        .with_for_update(of=deliveries, skip_locked=True)
    ).all()
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_([row.id for row in rows]))
        .values(lease_token=token, lease_until_ms=until_ms)
    )
    return [
        (
            row.batch_id,
            ClaimedRow(
                id=row.id,
                event_id=row.event_id,
                attempt_count=row.attempt_count,
                schedule_step=row.schedule_step,
                trigger=row.trigger,
                type=row.type,
                data=row.data,
                occurred_ms=row.occurred_ms,
                due_ms=row.due_ms,
                rescued=row.lease_token is not None,
                again_ms=row.again_ms,
                deliver_ms=row.deliver_ms,
                expires_ms=row.expires_ms,
                traceparent=row.traceparent,
            ),
        )
        for row in rows
    ]
