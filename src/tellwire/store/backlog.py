"""What is pending, endpoint by endpoint: for people who look on. Goes through all pending deliveries."""

from typing import Final, NamedTuple

from sqlalchemy import Connection, case, func, select, text, union_all

from tellwire.ids import ENDPOINT, encode
from tellwire.model.endpoint import EndpointState

from .lanes import waits_for_circuit
from .tables import deliveries, endpoints, lanes, still_pending

_ENDED_LONG_AGO_MS: Final = 60_000
_FAR_FUTURE_MS: Final = 3_600_000


class LaneBacklog(NamedTuple):
    """The pending deliveries of one endpoint.

    ``due`` are those whose time has come, in flight or not; ``oldest_ms`` tells for how long the oldest of them has
    been due. ``broken`` tells that its circuit is open. ``stuck`` are claimed under a lease that nobody keeps: it
    ended long ago, or ends in the far future.
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


def by_endpoint(connection: Connection, now_ms: int) -> list[LaneBacklog]:
    """The endpoints that have pending deliveries, the fullest first."""
    lease_ms = deliveries.c.lease_until_ms
    stuck = (lease_ms < now_ms - _ENDED_LONG_AGO_MS) | (lease_ms > now_ms + _FAR_FUTURE_MS)
    due = deliveries.c.due_ms <= now_ms
    parts = union_all(
        *(
            select(
                deliveries.c.endpoint_id,
                func.count().label("pending"),
                func.sum(case((due, 1), else_=0)).label("due"),
                func.min(case((due, deliveries.c.due_ms))).label("oldest_due_ms"),
                func.sum(case((stuck, 1), else_=0)).label("stuck"),
            )
            .where(text(part))
            .group_by(deliveries.c.endpoint_id)
            for part in still_pending(connection)
        )
    ).subquery()
    pending = (
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
    rows = connection.execute(
        select(
            pending,
            endpoints.c.tenant,
            endpoints.c.state,
            endpoints.c.state_reason,
            (lanes.c.circuit.is_not(None) | waits_for_circuit(now_ms)).label("broken"),
        )
        .join(endpoints, endpoints.c.id == pending.c.endpoint_id)
        .outerjoin(lanes, lanes.c.endpoint_id == pending.c.endpoint_id)
        .where(endpoints.c.deleted_ms.is_(None))
        .order_by(pending.c.pending.desc(), pending.c.endpoint_id)
    )
    return [
        LaneBacklog(
            encode(ENDPOINT, row.endpoint_id),
            row.tenant,
            EndpointState(row.state),
            row.state_reason,
            int(row.pending),
            int(row.due),
            0 if row.oldest_due_ms is None else now_ms - row.oldest_due_ms,
            int(row.stuck),
            bool(row.broken),
        )
        for row in rows
    ]
