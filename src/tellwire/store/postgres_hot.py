"""The hot statements in PostgreSQL's dialect.

Each statement takes a whole batch as one array a column (``unnest``), so that its text never changes and the server
plans it once. They go to asyncpg directly: SQLAlchemy's own way costs more than the statement does.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, cast

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.util import await_only

from tellwire.model.delivery import EXPIRED, State

from .news import QUIET_MS, note
from .postgres_at_once import gatherer_of
from .postgres_clock import ServerClock
from .rows import (
    AttemptRow,
    ClaimedRow,
    DeliveryRows,
    EventRows,
    OrderedDeliveryRow,
    Outcome,
    PageRow,
    TimedEventRow,
)
from .tables import STATE_CODES


class PostgresHotStatements:
    """See ``store.HotStatements``. Call them inside ``run_sync``."""

    def __init__(self, clock: ServerClock) -> None:
        """``clock`` learns the server's time from whatever is asked."""
        self._clock = clock

    def revision(self, connection: Connection) -> int:
        """How often the control plane has changed."""
        asked = self._clock.ask()
        revision, server_s = await_only(driver_of(connection).fetchrow(REVISION))
        self._clock.told(asked, server_s)
        return cast(int, revision)

    def insert_events(self, connection: Connection, rows: EventRows) -> None:
        """Store events."""
        if not rows:
            return
        keyed = [(row.tenant, row.idempotency_key, row.id) for row in rows if row.idempotency_key is not None]
        if keyed:
            store(connection, _INSERT_KEYS, *columns(keyed))
        statement = _INSERT_TIMED_EVENTS if isinstance(rows[0], TimedEventRow) else _INSERT_EVENTS
        store(connection, statement, *columns(rows))

    def insert_deliveries(
        self, connection: Connection, rows: DeliveryRows, quiet: Set[bytes] = frozenset()
    ) -> None:
        """Store deliveries; those with a lease are born claimed."""
        if rows:
            in_order = isinstance(rows[0], OrderedDeliveryRow)
            store(connection, _INSERT_ORDERED if in_order else _INSERT_DELIVERIES, *columns(rows))
            told_ms = [
                row.due_ms + QUIET_MS if row.endpoint_id in quiet else row.due_ms
                for row in rows
                if row.lease_token is None
            ]
            if told_ms:
                first_ms = min(told_ms)
                note(connection, first_ms if first_ms > rows[0].created_ms else 0)

    def insert_pages(self, connection: Connection, rows: Sequence[PageRow]) -> None:
        """Store what is to be fanned out in the background."""
        if rows:
            store(connection, _INSERT_PAGES, *columns(rows))
            note(connection)

    def record(
        self, connection: Connection, outcomes: Sequence[Outcome], attempts: Sequence[AttemptRow]
    ) -> set[bytes]:
        """Write the outcomes whose lease still holds, with their attempts."""
        if not outcomes:
            return set()
        held = self._held(connection, outcomes)
        due_ms = min((row.due_ms for row in outcomes if row.due_ms is not None), default=None)
        if due_ms is not None:  # should this process be gone by then, somebody else is there
            note(connection, due_ms)
        rows = [_storable(row) for row in attempts if row.delivery_id in held]
        if rows:
            store(connection, _INSERT_ATTEMPTS, *columns(rows))
        return held

    def _held(self, connection: Connection, outcomes: Sequence[Outcome]) -> set[bytes]:
        at_once = gatherer_of(connection)
        if at_once is None:
            return {row[0] for row in fetch(connection, _RECORD, *columns(outcomes))}
        at_once.gather(_RECORD, columns(outcomes), rows=len(outcomes))
        return {outcome.id for outcome in outcomes}

    def append_tallies(self, connection: Connection, entries: bytes) -> None:
        """Append to the journal what this transaction does."""
        store(connection, "INSERT INTO tally_journal (entries) VALUES ($1)", entries)

    def extend(
        self, connection: Connection, leases: Sequence[tuple[bytes, int]], until_ms: int
    ) -> set[bytes]:
        """Extend the leases that still hold."""
        if not leases:
            return set()
        return {row[0] for row in fetch(connection, _EXTEND, until_ms, *columns(leases))}

    def release(self, connection: Connection, leases: Sequence[tuple[bytes, int]]) -> None:
        """Give up the leases that still hold."""
        if leases:
            fetch(connection, _RELEASE, *columns(leases))
            note(connection)

    def seal(
        self, connection: Connection, leases: Sequence[tuple[bytes, int]], batch_id: bytes, until_ms: int
    ) -> set[tuple[bytes, int]]:
        """Make one batch of the deliveries whose leases still hold."""
        if not leases:
            return set()
        return {(row[0], row[1]) for row in fetch(connection, _SEAL, batch_id, until_ms, *columns(leases))}

    def expire(self, connection: Connection, leases: Sequence[tuple[bytes, int]], now_ms: int) -> set[bytes]:
        """End the deliveries whose lease still holds: their events are not worth delivering any more."""
        if not leases:
            return set()
        return {row[0] for row in fetch(connection, _EXPIRE, now_ms, *columns(leases))}

    def ready_lanes(self, connection: Connection) -> list[tuple[bytes, int]]:
        """Each endpoint with pending deliveries out of order, and when the first may be claimed: one seek a lane."""
        return [(row[0], row[1]) for row in fetch(connection, _READY_LANES)]

    def lanes_ready(self, connection: Connection, endpoint_ids: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The same for these endpoints alone."""
        if not endpoint_ids:
            return []
        return [(row[0], row[1]) for row in fetch(connection, _LANES_READY, list(endpoint_ids))]

    def claim(
        self,
        connection: Connection,
        endpoint_id: bytes,
        *,
        now_ms: int,
        until_ms: int,
        token: int,
        limit: int,
    ) -> list[ClaimedRow]:
        """Claim what is due in one lane, oldest first; what another process claims at this moment is skipped."""
        claimed: list[ClaimedRow] = []
        while len(claimed) < limit:
            some = min(limit - len(claimed), _AT_ONCE)
            found = fetch(connection, _CLAIM, endpoint_id, now_ms, some, token, until_ms)
            claimed += [ClaimedRow(*row) for row in found]
            if len(found) < some:
                break
        return claimed


def driver_of(connection: Connection) -> "asyncpg.Connection[Any]":
    """The driver's own connection below SQLAlchemy's."""
    return cast("asyncpg.Connection[Any]", connection.connection.driver_connection)


def fetch(connection: Connection, statement: str, *values: Any) -> list[Any]:
    """Run a statement on the driver's own connection."""
    return cast(list[Any], await_only(driver_of(connection).fetch(statement, *values)))


def store(connection: Connection, statement: str, *values: Any) -> None:
    """Run a statement that writes and gives nothing back; it may wait for others to make one statement of all."""
    at_once = gatherer_of(connection)
    if at_once is None:
        fetch(connection, statement, *values)
    else:
        at_once.gather(statement, values)


def columns(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows as one tuple a column."""
    return list(zip(*rows, strict=True))


def _storable(row: AttemptRow) -> AttemptRow:
    """Text without the characters that PostgreSQL refuses: what a stranger answered must not stop the recorder."""
    if row.detail is None or (row.detail.isprintable() and row.detail.isascii()):
        return row
    text = row.detail.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return row._replace(detail=text)


REVISION = """
    SELECT value, extract(epoch FROM clock_timestamp())::float8 FROM revisions WHERE name = 'control'"""
"""How often the control plane has changed, and the server's time."""

EVENT_COLUMNS = {
    "id": "bytea",
    "tenant": "text",
    "type": "text",
    "data": "bytea",
    "occurred_ms": "bigint",
    "created_ms": "bigint",
    "deliveries": "integer",
    "idempotency_key": "text",
    "fingerprint": "bytea",
}
"""The fields of ``EventRow`` and their types."""

TIMED_EVENT_COLUMNS = {
    **EVENT_COLUMNS,
    "deliver_ms": "bigint",
    "expires_ms": "bigint",
    "traceparent": "text",
    "ordering_key": "text",
}
"""The fields of ``TimedEventRow`` and their types."""

DELIVERY_COLUMNS = {
    "id": "bytea",
    "event_id": "bytea",
    "endpoint_id": "bytea",
    "trigger": "text",
    "due_ms": "bigint",
    "lease_token": "bigint",
    "lease_until_ms": "bigint",
    "created_ms": "bigint",
}
"""The fields of ``DeliveryRow`` and their types."""

ORDERED_COLUMNS = {**DELIVERY_COLUMNS, "sequence": "text"}
"""The fields of ``OrderedDeliveryRow`` and their types."""

PAGE_COLUMNS = {"event_id": "bytea", "number": "integer", "targets": "integer", "endpoint_ids": "bytea"}
"""The fields of ``PageRow`` and their types."""


def unnest(columns: Mapping[str, str], after: int = 0) -> str:
    """Rows from one array a column; ``after`` so many other parameters."""
    arrays = (f"${number}::{type}[]" for number, type in enumerate(columns.values(), after + 1))
    return f"unnest({', '.join(arrays)})"


_INSERT_KEYS = """
    INSERT INTO idempotency_keys (tenant, key, event_id) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])"""

_INSERT_EVENTS = f"""
    INSERT INTO events ({", ".join(EVENT_COLUMNS)}) SELECT * FROM {unnest(EVENT_COLUMNS)}"""  # noqa: S608 - constants

_INSERT_TIMED_EVENTS = f"""
    INSERT INTO events ({", ".join(TIMED_EVENT_COLUMNS)}) SELECT * FROM {unnest(TIMED_EVENT_COLUMNS)}"""  # noqa: S608

_INSERT_DELIVERIES = f"""
    INSERT INTO deliveries ({", ".join(DELIVERY_COLUMNS)}, state, attempt_count, schedule_step)
    SELECT new.*, 0, 0, 0 FROM {unnest(DELIVERY_COLUMNS)} AS new"""  # noqa: S608 - constants

_INSERT_ORDERED = f"""
    INSERT INTO deliveries ({", ".join(ORDERED_COLUMNS)}, state, attempt_count, schedule_step)
    SELECT new.*, 0, 0, 0 FROM {unnest(ORDERED_COLUMNS)} AS new"""  # noqa: S608 - constants

_INSERT_PAGES = f"""
    INSERT INTO fanout_pages ({", ".join(PAGE_COLUMNS)}) SELECT * FROM {unnest(PAGE_COLUMNS)}"""  # noqa: S608

_INSERT_ATTEMPTS = """
    INSERT INTO attempts (delivery_id, number, id, started_ms, duration_ms, status_code, error, detail,
        response_headers, response_body, trigger)
    SELECT * FROM unnest(
        $1::bytea[], $2::integer[], $3::bytea[], $4::bigint[], $5::integer[], $6::integer[], $7::text[], $8::text[],
        $9::bytea[], $10::bytea[], $11::text[])"""

# The first array is hidden from the planner. Did it see how long the arrays are, it would plan anew for each result: it
# takes any array for ten rows beforehand, so that a plan for one seems cheaper. To make it takes longer than to use it.
_RECORD = """
    UPDATE deliveries SET
        state = new.state, attempt_count = new.attempt_count, schedule_step = new.schedule_step,
        due_ms = new.due_ms, last_status_code = new.last_status_code, last_error = new.last_error,
        finished_ms = new.finished_ms, trigger = 'schedule', lease_token = NULL, lease_until_ms = NULL
    FROM unnest(
        (SELECT $1::bytea[]), $2::bigint[], $3::smallint[], $4::integer[], $5::integer[], $6::bigint[], $7::integer[],
        $8::text[], $9::bigint[]
    ) AS new(id, token, state, attempt_count, schedule_step, due_ms, last_status_code, last_error, finished_ms)
    WHERE deliveries.id = new.id AND deliveries.lease_token = new.token AND deliveries.state = 0
    RETURNING deliveries.id"""

_EXTEND = """
    UPDATE deliveries SET lease_until_ms = $1
    FROM unnest($2::bytea[], $3::bigint[]) AS held(id, token)
    WHERE deliveries.id = held.id AND deliveries.lease_token = held.token AND deliveries.state = 0
    RETURNING deliveries.id"""

_SEAL = """
    UPDATE deliveries SET batch_id = $1, lease_until_ms = $2
    FROM unnest($3::bytea[], $4::bigint[]) AS held(id, token)
    WHERE deliveries.id = held.id AND deliveries.lease_token = held.token AND deliveries.state = 0
    RETURNING deliveries.id, deliveries.lease_token"""

_EXPIRE = f"""
    UPDATE deliveries SET
        state = {STATE_CODES[State.EXHAUSTED]}, last_error = '{EXPIRED}', finished_ms = $1, due_ms = NULL,
        lease_token = NULL, lease_until_ms = NULL
    FROM unnest($2::bytea[], $3::bigint[]) AS held(id, token)
    WHERE deliveries.id = held.id AND deliveries.lease_token = held.token AND deliveries.state = 0
    RETURNING deliveries.id"""  # noqa: S608 - our own constants

_RELEASE = """
    UPDATE deliveries SET lease_token = NULL, lease_until_ms = NULL
    FROM unnest($1::bytea[], $2::bigint[]) AS held(id, token)
    WHERE deliveries.id = held.id AND deliveries.lease_token = held.token AND deliveries.state = 0"""

_AT_ONCE = 160
"""How many deliveries one statement claims at most."""

# In this plan nothing grows with what waits (see _WRITER_SETTINGS too): the array and the LIMIT 1 leave no way but the
# primary keys. And it is made once: the server takes a tenth of the inner limit for the number that $3 will be, which
# is about as many as a lane has slots; had it no idea, it would plan anew for each claim, which takes longer than this.
_CLAIM = f"""
    WITH ready AS NOT MATERIALIZED (
        SELECT id, event_id, attempt_count, schedule_step, trigger, due_ms, lease_token IS NOT NULL AS rescued,
            again_ms, coalesce(lease_until_ms, due_ms) AS ready_ms
        FROM deliveries
        WHERE state = 0 AND sequence IS NULL AND endpoint_id = $1 AND coalesce(lease_until_ms, due_ms) <= $2
        ORDER BY coalesce(lease_until_ms, due_ms), id
        LIMIT {_AT_ONCE}
        FOR UPDATE SKIP LOCKED
    ), found AS MATERIALIZED (
        SELECT * FROM ready LIMIT $3
    ), claimed AS (
        UPDATE deliveries SET lease_token = $4, lease_until_ms = $5 WHERE id = ANY (ARRAY (SELECT id FROM found))
    )
    SELECT found.id, found.event_id, found.attempt_count, found.schedule_step, found.trigger,
        events.type, events.data, events.occurred_ms, found.due_ms, found.rescued, found.again_ms,
        events.deliver_ms, events.expires_ms, events.traceparent
    FROM found CROSS JOIN LATERAL (SELECT * FROM events WHERE id = found.event_id LIMIT 1) AS events
    ORDER BY found.ready_ms, found.id"""  # noqa: S608 - our own constant

_LANES_READY = """
    SELECT lane.endpoint_id, following.ready_ms
    FROM unnest($1::bytea[]) AS lane(endpoint_id) CROSS JOIN LATERAL (
        SELECT coalesce(lease_until_ms, due_ms) AS ready_ms FROM deliveries
        WHERE state = 0 AND sequence IS NULL AND endpoint_id = lane.endpoint_id
        ORDER BY coalesce(lease_until_ms, due_ms) LIMIT 1
    ) AS following"""

# A loose index scan: from each lane's first entry straight to the next lane, however many deliveries wait in it.
_READY_LANES = """
    WITH RECURSIVE lane(endpoint_id, ready_ms) AS (
        (SELECT endpoint_id, coalesce(lease_until_ms, due_ms) FROM deliveries WHERE state = 0 AND sequence IS NULL
            ORDER BY endpoint_id, coalesce(lease_until_ms, due_ms) LIMIT 1)
        UNION ALL
        SELECT following.* FROM lane CROSS JOIN LATERAL (
            SELECT endpoint_id, coalesce(lease_until_ms, due_ms) FROM deliveries
            WHERE state = 0 AND sequence IS NULL AND endpoint_id > lane.endpoint_id
            ORDER BY endpoint_id, coalesce(lease_until_ms, due_ms) LIMIT 1
        ) AS following
    )
    SELECT endpoint_id, ready_ms FROM lane"""
