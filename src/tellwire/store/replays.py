"""Replays as people see them: started, looked at, cancelled. Working them off is in ``replay_pages``."""

from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, and_, delete, func, insert, select, update

from tellwire.clock import to_datetime
from tellwire.errors import ConflictError, NotFoundError
from tellwire.ids import ENDPOINT, EVENT, REPLAY, decode, encode, time_ms
from tellwire.model.endpoint import EndpointState
from tellwire.model.page import Page
from tellwire.model.replay import Criteria, Replay, ReplayState

from .endpoints import raw_id
from .paging import decode_cursor, page
from .replay_pages import RUNNING, before_first
from .tables import endpoints, events, replays


def create(
    connection: Connection, id: bytes, endpoint_id: str, criteria: Criteria, *, dry_run: bool, now_ms: int
) -> int:
    """Store a new replay; gives how many of its endpoint run now. Raises NotFoundError."""
    raw = raw_id(endpoint_id)
    tenant = connection.execute(
        select(endpoints.c.tenant)
        .where(endpoints.c.id == raw, endpoints.c.deleted_ms.is_(None))
        .with_for_update(key_share=True)  # who counts beside this one counts it too
    ).scalar_one_or_none()
    if tenant is None:
        raise NotFoundError("endpoint", endpoint_id)
    if criteria.event is not None:
        owned = select(events.c.id).where(
            events.c.id == decode(EVENT, criteria.event), events.c.tenant == tenant
        )
        if connection.execute(owned).first() is None:
            raise NotFoundError("event", criteria.event)
    connection.execute(
        insert(replays).values(
            id=id,
            endpoint_id=raw,
            tenant=tenant,
            criteria=msgspec.json.encode(criteria).decode(),
            dry_run=int(dry_run),
            state=ReplayState.RUNNING,
            up_to=before_first(criteria),
            created_ms=now_ms,
            updated_ms=now_ms,
        )
    )
    running = select(func.count()).where(replays.c.endpoint_id == raw, RUNNING)
    return int(connection.execute(running).scalar_one())


def get(connection: Connection, id: str) -> Replay:
    """One replay. Raises NotFoundError."""
    row = connection.execute(_select().where(replays.c.id == decode(REPLAY, id))).mappings().first()
    if row is None:
        raise NotFoundError("replay", id)
    return _replay(row)


def list_page(
    connection: Connection,
    *,
    tenant: str | None,
    endpoint: str | None,
    state: ReplayState | None,
    limit: int,
    cursor: str | None,
) -> Page[Replay]:
    """Replays, newest first."""
    query = _select().order_by(replays.c.id.desc()).limit(limit + 1)
    if tenant is not None:
        query = query.where(replays.c.tenant == tenant)
    if endpoint is not None:
        query = query.where(replays.c.endpoint_id == raw_id(endpoint))
    if state is not None:
        query = query.where(replays.c.state == state)
    before = decode_cursor(cursor)
    if before is not None:
        query = query.where(replays.c.id < before)
    return page(connection.execute(query).mappings().all(), limit, _replay, lambda row: row["id"])


def cancel(connection: Connection, id: str, *, now_ms: int) -> Replay:
    """End a running replay where it stands. Raises NotFoundError; ConflictError where it has ended already."""
    ended = connection.execute(
        update(replays)
        .where(replays.c.id == decode(REPLAY, id), RUNNING)
        .values(
            state=ReplayState.CANCELLED, reason="cancelled by hand", updated_ms=now_ms, finished_ms=now_ms
        )
    )
    replay = get(connection, id)
    if not ended.rowcount:
        raise ConflictError(f"replay {id!r} is {replay.state}; only one that is running can be cancelled")
    return replay


def forget_ended(connection: Connection, *, before_ms: int) -> None:
    """Delete the rows of replays that ended before ``before_ms``."""
    connection.execute(delete(replays).where(replays.c.finished_ms < before_ms))


def _select() -> Select[Any]:
    waits = and_(endpoints.c.id == replays.c.endpoint_id, endpoints.c.deleted_ms.is_(None))
    return select(replays, endpoints.c.state.label("endpoint_state")).outerjoin(endpoints, waits)


def _replay(row: RowMapping) -> Replay:
    criteria = msgspec.json.decode(row["criteria"], type=Criteria)
    whole = criteria.event is None
    return Replay(
        id=encode(REPLAY, row["id"]),
        endpoint_id=encode(ENDPOINT, row["endpoint_id"]),
        tenant=row["tenant"],
        state=ReplayState(row["state"]),
        reason=row["reason"],
        waiting_for=_waiting_for(row),
        dry_run=bool(row["dry_run"]),
        since=to_datetime(criteria.since_ms) if whole else None,
        until=to_datetime(criteria.until_ms) if whole else None,
        types=criteria.types,
        states=criteria.states,
        event_id=criteria.event,
        progress=_progress(row, criteria),
        looked_at=row["looked_at"],
        retried=row["retried"],
        created=row["created"],
        expired=row["expired"],
        created_at=to_datetime(row["created_ms"]),
        updated_at=to_datetime(row["updated_ms"]),
        finished_at=None if row["finished_ms"] is None else to_datetime(row["finished_ms"]),
    )


def _waiting_for(row: RowMapping) -> str | None:
    waits = row["state"] == ReplayState.RUNNING and not row["dry_run"]
    return row["endpoint_state"] if waits and row["endpoint_state"] != EndpointState.ENABLED else None


def _progress(row: RowMapping, criteria: Criteria) -> float:
    if row["state"] == ReplayState.SUCCEEDED:
        return 1.0
    if criteria.event is not None:
        return 0.0
    done = (time_ms(row["up_to"]) - criteria.since_ms) / (criteria.until_ms - criteria.since_ms)
    return round(min(max(done, 0.0), 1.0), 3)
