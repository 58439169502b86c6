"""The hot statements in SQLite's dialect.

Each statement takes many rows as one ``VALUES`` list rather than ``executemany``: SQLite then works through them in a
single step, during which Python's lock is released once instead of once a row. With a busy event loop beside the
writer that is the difference between microseconds and milliseconds a batch (docs/adr/0003-group-commit.md).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cache
from itertools import chain
from typing import Any, cast

from sqlalchemy import Connection

from tellwire.model.delivery import EXPIRED, State

from .news import note
from .rows import AttemptRow, ClaimedRow, DeliveryRows, EventRows, Outcome, PageRow
from .tables import STATE_CODES

# Few distinct sizes, so that few statements are compiled: each chunk is as large as the rest allows.
_CHUNKS = (100, 32, 10, 3, 1)


class SqliteHotStatements:
    """See ``store.HotStatements``."""

    def revision(self, connection: Connection) -> int:
        """How often the control plane has changed."""
        row = driver_of(connection).execute("SELECT value FROM revisions WHERE name = 'control'").fetchone()
        return cast(int, row[0])

    def insert_events(self, connection: Connection, rows: EventRows) -> None:
        """Store events."""
        driver = driver_of(connection)
        for statement in event_inserts(rows):
            driver.execute(*statement)

    def insert_deliveries(
        self, connection: Connection, rows: DeliveryRows, quiet: Set[bytes] = frozenset()
    ) -> None:
        """Store deliveries; those with a lease are born claimed. Others look four times a second as it is."""
        driver = driver_of(connection)
        for statement in delivery_inserts(rows):
            driver.execute(*statement)
        if any(
            row.lease_token is None and row.due_ms <= row.created_ms and row.endpoint_id not in quiet
            for row in rows
        ):
            note(connection)

    def insert_pages(self, connection: Connection, rows: Sequence[PageRow]) -> None:
        """Store what is to be fanned out in the background."""
        driver = driver_of(connection)
        for statement in page_inserts(rows):
            driver.execute(*statement)
        if rows:
            note(connection)

    def record(
        self, connection: Connection, outcomes: Sequence[Outcome], attempts: Sequence[AttemptRow]
    ) -> set[bytes]:
        """Write the outcomes whose lease still holds, with their attempts."""
        driver = driver_of(connection)
        held: set[bytes] = set()
        for chunk in chunks(outcomes):
            held.update(row[0] for row in driver.execute(_record(len(chunk)), _flat(chunk)))
        _insert(driver, "attempts", AttemptRow._fields, [row for row in attempts if row.delivery_id in held])
        return held

    def append_tallies(self, connection: Connection, entries: bytes) -> None:
        """Append to the journal what this transaction does."""
        driver_of(connection).execute("INSERT INTO tally_journal (entries) VALUES (?)", (entries,))

    def extend(
        self, connection: Connection, leases: Sequence[tuple[bytes, int]], until_ms: int
    ) -> set[bytes]:
        """Extend the leases that still hold."""
        driver = driver_of(connection)
        held: set[bytes] = set()
        for chunk in chunks(leases):
            held.update(row[0] for row in driver.execute(_extend(len(chunk)), [until_ms, *_flat(chunk)]))
        return held

    def release(self, connection: Connection, leases: Sequence[tuple[bytes, int]]) -> None:
        """Give up the leases that still hold."""
        driver = driver_of(connection)
        for chunk in chunks(leases):
            driver.execute(_release(len(chunk)), _flat(chunk))
        if leases:
            note(connection)

    def seal(
        self, connection: Connection, leases: Sequence[tuple[bytes, int]], batch_id: bytes, until_ms: int
    ) -> set[tuple[bytes, int]]:
        """Make one batch of the deliveries whose leases still hold."""
        driver = driver_of(connection)
        held: set[tuple[bytes, int]] = set()
        for chunk in chunks(leases):
            values = [batch_id, until_ms, *_flat(chunk)]
            held.update((row[0], row[1]) for row in driver.execute(_seal(len(chunk)), values))
        return held

    def expire(self, connection: Connection, leases: Sequence[tuple[bytes, int]], now_ms: int) -> set[bytes]:
        """End the deliveries whose lease still holds: their events are not worth delivering any more."""
        driver = driver_of(connection)
        held: set[bytes] = set()
        for chunk in chunks(leases):
            held.update(row[0] for row in driver.execute(_expire(len(chunk)), [now_ms, *_flat(chunk)]))
        return held

    def ready_lanes(self, connection: Connection) -> list[tuple[bytes, int]]:
        """Each endpoint with pending deliveries out of order, and when the first may be claimed: two seeks a lane."""
        driver = driver_of(connection)
        due, leased = (driver.execute(statement).fetchall() for statement in _READY_LANES)
        return _earliest(due, leased) if leased else due

    def lanes_ready(self, connection: Connection, endpoint_ids: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The same for these endpoints alone."""
        driver = driver_of(connection)
        return [
            (endpoint_id, min(ready))
            for chunk in chunks(endpoint_ids)
            for endpoint_id, *firsts in driver.execute(_lanes_ready(len(chunk)), chunk)
            if (ready := [ms for ms in firsts if ms is not None])
        ]

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
        """Claim what is due in one lane, oldest first."""
        driver = driver_of(connection)
        found = driver.execute(_CLAIMABLE, (endpoint_id, now_ms, limit)).fetchall()
        for chunk in chunks(found):
            ids = [row[0] for row in chunk]
            driver.execute(claim_statement(len(ids)), [*ids, token, until_ms])
        return [ClaimedRow(*row[:-1]) for row in found]


def event_inserts(rows: EventRows) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The statements that store events, with their values."""
    for chunk in chunks(rows):
        yield _insert_sql("main.events", chunk[0]._fields, len(chunk)), tuple(_flat(chunk))


def delivery_inserts(rows: DeliveryRows) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The statements that store deliveries, with their values."""
    for chunk in chunks(rows):
        yield _insert_deliveries(chunk[0]._fields, len(chunk)), tuple(_flat(chunk))


def page_inserts(rows: Sequence[PageRow]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The statements that store pages of wide events, with their values."""
    for chunk in chunks(rows):
        yield _insert_sql("main.fanout_pages", PageRow._fields, len(chunk)), tuple(_flat(chunk))


def driver_of(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection below SQLAlchemy's."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows in pieces of few distinct sizes, for each of which a statement is compiled."""
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(rows))


def _values(columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return ",".join([row] * rows)


def _insert(driver: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Sequence[Any]) -> None:
    for chunk in chunks(rows):
        driver.execute(_insert_sql(table, columns, len(chunk)), _flat(chunk))


@cache
def _insert_sql(table: str, columns: tuple[str, ...], rows: int) -> str:
    # Table and columns are our own constants.
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {_values(len(columns), rows)}"  # noqa: S608


@cache
def _insert_deliveries(given: tuple[str, ...], rows: int) -> str:
    row = f"({','.join('?' * len(given))},0,0,0)"
    columns = (*given, "state", "attempt_count", "schedule_step")
    return f"INSERT INTO main.deliveries ({','.join(columns)}) VALUES {','.join([row] * rows)}"  # noqa: S608


@cache
def _record(rows: int) -> str:
    return f"""
        UPDATE deliveries SET
            state = new.column3, attempt_count = new.column4, schedule_step = new.column5, due_ms = new.column6,
            last_status_code = new.column7, last_error = new.column8, finished_ms = new.column9,
            trigger = 'schedule', lease_token = NULL, lease_until_ms = NULL
        FROM (VALUES {_values(len(Outcome._fields), rows)}) AS new
        WHERE deliveries.id = new.column1 AND deliveries.lease_token = new.column2 AND deliveries.state = 0
        RETURNING deliveries.id"""  # noqa: S608 - placeholders only


@cache
def _extend(rows: int) -> str:
    return f"""
        UPDATE deliveries SET lease_until_ms = ?
        FROM (VALUES {_values(2, rows)}) AS held
        WHERE deliveries.id = held.column1 AND deliveries.lease_token = held.column2 AND deliveries.state = 0
        RETURNING deliveries.id"""  # noqa: S608 - placeholders only


@cache
def _seal(rows: int) -> str:
    return f"""
        UPDATE deliveries SET batch_id = ?, lease_until_ms = ?
        FROM (VALUES {_values(2, rows)}) AS held
        WHERE deliveries.id = held.column1 AND deliveries.lease_token = held.column2 AND deliveries.state = 0
        RETURNING deliveries.id, deliveries.lease_token"""  # noqa: S608 - placeholders only


@cache
def _expire(rows: int) -> str:
    return f"""
        UPDATE deliveries SET
            state = {STATE_CODES[State.EXHAUSTED]}, last_error = '{EXPIRED}', finished_ms = ?, due_ms = NULL,
            lease_token = NULL, lease_until_ms = NULL
        FROM (VALUES {_values(2, rows)}) AS held
        WHERE deliveries.id = held.column1 AND deliveries.lease_token = held.column2 AND deliveries.state = 0
        RETURNING deliveries.id"""  # noqa: S608 - our own constants, and placeholders


@cache
def _release(rows: int) -> str:
    return f"""
        UPDATE deliveries SET lease_token = NULL, lease_until_ms = NULL
        FROM (VALUES {_values(2, rows)}) AS held
        WHERE deliveries.id = held.column1 AND deliveries.lease_token = held.column2
            AND deliveries.state = 0"""  # noqa: S608 - placeholders only


@cache
def claim_statement(rows: int) -> str:
    """Gives so many deliveries a lease."""
    ids = ",".join(f"?{n}" for n in range(1, rows + 1))
    return f"""
        UPDATE deliveries SET lease_token = ?{rows + 1}, lease_until_ms = ?{rows + 2}
        WHERE id IN ({ids})"""  # noqa: S608 - placeholders only


# Literally as in the conditions of two indexes, so that SQLite sees that these serve. What has a lease has an index of
# its own: see docs/adr/0023.
_DUE = "state = 0 AND sequence IS NULL AND lease_until_ms IS NULL"
_LEASED = "state = 0 AND sequence IS NULL AND lease_until_ms IS NOT NULL"


@cache
def _lanes_ready(lanes: int) -> str:
    return f"""
        SELECT lane.column1, (
            SELECT due_ms FROM deliveries WHERE {_DUE} AND endpoint_id = lane.column1 ORDER BY due_ms LIMIT 1
        ), (
            SELECT lease_until_ms FROM deliveries WHERE {_LEASED} AND endpoint_id = lane.column1
            ORDER BY lease_until_ms LIMIT 1
        ) FROM (VALUES {_values(1, lanes)}) AS lane"""  # noqa: S608 - our own constants, and placeholders


def _earliest(*found: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """The earliest instant that any of these tells of each endpoint."""
    earliest: dict[bytes, int] = {}
    for endpoint_id, ready_ms in chain(*found):
        earliest[endpoint_id] = min(ready_ms, earliest.get(endpoint_id, ready_ms))
    return list(earliest.items())


def _claimable(condition: str, ready_ms: str) -> str:
    return f"""
        SELECT d.id, d.event_id, d.attempt_count, d.schedule_step, d.trigger,
            e.type, e.data, e.occurred_ms, d.due_ms, d.lease_token IS NOT NULL, d.again_ms,
            e.deliver_ms, e.expires_ms, e.traceparent, {ready_ms} AS ready_ms
        FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
        WHERE {condition} AND d.endpoint_id = ?1 AND {ready_ms} <= ?2"""  # noqa: S608 - our own constants


# Both come in order from their indexes, and SQLite merges them: it reads no more of either than is claimed.
_CLAIMABLE = f"""
    {_claimable(_DUE, "due_ms")} UNION ALL {_claimable(_LEASED, "lease_until_ms")}
    ORDER BY ready_ms, d.id LIMIT ?3"""


def _ready_lanes(condition: str, ready_ms: str) -> str:
    # A loose index scan: from each lane's first entry straight to the next lane, however many deliveries wait in it.
    return f"""
        WITH RECURSIVE lane(endpoint_id) AS (
            SELECT min(endpoint_id) FROM deliveries WHERE {condition}
            UNION ALL
            SELECT (SELECT min(endpoint_id) FROM deliveries WHERE {condition} AND endpoint_id > lane.endpoint_id)
            FROM lane WHERE lane.endpoint_id IS NOT NULL
        )
        SELECT endpoint_id, (
            SELECT {ready_ms} FROM deliveries
            WHERE {condition} AND endpoint_id = lane.endpoint_id ORDER BY {ready_ms} LIMIT 1
        ) FROM lane WHERE endpoint_id IS NOT NULL"""  # noqa: S608 - our own constants


_READY_LANES = _ready_lanes(_DUE, "due_ms"), _ready_lanes(_LEASED, "lease_until_ms")
