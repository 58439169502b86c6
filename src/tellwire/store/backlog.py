"""What is pending, endpoint by endpoint: for people who look on. Goes through all pending deliveries."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, Subquery, and_, case, func, select, text, union_all

from tellwire.ids import ENDPOINT, encode
from tellwire.model.endpoint import EndpointState

from .lanes import waits_for_circuit, waits_for_rate
from .order import Glance
from .tables import deliveries, endpoints, holds, lanes, still_pending

_ENDED_LONG_AGO_MS: Final = 60_000
_FAR_FUTURE_MS: Final = 3_600_000


class LaneBacklog(NamedTuple):
    """The pending deliveries of one endpoint.

    ``due`` are those whose time has come, in flight or not; ``oldest_ms`` tells for how long the oldest of them has
    been due, of those that do not wait for others before them. ``blocked`` wait behind one that is exhausted, in
    ``blocked_lines`` lines. ``broken`` tells that its circuit is open, ``limited`` that its limits hold it back,
    ``held_ms`` for how long its receiver wants to be left alone yet. ``stuck`` are claimed under a lease that nobody
    keeps: it ended long ago, or ends in the far future.
    """

    endpoint_id: str
    tenant: str
    state: EndpointState
    reason: str | None
    pending: int
    due: int
    oldest_ms: int
    stuck: int
    broken: bool = False
    limited: bool = False
    held_ms: int = 0
    blocked: int = 0
    blocked_lines: int = 0


def by_endpoint(connection: Connection, now_ms: int, glances: Iterable[Glance]) -> list[LaneBacklog]:
    """The endpoints that have pending deliveries, the fullest first; ``glances`` are those at their sequences."""
    pending = _pending(connection, now_ms)
    rows = connection.execute(
        select(
            pending,
            endpoints.c.tenant,
            endpoints.c.state,
            endpoints.c.state_reason,
            (lanes.c.circuit.is_not(None) | waits_for_circuit(now_ms)).label("broken"),
            waits_for_rate(now_ms).label("limited"),
            holds.c.until_ms.label("held_until_ms"),
        )
        .join(endpoints, endpoints.c.id == pending.c.endpoint_id)
        .outerjoin(lanes, lanes.c.endpoint_id == pending.c.endpoint_id)
        .outerjoin(holds, holds.c.endpoint_id == pending.c.endpoint_id)
        .where(endpoints.c.deleted_ms.is_(None))
        .order_by(pending.c.pending.desc(), pending.c.endpoint_id)
    ).all()
    in_order = {one.endpoint_id: one.ready_ms for one in glances if one.ready_ms is not None}
    blocked = _blocked(connection)
    found: list[LaneBacklog] = []
    for row in rows:
        since_ms = [ms for ms in (row.oldest_due_ms, in_order.get(row.endpoint_id)) if ms is not None]
        waiting, lines = blocked.get(row.endpoint_id, (0, 0))
        found.append(
            LaneBacklog(
                encode(ENDPOINT, row.endpoint_id),
                row.tenant,
                EndpointState(row.state),
                row.state_reason,
                int(row.pending),
                int(row.due),
                max(now_ms - min(since_ms, default=now_ms), 0),
                int(row.stuck),
                bool(row.broken),
                bool(row.limited),
                max((row.held_until_ms or 0) - now_ms, 0),
                waiting,
                lines,
            )
        )
    return found


def _pending(connection: Connection, now_ms: int) -> Subquery:
    """How many deliveries of each endpoint are pending, due and stuck, and since when the oldest has been due."""
    lease_ms = deliveries.c.lease_until_ms
    stuck = (lease_ms < now_ms - _ENDED_LONG_AGO_MS) | (lease_ms > now_ms + _FAR_FUTURE_MS)
    due = deliveries.c.due_ms <= now_ms
    late = due & deliveries.c.sequence.is_(None)  # what stands in a sequence may have to wait for others
    parts = union_all(
        *(
            select(
                deliveries.c.endpoint_id,
                func.count().label("pending"),
                func.sum(case((due, 1), else_=0)).label("due"),
                func.min(case((late, deliveries.c.due_ms))).label("oldest_due_ms"),
                func.sum(case((stuck, 1), else_=0)).label("stuck"),
            )
            .where(text(part))
            .group_by(deliveries.c.endpoint_id)
            for part in still_pending(connection)
        )
    ).subquery()
    return (
        select(
            parts.c.endpoint_id,
            func.sum(parts.c.pending).label("pending"),
            func.sum(parts.c.due).label("due"),
            func.min(parts.c.oldest_due_ms).label("oldest_due_ms"),
            func.sum(parts.c.stuck).label("stuck"),
        )
        .group_by(parts.c.endpoint_id)
        .subquery()
    )


def _blocked(connection: Connection) -> dict[bytes, tuple[int, int]]:
    """How many deliveries of each endpoint wait behind one that is exhausted, and in how many lines."""
    first, behind = deliveries.alias("first"), deliveries.alias("behind")
    query = (
        select(
            behind.c.endpoint_id,
            func.count(behind.c.id.distinct()),
            func.count(behind.c.sequence.distinct()),
        )
        .select_from(
            first.join(
                behind,
                and_(
                    behind.c.endpoint_id == first.c.endpoint_id,
                    behind.c.sequence == first.c.sequence,
                    behind.c.id > first.c.id,
                ),
            )
        )
        .where(text("first.state = 2 AND first.sequence IS NOT NULL"))
        .where(text("behind.state = 0 AND behind.sequence IS NOT NULL"))
        .group_by(behind.c.endpoint_id)
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
