"""The store on SQLite: one file, one writing thread with group commit, readers beside it.

Write-ahead log and ``synchronous=FULL``: a commit that returned survives the loss of power. One connection writes (see
``group_commit``); reads run in a few threads on connections of their own, and neither waits for the other.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool, StaticPool

from tellwire.errors import ClosedError, StoreError, StoreUnavailableError, TellwireError
from tellwire.signing.vault import Vault

from .group_commit import (
    BatchedWrite,
    Done,
    GroupCommit,
    InlineGroupCommit,
    Run,
    ThreadedGroupCommit,
    Weigh,
    Work,
    one,
)
from .key_check import check_key
from .migrations.migrate import migrate
from .roster import Roster, refresh
from .sqlite_hot import SqliteHotStatements, driver_of

T = TypeVar("T")

_READERS = 4
_BUSY_TIMEOUT_S = 5.0
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING and UPDATE ... FROM


class SqliteStore:
    """See ``store.Store``."""

    def __init__(self, path: Path, vault: Vault, *, inline: bool = False) -> None:
        """``inline`` runs everything on the event loop, for simulations in virtual time."""
        self.hot = SqliteHotStatements()
        self._path = path
        self._vault = vault
        self._inline = inline
        self._roster = Roster()
        self._data_version = -1
        self._commits: GroupCommit | None = None
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="tellwire-reader")
        self._registered: list[tuple[BatchedWrite, Run, Done, int]] = []

    @property
    def roster(self) -> Roster:
        """The control plane as of the last transaction of this process, or of the last ``look``."""
        return self._roster

    async def open(self) -> None:
        """Connect, migrate, check that the secret key fits, read the roster.

        Raises:
            StoreUnavailableError: the file cannot be opened or written.
            StoreVersionError: it was written by a newer Tellwire.
            SettingsError: its secrets were sealed with another key.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: Tellwire needs 3.35 or newer")
        self._loop = asyncio.get_running_loop()
        self._write_engine = _engine(self._path, writes=True)
        self._read_engine = _engine(self._path, writes=False)
        if self._inline:
            self._open_writer()
            commits: type[GroupCommit] = InlineGroupCommit
        else:
            await asyncio.to_thread(self._open_writer)
            commits = ThreadedGroupCommit
        self._commits = commits(self._transact, self._loop)
        # Control-plane changes come first in a batch: they are few, and the rest routes by them.
        self._changes = self._commits.register(self._run_changes, _settle, max_weight=50)

    async def close(self) -> None:
        """Write what waits, then disconnect."""
        if self._commits is None:
            return
        commits, self._commits = self._commits, None
        if self._inline:
            commits.close()
        else:
            await asyncio.to_thread(commits.close)
            # Whatever the last transaction has to tell is told before the connections go; what its stages answer with
            # (claims to give back, say) is written too.
            await asyncio.sleep(0)
            commits.drain()
        self._readers.shutdown(wait=True)
        self._connection.close()
        self._write_engine.dispose()
        self._read_engine.dispose()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` on a snapshot that includes everything acknowledged so far."""
        self._opened()
        if self._inline:
            return self._read(query)
        return await self._loop.run_in_executor(self._readers, self._read, query)

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run ``change`` in a transaction; when this returns, it is durable. If it raises, nothing was changed."""
        self._opened()
        future: asyncio.Future[T] = self._loop.create_future()
        self._changes.submit((change, future))
        return await future

    def batched(self, run: Run, done: Done, *, max_weight: int, weigh: Weigh = one) -> BatchedWrite:
        """Register a stage's hot write; call it after ``open``."""
        return self._opened().register(run, done, max_weight, weigh)

    def roster_in(self, connection: Connection) -> Roster:
        """The control plane as this very transaction sees it."""
        return refresh(connection, self._roster, self._vault, self.hot.revision(connection))

    async def look(self) -> bool:
        """Look whether another process has changed the database since the last look."""
        return await self.write(self._look)

    def _look(self, connection: Connection) -> bool:
        # data_version changes only through other connections than the one that asks: not through this process.
        version: int = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        changed, self._data_version = version != self._data_version, version
        return changed

    def _opened(self) -> GroupCommit:
        if self._commits is None:
            raise ClosedError("the store is not open")
        return self._commits

    def _open_writer(self) -> None:
        try:
            _make_private(self._path)
            with _translated(self._path):
                self._connection = self._write_engine.connect()
                with self._connection.begin():
                    migrate(self._connection)
                    check_key(self._connection, self._vault)
                    self._roster = self.roster_in(self._connection)
        except BaseException:
            self._write_engine.dispose()
            raise

    def _read(self, query: Callable[[Connection], T]) -> T:
        with _translated(self._path), self._read_engine.connect() as connection:
            return query(connection)

    def _transact(self, work: Work) -> list[list[Any]]:
        """Write one batch. If it fails for a reason of its own, every item gets a transaction of its own."""
        try:
            return self._commit(work)
        except StoreUnavailableError as error:
            return [[error] * len(items) for _, items in work]
        except Exception as error:
            if sum(len(items) for _, items in work) == 1:
                return [[error]]
        return [[self._transact([(write, [item])])[0][0] for item in items] for write, items in work]

    def _commit(self, work: Work) -> list[list[Any]]:
        with _translated(self._path):
            with self._transaction():
                outcomes = [write.run(self._connection, items) for write, items in work]
                roster = self.roster_in(self._connection)
            self._roster = roster
        return outcomes

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction by the driver's own means: beginning and ending one in SQLAlchemy costs as much as some events.

        Where a change uses SQLAlchemy inside, its own transaction begins without a word and ends with nothing to do.
        """
        driver = driver_of(self._connection)
        driver.execute("BEGIN IMMEDIATE")
        try:
            yield
            driver.execute("COMMIT")
        except BaseException:
            if driver.in_transaction:  # a full disk may have ended it already
                driver.execute("ROLLBACK")
            raise
        finally:
            if self._connection.in_transaction():
                self._connection.rollback()

    def _run_changes(self, connection: Connection, items: list[Any]) -> list[Any]:
        # Savepoints by hand: SQLAlchemy's cost more than most changes do.
        driver = driver_of(connection)
        outcomes: list[Any] = []
        for change, _ in items:
            driver.execute("SAVEPOINT change")
            try:
                outcomes.append(change(connection))
            except TellwireError as error:
                outcomes.append(error)
                driver.execute("ROLLBACK TO change")
            driver.execute("RELEASE change")
        return outcomes


def _make_private(path: Path) -> None:
    """Make a new database file that its owner alone can read: payloads and answers are nobody else's business.

    SQLite gives its log the same mode. A file that is there keeps the mode that somebody gave it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError:  # it is there, or cannot be made: then opening it says why
        pass


def _settle(items: list[Any], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(items, outcomes, strict=True):
        if future.done():  # its caller has gone
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """The driver's errors as ours: what is worth another try becomes StoreUnavailableError."""
    try:
        yield
    except (sqlite3.DatabaseError, DatabaseError) as error:
        cause = _first_cause(error)
        if isinstance(cause, sqlite3.OperationalError):
            raise StoreUnavailableError(f"database {path.name}: {cause}") from error
        if (
            type(cause) is sqlite3.DatabaseError
        ):  # its subclasses tell of what was to be stored, not of the file
            raise StoreUnavailableError(f"database {path.name} is damaged or no database: {cause}") from error
        raise


def _first_cause(error: BaseException) -> BaseException:
    """What began it: a full disk also ends the transaction, so that rolling back to its savepoint fails in turn."""
    cause = error
    before: BaseException | None = error
    while before is not None:
        if isinstance(before, sqlite3.Error):
            cause = before
        before = before.__context__
    return cause


def _engine(path: Path, *, writes: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool if writes else QueuePool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S, "cached_statements": 256},
        **({} if writes else {"pool_size": _READERS, "max_overflow": 2}),
    )

    def connect(driver: sqlite3.Connection, _: object) -> None:
        driver.isolation_level = None  # we say BEGIN ourselves: the driver would begin too late
        driver.execute(f"PRAGMA busy_timeout = {int(_BUSY_TIMEOUT_S * 1000)}")
        driver.execute("PRAGMA foreign_keys = ON")
        if writes:
            driver.execute("PRAGMA journal_mode = WAL")
            driver.execute("PRAGMA synchronous = FULL")
            driver.execute("PRAGMA wal_autocheckpoint = 4000")
            driver.execute("PRAGMA cache_size = -32768")
        else:
            driver.execute("PRAGMA query_only = ON")

    def begin(connection: Connection) -> None:
        if not driver_of(connection).in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine
