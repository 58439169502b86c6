"""The databases under test, SQLite or PostgreSQL: made, looked into, measured. The only SQL beside ``history``."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .postgres import PostgresServer
from .processes import Cpu

SQLITE = "sqlite"
POSTGRES = "postgres"
STORES = (SQLITE, POSTGRES)
TITLES = {SQLITE: "SQLite", POSTGRES: "PostgreSQL"}

Rows = Iterator[tuple[Any, ...]]


@dataclass(frozen=True)
class Recorded:
    """What the database says of the deliveries made since an instant."""

    deliveries: int
    succeeded: int
    pending: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Recorded deliveries a second, from the first publish to the last record."""
        return self.succeeded / self.seconds if self.seconds > 0 else 0.0


class Database(Protocol):
    """One database of either kind."""

    store: str
    url: str
    processes: int
    """How many Tellwire processes work on it."""

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""

    def execute(self, statements: str) -> None:
        """Run statements."""

    def load(self, table: str, columns: tuple[str, ...], rows: Rows) -> None:
        """Add rows in bulk, as fast as can be; nobody else may use the database meanwhile."""

    def tidy(self) -> None:
        """After rows were loaded: statistics, and what else follows."""

    def cpu(self) -> Cpu:
        """CPU time of the database's own processes."""

    def memory_mib(self) -> float | None:
        """Memory of the database's own processes."""

    def literal(self, value: bytes) -> str:
        """Bytes as they stand in a statement."""


class SqliteDatabase:
    """See ``Database``. It has no processes of its own."""

    store = SQLITE

    def __init__(self, path: Path, processes: int = 1) -> None:
        self.path = path
        self.processes = processes
        self.url = f"sqlite:///{path}"

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """See ``Database``."""
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def execute(self, statements: str) -> None:
        """See ``Database``."""
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            connection.executescript(statements)
        finally:
            connection.close()

    def load(self, table: str, columns: tuple[str, ...], rows: Rows) -> None:
        """See ``Database``."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            connection.executescript(
                "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -2000000; BEGIN"
            )
            marks = ",".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})", rows)
            connection.execute("COMMIT")
        finally:
            connection.close()
        self.execute("PRAGMA journal_mode = WAL")

    def tidy(self) -> None:
        """See ``Database``. Tellwire itself keeps no statistics of SQLite files: neither does the benchmark."""

    def cpu(self) -> Cpu:
        """See ``Database``."""
        return Cpu()

    def memory_mib(self) -> float | None:
        """See ``Database``."""
        return None

    def literal(self, value: bytes) -> str:
        """See ``Database``."""
        return f"X'{value.hex()}'"


class PostgresDatabase:
    """See ``Database``."""

    store = POSTGRES

    def __init__(self, server: PostgresServer, name: str, processes: int = 2) -> None:
        self.server = server
        self.processes = processes
        self.name = name
        self.url = server.url_of(name)

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """See ``Database``."""
        return self.server.fetch(self.name, query)

    def execute(self, statements: str) -> None:
        """See ``Database``."""
        self.server.execute(self.name, statements)

    def load(self, table: str, columns: tuple[str, ...], rows: Rows) -> None:
        """See ``Database``."""
        self.server.copy(self.name, table, columns, rows)

    def tidy(self) -> None:
        """See ``Database``: what autovacuum would do sooner or later, so that it does not while we measure."""
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def cpu(self) -> Cpu:
        """See ``Database``."""
        return self.server.cpu()

    def memory_mib(self) -> float | None:
        """See ``Database``."""
        return self.server.memory_mib()

    def literal(self, value: bytes) -> str:
        """See ``Database``."""
        return f"'\\x{value.hex()}'::bytea"


def first_id_of(ms: int) -> bytes:
    """The least id of an instant: ids are ordered by time."""
    return ms.to_bytes(6, "big") + bytes(10)


def anything_pending(database: Database, since: bytes) -> bool:
    """Whether a delivery that is not older than ``since`` is pending; looks at the newest first."""
    return bool(
        database.fetch(
            f"SELECT 1 FROM deliveries WHERE id >= {database.literal(since)} AND state = 0 ORDER BY id DESC LIMIT 1"
        )
    )


def recorded(database: Database, since: bytes) -> Recorded:
    """Count the deliveries that are not older than ``since``."""
    row = database.fetch(
        "SELECT count(*), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 0),"
        " coalesce(max(finished_ms) - min(created_ms), 0)"
        f" FROM deliveries WHERE id >= {database.literal(since)}"
    )[0]
    return Recorded(row[0], row[1], row[2], row[3] / 1000)
