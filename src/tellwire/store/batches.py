"""Queries on batches: deliveries that go to their endpoint in one request, and stay together until that succeeds.

Which batch a delivery was sent in last is written down before it is sent (``HotStatements.seal``), so that whoever
sends it again, after a failure or a crash, finds the others. One that is retried by hand or replayed has left its
batch.
"""

from collections import Counter
from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, LargeBinary, bindparam, select, text, update

from .rows import ClaimedRow, Head
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
    """Claim what else may be claimed of these batches, and stands in no line; gives each with its batch."""
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
            deliveries.c.sequence.is_(None),
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


_STANDING: Final = "state = 0 AND sequence IS NOT NULL"
_HEADS: Final = text(f"""
    SELECT named.sequence, head.id, coalesce(head.lease_until_ms, head.due_ms), head.attempt_count, (
        SELECT id FROM deliveries
        WHERE state = 2 AND sequence IS NOT NULL AND endpoint_id = :endpoint_id AND sequence = named.sequence
        ORDER BY endpoint_id, sequence, id LIMIT 1
    ), head.batch_id
    FROM (
        SELECT DISTINCT sequence FROM deliveries
        WHERE {_STANDING} AND endpoint_id = :endpoint_id AND batch_id IN :batches
    ) AS named JOIN deliveries AS head ON head.id = (
        SELECT id FROM deliveries
        WHERE {_STANDING} AND endpoint_id = :endpoint_id AND sequence = named.sequence
        ORDER BY endpoint_id, sequence, id LIMIT 1
    )
    ORDER BY named.sequence""").bindparams(  # noqa: S608 - our own constants
    bindparam("endpoint_id", type_=LargeBinary(16)),
    bindparam("batches", expanding=True, type_=LargeBinary(16)),
)


def heads_of(
    connection: Connection, endpoint_id: bytes, batches: Collection[bytes]
) -> list[tuple[Head, bytes]]:
    """The heads of the sequences in which these batches stand, if they are in one themselves, each with its batch.

    Where something else has come before (it was retried by hand, say), that goes first, and the batch breaks up.
    """
    if not batches:
        return []
    rows = connection.execute(_HEADS, {"endpoint_id": endpoint_id, "batches": list(batches)})
    return [(Head(*head), batch_id) for *head, batch_id in rows if batch_id in batches]


def count_waiting(
    connection: Connection, endpoint_id: bytes, sequences: Collection[str], most: int, *, now_ms: int
) -> Counter[str]:
    """How many deliveries of each of these sequences may be claimed at ``now_ms``, up to ``most`` together."""
    standing = select(deliveries.c.sequence).where(
        text(_STANDING),
        deliveries.c.endpoint_id == endpoint_id,
        deliveries.c.sequence.in_(sequences),
        ready_ms <= now_ms,
    )
    return Counter(connection.execute(standing.limit(most)).scalars())
