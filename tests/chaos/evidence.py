"""What a stopped server's database says, read with nothing but SQLite or PostgreSQL's driver."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


_LACKING = """
    SELECT coalesce(sum(deliveries), 0) - (SELECT count(*) FROM deliveries) FROM events"""
_ODD_HISTORIES = """
    SELECT count(*) FROM deliveries AS d LEFT JOIN (
        SELECT delivery_id, count(*) AS made, max(number) AS last FROM attempts GROUP BY delivery_id
    ) AS a ON a.delivery_id = d.id
    WHERE coalesce(a.made, 0) != d.attempt_count OR coalesce(a.last, 0) != d.attempt_count"""
_UNFINISHED = "SELECT count(*) FROM deliveries WHERE state != 1"
_HELD = "SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL"
_ODD_SUCCESSES = """
    SELECT count(*) FROM deliveries AS d LEFT JOIN (
        SELECT delivery_id, count(*) AS made, max(number) AS last FROM attempts
        WHERE error IS NULL AND status_code BETWEEN 200 AND 299 GROUP BY delivery_id
    ) AS a ON a.delivery_id = d.id
    WHERE coalesce(a.made, 0) != 1 OR coalesce(a.last, 0) != d.attempt_count"""

WHOLE = {_LACKING: "events lack deliveries", _ODD_HISTORIES: "attempts are missing or too many"}
"""Queries that give 0 where every delivery's history agrees with its state."""
ALL_SUCCEEDED = WHOLE | {
    _UNFINISHED: "deliveries have not succeeded",
    _HELD: "claims are still held",
    _ODD_SUCCESSES: "a delivery succeeded otherwise than by its last attempt",
}
"""Likewise, where nothing waits, and each delivery ended with exactly one attempt that succeeded: its last."""


def check_whole(connection: sqlite3.Connection) -> None:
    """The file is sound, and every delivery's history agrees with its state."""
    assert one(connection, "PRAGMA integrity_check") == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for query, meaning in WHOLE.items():
        assert one(connection, query) == 0, meaning


def check_all_succeeded(connection: sqlite3.Connection) -> None:
    """Nothing waits, nothing is held, and each delivery ended with exactly one attempt that succeeded: its last."""
    check_whole(connection)
    for query, meaning in ALL_SUCCEEDED.items():
        assert one(connection, query) == 0, meaning


async def check_all_succeeded_on(url: str) -> None:
    """The same for a database on PostgreSQL."""
    connection = await asyncpg.connect(url)
    try:
        for query, meaning in ALL_SUCCEEDED.items():
            assert await connection.fetchval(query) == 0, meaning
    finally:
        await connection.close()
