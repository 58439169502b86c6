"""The store on SQLite: one file, one writing connection with group commit, readers beside it.

What is told to be committed is in the write-ahead log, and that is synced (``sqlite_sync``): it survives the loss of
power. The few statements of the hot path run on the event loop, one after the other; what may take long, a sync or a
change of any length, is left to a thread. Reads run in a few threads on connections of their own.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from tellwire.ending import end
from tellwire.errors import ClosedError, StoreError, TellwireError
from tellwire.signing.vault import Vault
from tellwire.telemetry import Telemetry

from .group_commit import (
    BUSY_ITEMS,
    LINGER_S,
    BatchedWrite,
    Done,
    GroupCommit,
    Run,
    Weigh,
    Work,
    one,
    settle,
)
from .key_check import check_key
from .migrations.migrate import migrate
from .news import note, noted
from .probe import write_something
from .roster import Roster, refresh
from .rows import PoolUse
from .sqlite_bell import Bell
from .sqlite_file import LOCK_WAIT_S, LOG_PAGES, READERS, make_private, open_engine, translated
from .sqlite_hot import SqliteHotStatements, driver_of
from .sqlite_log import Log, copy_rest
from .sqlite_order import SqliteOrderStatements
from .sqlite_rollups import SqliteRollupStatements
from .sqlite_sync import LogSync
from .sqlite_within import SqliteWithin

T = TypeVar("T")

_LOOK_EVERY_S = 0.25
_ASK_AGAIN_S = 0.001
"""How often who wants to write asks whether the other process has ended; measured: docs/adr/0018. uvloop counts in
milliseconds, and takes half of one for none."""
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING and UPDATE ... FROM

_log = logging.getLogger(__name__)


class SqliteStore:
    """See ``store.Store``."""

    def __init__(
        self,
        path: Path,
        vault: Vault,
        *,
        inline: bool = False,
        lock_wait_s: float = LOCK_WAIT_S,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """``inline`` runs everything on the event loop, for simulations in virtual time; ``lock_wait_s`` is for
        another process to end its transaction; ``on_change`` is called when another process has written."""
        self.hot = SqliteHotStatements()
        self.in_order = SqliteOrderStatements()
        self.rollups = SqliteRollupStatements()
        self.within = SqliteWithin()
        self._path = path
        self._vault = vault
        self._inline = inline
        self._lock_wait_s = lock_wait_s
        self._telemetry = Telemetry()
        self._roster = Roster()
        self._on_change = on_change
        self._data_version = -1
        self._shared = False  # another process writes, too, and uses the cores
        self._looking: asyncio.Task[None] | None = None
        self._bell = Bell(path)
        self._log: Log | None = None
        self._sync: LogSync | None = None
        self._commits: GroupCommit | None = None

    @property
    def roster(self) -> Roster:
        """The control plane as of the last transaction of this process, or a quarter of a second ago."""
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
        self._write_engine = open_engine(self._path, writes=True)
        self._read_engine = open_engine(self._path, writes=False)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="tellwire-reader")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="tellwire-writer")
        if not self._inline:
            self._log = Log(self._path, LOG_PAGES)
        await self._aside(self._open_writer)
        linger_s = 0.0 if self._inline else LINGER_S
        self._commits = GroupCommit(self._commit, self._loop, linger_s=linger_s, telemetry=self._telemetry)
        # Control-plane changes come first in a batch: they are few, and the rest routes by them.
        self._changes = self._commits.register(self._run_changes, settle, max_weight=50, stage="change")
        if self._on_change is not None:
            if not self._inline:
                self._bell.open(self._loop)
            self._looking = self._loop.create_task(self._look_on(self._on_change), name="tellwire-look")

    async def close(self) -> None:
        """Write what waits, then disconnect."""
        if self._commits is None:
            return
        if self._looking is not None:
            await end([self._looking])
        commits, self._commits = self._commits, None
        await commits.close()
        self._bell.close()
        if self._log is not None:
            self._log.close()
        if self._sync is not None:
            self._sync.close()
        self._readers.shutdown(wait=True)
        self._writer.shutdown(wait=True)
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

    async def try_writing(self) -> None:
        """Write, as everything is written. Raises StoreError."""
        await self.write(write_something)

    def batched(
        self,
        run: Run,
        done: Done,
        *,
        max_weight: int,
        weigh: Weigh = one,
        patient: bool = False,
        stage: str = "other",
    ) -> BatchedWrite:
        """Register a stage's hot write; call it after ``open``."""
        return self._opened().register(run, done, max_weight, weigh, patient=patient, stage=stage)

    def tell(self, telemetry: Telemetry) -> None:
        """Tell ``telemetry`` of each commit; call it before ``open``."""
        self._telemetry = telemetry

    @property
    def connections(self) -> tuple[PoolUse, ...]:
        """None that would be worth counting."""
        return ()

    def roster_in(self, connection: Connection) -> Roster:
        """The control plane as this very transaction sees it."""
        return refresh(connection, self._roster, self._vault, self.hot.revision(connection))

    async def _look_on(self, on_change: Callable[[], None]) -> None:
        """Look again and again whether another process has written; the roster is brought up to date by that."""
        while True:
            await self._bell.rung(_LOOK_EVERY_S)
            try:
                self._shared = await self.write(self._look)
                if self._shared:
                    on_change()
            except Exception as error:  # whoever uses the database hears of it
                _log.debug("not up to date: %r", error)

    async def drop_days(self, before_ms: int) -> int:
        """Nothing: days are not kept apart."""
        return before_ms

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
            make_private(self._path)
            with translated(self._path):
                self._connection = self._write_engine.connect()
                with self._connection.begin():
                    migrate(self._connection)
                    check_key(self._connection, self._vault)
                    self._roster = self.roster_in(self._connection)
                    self._look(self._connection)
                driver = driver_of(self._connection)
                driver.execute("PRAGMA busy_timeout = 0")  # see _begin
                # How to undo a statement of many rows is noted, in a new file for each transaction unless we say so.
                # Migrations, which may sort millions of rows for an index, have their files.
                driver.execute("PRAGMA temp_store = MEMORY")
                if self._log is not None:
                    self._sync = LogSync(self._path, self._aside)
                    driver.execute("PRAGMA synchronous = NORMAL")
                    # What is copied beside the writing, no commit is to copy, unless that does not keep up.
                    driver.execute(f"PRAGMA wal_autocheckpoint = {2 * LOG_PAGES}")
        except BaseException:
            self._write_engine.dispose()
            raise

    def _read(self, query: Callable[[Connection], T]) -> T:
        with translated(self._path), self._read_engine.connect() as connection:
            return query(connection)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Do what may take long in the writer's thread, to its end even where the caller is cancelled."""
        if self._inline:
            return work()
        future = self._loop.run_in_executor(self._writer, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def _commit(self, work: Work) -> list[list[Any]]:
        """One transaction by the driver's own means: SQLAlchemy's costs as much as some events.

        Where a change uses SQLAlchemy inside, its own transaction begins without a word and ends with nothing to do.
        """
        driver = driver_of(self._connection)
        with translated(self._path):
            try:
                if self._sync is not None:
                    await self._sync.settle(driver)
                await self._begin(driver)
                outcomes: list[list[Any]] = []
                for write, items in work:
                    run = partial(write.run, self._connection, items)
                    outcomes.append(await self._aside(run) if write is self._changes else run())
                roster = self.roster_in(self._connection)
                left_ms = noted(self._connection)
                if self._sync is not None:
                    self._sync.look(driver)
                self._end(driver)
            except BaseException:
                if driver.in_transaction:  # a full disk may have ended it already
                    driver.execute("ROLLBACK")
                raise
            finally:
                if self._connection.in_transaction():
                    self._connection.rollback()
        self._roster = roster
        if left_ms == 0:
            self._bell.ring()
        if self._sync is not None:
            many = sum(len(items) for _, items in work) >= BUSY_ITEMS
            await self._sync.harden(beside=many and not self._shared)
        if self._log is not None and self._log.leaves_a_rest():
            with suppress(sqlite3.Error):  # what is committed is committed; the next commits hear of the disk
                await self._aside(partial(copy_rest, driver))
        return outcomes

    async def _begin(self, driver: sqlite3.Connection) -> None:
        """Begin, at once where nobody else writes; where another process does, ask again every moment.

        SQLite's own waiting blocks a thread and asks ever more seldom: up to 100 ms late, behind others who came later.
        """
        gives_up_at = self._loop.time() + self._lock_wait_s
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or self._loop.time() >= gives_up_at:
                    raise
            await asyncio.sleep(_ASK_AGAIN_S)

    def _end(self, driver: sqlite3.Connection) -> None:
        """Commit: what was changed is in the log then, and the lock free."""
        driver.execute("COMMIT")

    def _run_changes(self, connection: Connection, items: list[Any]) -> list[Any]:
        # Savepoints by hand: SQLAlchemy's cost more than most changes do.
        driver = driver_of(connection)
        changed = driver.total_changes
        outcomes: list[Any] = []
        for change, _ in items:
            driver.execute("SAVEPOINT change")
            try:
                outcomes.append(change(connection))
            except TellwireError as error:
                outcomes.append(error)
                driver.execute("ROLLBACK TO change")
            driver.execute("RELEASE change")
        if driver.total_changes != changed:
            note(connection)
        return outcomes
