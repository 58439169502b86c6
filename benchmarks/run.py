"""One run of the benchmark: what was asked for, where files go, and the databases that it makes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .databases import SQLITE, Database, PostgresDatabase, SqliteDatabase
from .postgres import PostgresServer


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line."""

    stores: tuple[str, ...]
    quick: bool = False
    processes: int = 2
    seconds: float | None = None
    profile: Path | None = None
    keep: Path | None = None
    points: tuple[tuple[int, int], ...] | None = None
    prepare: bool = False


@dataclass
class Run:
    """One run. Everything lies below ``here``, except for what ``keep`` keeps for the next run."""

    here: Path
    asked: Asked
    stack: ExitStack
    found: dict[Any, Any] = field(default_factory=dict)
    """What one scenario has measured and another needs, too."""
    _made: int = 0

    def seconds(self, full: float, quick: float) -> float:
        """How long to offer load."""
        return self.asked.seconds or (quick if self.asked.quick else full)

    def counts(self, store: str) -> tuple[int, ...]:
        """With how many processes to measure what several can do: on SQLite one alone, too."""
        several = self.asked.processes
        return (1, several) if store == SQLITE and several > 1 else (several,)

    def folder(self, name: str) -> Path:
        """A new folder."""
        self._made += 1
        folder = self.here / f"{self._made:02d}-{name}"
        folder.mkdir()
        return folder

    @contextmanager
    def database(self, store: str, processes: int | None = None) -> Iterator[Database]:
        """A new and empty database, gone afterwards; on SQLite for one process, where nothing else is said."""
        folder = self.folder(store)
        if store == SQLITE:
            yield SqliteDatabase(folder / "bench.db", processes or 1)
            shutil.rmtree(folder)
            return
        name = f"bench{self._made}"
        self.postgres.create(name)
        try:
            yield PostgresDatabase(self.postgres, name, processes or self.asked.processes)
        finally:
            self.postgres.drop(name)

    def kept_database(self, store: str, name: str, fill: Callable[[Database], None]) -> Database:
        """A database that the next run with the same ``keep`` finds again; made by ``fill`` if it is not there."""
        if store == SQLITE:
            return self._kept_file(name, fill)
        server = self.kept_postgres
        if not server.has(name):
            draft = f"{name}_draft"
            server.drop(draft)  # of a run that was ended
            server.create(draft)
            fill(PostgresDatabase(server, draft))
            server.rename(draft, name)
        return PostgresDatabase(server, name)

    def drop_kept(self, database: Database) -> None:
        """Do not keep this one."""
        if isinstance(database, SqliteDatabase):
            shutil.rmtree(database.path.parent)
        elif isinstance(database, PostgresDatabase):
            database.server.drop(database.name)

    def _kept_file(self, name: str, fill: Callable[[Database], None]) -> Database:
        folder, draft = self._kept / name, self._kept / f"{name}_draft"
        if not folder.exists():
            shutil.rmtree(draft, ignore_errors=True)  # of a run that was ended
            draft.mkdir()
            fill(SqliteDatabase(draft / "bench.db"))
            draft.rename(folder)
        return SqliteDatabase(folder / "bench.db")

    @cached_property
    def postgres(self) -> PostgresServer:
        """The server for all databases of this run."""
        return self._started(self.here / "postgres")

    @cached_property
    def kept_postgres(self) -> PostgresServer:
        """The server for the databases that are kept."""
        if self.asked.keep is None:
            return self.postgres
        return self._started(self._kept / "postgres")

    @property
    def _kept(self) -> Path:
        folder = self.asked.keep or self.here / "kept"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _started(self, folder: Path) -> PostgresServer:
        server = PostgresServer(folder)
        self.stack.callback(server.close)
        return server
