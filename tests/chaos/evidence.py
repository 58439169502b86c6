"""What a stopped server's database says, read with nothing but SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def check_whole(connection: sqlite3.Connection) -> None:
    """The file is sound, and every delivery's history agrees with its state."""
    assert one(connection, "PRAGMA integrity_check") == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    expected = one(connection, "SELECT coalesce(sum(deliveries), 0) FROM events")
    assert one(connection, "SELECT count(*) FROM deliveries") == expected
    odd = """
        SELECT count(*) FROM deliveries AS d LEFT JOIN (
            SELECT delivery_id, count(*) AS made, max(number) AS last FROM attempts GROUP BY delivery_id
        ) AS a ON a.delivery_id = d.id
        WHERE coalesce(a.made, 0) != d.attempt_count OR coalesce(a.last, 0) != d.attempt_count"""
    assert one(connection, odd) == 0, "attempts are missing or too many"


def check_all_succeeded(connection: sqlite3.Connection) -> None:
    """Nothing waits, nothing is held, and each delivery ended with exactly one attempt that succeeded: its last."""
    check_whole(connection)
    assert one(connection, "SELECT count(*) FROM deliveries WHERE state != 1") == 0
    assert one(connection, "SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL") == 0
    odd = """
        SELECT count(*) FROM deliveries AS d WHERE (
            SELECT group_concat(number) FROM attempts AS a
            WHERE a.delivery_id = d.id AND a.error IS NULL AND a.status_code BETWEEN 200 AND 299
        ) IS NOT d.attempt_count || ''"""
    assert one(connection, odd) == 0, "a delivery succeeded otherwise than by its last attempt"
