"""The SQLite file itself: made private, opened with the pragmas that durability needs, its errors as ours."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool, StaticPool

from tellwire.errors import StoreUnavailableError

from .migrations.migrate import stored_version
from .sqlite_hot import driver_of

READERS = 4
LOCK_WAIT_S = 5.0
_ASK_AGAIN_S: Final = 0.005
LOG_PAGES: Final = 16_000
"""So much (64 MB) the log holds before it is copied into the file. Events for many endpoints change pages of indexes
all over a large file: the more of them fall on a page before it is copied, the less is written."""


def make_private(path: Path) -> None:
    """Make a new database file that its owner alone can read: payloads and answers are nobody else's business.

    SQLite gives its log the same mode. A file that is there keeps the mode that somebody gave it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError:  # it is there, or cannot be made: then opening it says why
        pass


@contextmanager
def translated(path: Path) -> Iterator[None]:
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


def open_engine(path: Path, *, writes: bool) -> Engine:
    """For the one connection that writes, or for those that only read."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool if writes else QueuePool,
        connect_args={"check_same_thread": False, "timeout": LOCK_WAIT_S, "cached_statements": 256},
        hide_parameters=True,  # errors are logged; what events and secrets are is not
        **({} if writes else {"pool_size": READERS, "max_overflow": 2}),
    )

    def connect(driver: sqlite3.Connection, _: object) -> None:
        driver.isolation_level = None  # we say BEGIN ourselves: the driver would begin too late
        driver.execute("PRAGMA foreign_keys = ON")
        if writes:
            _write_ahead(driver)
            driver.execute("PRAGMA synchronous = FULL")
            driver.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            driver.execute("PRAGMA cache_size = -32768")
        else:
            driver.execute("PRAGMA query_only = ON")

    def begin(connection: Connection) -> None:
        if not driver_of(connection).in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine


def _write_ahead(driver: sqlite3.Connection) -> None:
    """Have the file use the write-ahead log. SQLite refuses it at once where another process makes the file, too."""
    gives_up_at = monotonic() + LOCK_WAIT_S
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() >= gives_up_at:
                raise
        sleep(_ASK_AGAIN_S)


def stored_version_in(path: Path) -> str | None:
    """The newest migration that the file has seen, or None; nothing is changed. Raises StoreUnavailableError."""
    if not path.exists():
        return None
    engine = create_engine(f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true")
    try:
        with translated(path), engine.connect() as connection:
            return stored_version(connection)
    finally:
        engine.dispose()
