"""Days: on PostgreSQL, events and attempts are kept in a partition for each day, and dropped by the day.

Rows lie by their ids, which begin with the time: an event by its own, an attempt by that of its delivery. Deliveries
are not partitioned, and removed row by row (docs/adr/0007-partitions-by-day.md says why). Days to come are made ahead;
what lies in none of them is in the default partition, among it old events that still have a delivery when their day
goes.
"""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import asyncpg

from .paging import first_id_of

DAY_MS: Final = 86_400_000
BY_DAY: Final = {"attempts": "delivery_id", "events": "id"}
"""The tables that are kept by the day, and the id that says where a row lies."""
_DAYS_AHEAD: Final = 3
_LOCK: Final = 0x7E11_0002
_AT_A_TIME: Final = 1_000
_PAUSE_S: Final = 0.02
_BOUNDS: Final = re.compile(r"FROM \((?:MINVALUE|'\\x([0-9a-f]+)')\) TO \('\\x([0-9a-f]+)'\)")


class Day(NamedTuple):
    """A partition: the rows with ids from ``first`` to before ``end``."""

    name: str
    first: bytes
    end: bytes

    @property
    def until_ms(self) -> int:
        """The instant before which all that lies in it was made."""
        return int.from_bytes(self.end[:6], "big")


async def make_ahead(connection: "asyncpg.Connection[Any]") -> None:
    """Make the partitions of the days to come, in the open transaction.

    Of many processes one does; the others do not wait for it, since a row that comes too early finds the default one.
    """
    if not await _missing(connection):
        return
    if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
        for table, from_ms, until_ms in await _missing(connection):
            await make_day(connection, table, from_ms, until_ms)


async def make_day(connection: "asyncpg.Connection[Any]", table: str, from_ms: int, until_ms: int) -> None:
    """Make a partition for what is made between two instants, in the open transaction."""
    name = f"{table}_until_{datetime.fromtimestamp(until_ms / 1000, UTC):%Y%m%d}"
    column = BY_DAY[table]
    first, end = _literal(first_id_of(from_ms)), _literal(first_id_of(until_ms))
    await connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING STORAGE)")
    # What came meanwhile went into the default partition, and belongs here.
    await connection.execute(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {column} >= {first} AND {column} < {end} "  # noqa: S608
        f"RETURNING *) INSERT INTO {name} SELECT * FROM moved"
    )
    await connection.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"
    )


async def drop_before(connection: "asyncpg.Connection[Any]", before_ms: int) -> None:
    """Remove everything from before ``before_ms``, the beginning of a day, that nothing pending needs.

    First, a thousand at a time, deliveries that are finished and idempotency keys; then the days. Nothing is done where
    another process is at it; the connection is for this alone.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        return
    first: bytes | None = b""
    while first is not None:
        first = await connection.fetchval(_PRUNE_DELIVERIES, first, first_id_of(before_ms), _AT_A_TIME)
        await asyncio.sleep(_PAUSE_S)
    while True:
        if not await connection.fetch(_PRUNE_KEYS, first_id_of(before_ms), _AT_A_TIME):
            break
        await asyncio.sleep(_PAUSE_S)
    for table in BY_DAY:
        days = await days_of(connection, table)
        for day in sorted(days, key=lambda day: day.end):
            if day.until_ms <= before_ms:
                await _drop_day(connection, table, day)
    await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def days_of(connection: "asyncpg.Connection[Any]", table: str) -> list[Day]:
    """The partitions of ``table``, but not the default one."""
    rows = await connection.fetch(_PARTITIONS, table)
    found = ((name, _BOUNDS.search(bounds)) for name, bounds in rows)
    return [
        Day(name, bytes.fromhex(bounds[1] or ""), bytes.fromhex(bounds[2]))
        for name, bounds in found
        if bounds is not None
    ]


async def _missing(connection: "asyncpg.Connection[Any]") -> list[tuple[str, int, int]]:
    """The partitions that are to be made: their tables, and the instants between which their rows were made."""
    now_ms: int = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    today_ms = now_ms - now_ms % DAY_MS
    missing: list[tuple[str, int, int]] = []
    for table in BY_DAY:
        from_ms = max(day.until_ms for day in await days_of(connection, table))
        while from_ms <= today_ms + _DAYS_AHEAD * DAY_MS:
            # After a time in which nobody made any, one partition takes all the days that were left out.
            until_ms = today_ms if from_ms < today_ms else from_ms - from_ms % DAY_MS + DAY_MS
            missing.append((table, from_ms, until_ms))
            from_ms = until_ms
    return missing


async def _drop_day(connection: "asyncpg.Connection[Any]", table: str, day: Day) -> None:
    """Drop a day; events that have a delivery left, and attempts whose delivery is left, go to the default partition.

    Nobody can use the table meanwhile. So what takes time is done before; then all goes to the server at once, because
    a process that is stopped must not hold the lock; and where others use the table for long, we give up.
    """
    left = _LEFT[table].format(first=_literal(day.first), end=_literal(day.end))
    # From the few deliveries that are left to their rows, whatever the statistics say of those that were removed.
    plain = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
    await connection.execute(f"BEGIN; {plain}; {left}; COMMIT")
    await connection.execute(
        f"BEGIN; {plain}; SET LOCAL lock_timeout = '1s'; "  # noqa: S608 - our own names and ids
        f"ALTER TABLE {table} DETACH PARTITION {day.name}; "
        f"INSERT INTO {table} SELECT old.* FROM ({left}) AS kept(id) "
        f"JOIN {day.name} AS old ON old.{BY_DAY[table]} = kept.id; "
        f"DROP TABLE {day.name}; COMMIT"
    )


def _literal(id: bytes) -> str:
    return f"'\\x{id.hex()}'::bytea"


_PARTITIONS = """
    SELECT relname, pg_get_expr(relpartbound, pg_class.oid)
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = $1::text::regclass"""

_LEFT = {
    "attempts": "SELECT id FROM deliveries WHERE id >= {first} AND id < {end}",
    "events": """
        SELECT event_id FROM deliveries WHERE event_id >= {first} AND event_id < {end}
        UNION SELECT event_id FROM fanout_pages WHERE event_id >= {first} AND event_id < {end}""",
}

_PRUNE_DELIVERIES = """
    WITH old AS MATERIALIZED (
        SELECT id FROM deliveries WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3
    ), gone AS (
        DELETE FROM deliveries USING old WHERE deliveries.id = old.id AND deliveries.state <> 0
        RETURNING deliveries.id
    ), their_attempts AS (
        DELETE FROM attempts_default USING gone WHERE delivery_id = gone.id
    )
    SELECT id FROM old ORDER BY id DESC LIMIT 1"""

_PRUNE_KEYS = """
    DELETE FROM idempotency_keys WHERE event_id IN (
        SELECT event_id FROM idempotency_keys AS old
        WHERE event_id < $1 AND NOT EXISTS (SELECT FROM deliveries WHERE deliveries.event_id = old.event_id)
        LIMIT $2
    ) RETURNING 1"""
