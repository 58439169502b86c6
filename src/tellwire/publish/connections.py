"""The connections on which a caller may publish: whose class is which, and how each runs a statement.

A part of ``within``. No driver is imported here: a connection is of a class of a library that the caller has imported.
Statements come with SQLite's ``?`` or PostgreSQL's ``$1``, each used once and in order. Errors stay the driver's own.
"""

import re
import sys
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from tellwire.errors import InvalidInputError
from tellwire.store.within import Rows

_SYNC_KINDS: Final = "SQLAlchemy's Connection or Session, or one of psycopg, psycopg2, Django or sqlite3"
_ASYNC_KINDS: Final = "SQLAlchemy's AsyncConnection or AsyncSession, or one of asyncpg, psycopg or aiosqlite"
_SQLITE, _POSTGRES = "sqlite", "postgresql"

Execute = Callable[[str, tuple[Any, ...]], Rows | Awaitable[Rows]]


class Caller(msgspec.Struct, frozen=True):
    """A caller's connection: its database's dialect, how to run a statement, and the driver's own connection."""

    dialect: str
    execute: Execute
    driver: Callable[[], Any]
    is_async: bool = False

    def commits_at_once(self) -> bool:
        """Whether the connection is in autocommit mode and in no transaction. Ask after the first statement."""
        driver = self.driver()
        if hasattr(driver, "is_in_transaction"):  # asyncpg
            return not driver.is_in_transaction()
        if hasattr(driver, "info"):  # psycopg, psycopg2
            return bool(driver.autocommit) and not driver.info.transaction_status
        if driver.in_transaction:  # sqlite3, aiosqlite
            return False
        return driver.isolation_level is None or getattr(driver, "autocommit", None) is True


def sync_caller(connection: Any) -> Caller:
    """The caller behind a sync connection.

    Raises:
        InvalidInputError: it is none, or an async one: that is for the event loop on which it was made.
    """
    for module, name, make in _SYNC:
        if _is_a(connection, module, name):
            return make(connection)
    for module, name, _ in _ASYNC:
        if _is_a(connection, module, name):
            raise _refused(f"is async ({_name_of(connection)}): publish on its event loop, with Tellwire")
    raise _refused(f"is a {_name_of(connection)}; it must be {_SYNC_KINDS}")


async def any_caller(connection: Any) -> Caller:
    """The caller behind a connection, async or sync.

    Raises:
        InvalidInputError: it is none.
    """
    for module, name, make in _ASYNC:
        if _is_a(connection, module, name):
            return await make(connection)
    for module, name, make_sync in _SYNC:
        if _is_a(connection, module, name):
            return make_sync(connection)
    raise _refused(f"is a {_name_of(connection)}; it must be {_ASYNC_KINDS}, or sync: {_SYNC_KINDS}")


async def _async_session(session: Any) -> Caller:
    await session.flush()  # what it has not written yet comes before the event
    return await _async_connection(await session.connection())


async def _async_connection(connection: Any) -> Caller:
    run, marks = connection.exec_driver_sql, _marks_of(connection.dialect)

    async def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        result = await run(marks(sql), values)
        return result.all() if result.returns_rows else []

    return Caller(connection.dialect.name, execute, partial(_driver_of, connection.sync_connection), True)


async def _asyncpg(connection: Any) -> Caller:
    async def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        return await connection.fetch(sql, *values)  # type: ignore[no-any-return]

    return Caller(_POSTGRES, execute, lambda: connection, True)


async def _psycopg_async(connection: Any) -> Caller:
    psycopg = sys.modules["psycopg"]

    async def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        # Not the connection's own kind of cursor and row, which may be any.
        async with psycopg.AsyncCursor(connection, row_factory=psycopg.rows.tuple_row) as cursor:
            # In a pipeline statements gather, until somebody asks what came of them.
            if connection.info.pipeline_status:
                async with connection.pipeline() as pipeline:
                    await cursor.execute(_with_percents(sql), values)
                    await pipeline.sync()
            else:
                await cursor.execute(_with_percents(sql), values)
            return await cursor.fetchall() if cursor.description else []

    return Caller(_POSTGRES, execute, lambda: connection, True)


async def _aiosqlite(connection: Any) -> Caller:
    async def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        async with connection.cursor() as cursor:
            cursor.row_factory = None
            await cursor.execute(sql, values)
            return await cursor.fetchall() if cursor.description else []

    return Caller(_SQLITE, execute, lambda: connection, True)


def _session(session: Any) -> Caller:
    session.flush()
    return _sqlalchemy(session.connection())


def _sqlalchemy(connection: Connection) -> Caller:
    marks = _marks_of(connection.dialect)

    def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        result = connection.exec_driver_sql(marks(sql), values)
        return result.all() if result.returns_rows else []

    return Caller(connection.dialect.name, execute, partial(_driver_of, connection))


def _psycopg(connection: Any) -> Caller:
    psycopg = sys.modules["psycopg"]
    by_cursor = partial(_by_cursor, partial(psycopg.Cursor, connection, row_factory=psycopg.rows.tuple_row))

    def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        if not connection.info.pipeline_status:
            return by_cursor(sql, values)
        with connection.pipeline() as pipeline:
            return by_cursor(sql, values, pipeline.sync)

    return Caller(_POSTGRES, execute, lambda: connection)


def _psycopg2(connection: Any) -> Caller:
    cursor = partial(connection.cursor, cursor_factory=sys.modules["psycopg2.extensions"].cursor)
    return Caller(_POSTGRES, partial(_by_cursor, cursor), lambda: connection)


def _sqlite3(connection: Any) -> Caller:
    def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        cursor = connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, values).fetchall()  # type: ignore[no-any-return]

    return Caller(_SQLITE, execute, lambda: connection)


def _django(connection: Any) -> Caller:
    """Django's connection: by the driver's own below it, since Django's cursors want another kind of marks."""
    try:
        connection.ensure_connection()
    except Exception as error:
        if type(error).__name__ != "SynchronousOnlyOperation":
            raise
        raise _refused(
            "is Django's, which Django lets nobody use where an event loop runs: publish with SyncTellwire "
            "from sync code (sync_to_async leads there)"
        ) from error
    connection.validate_thread_sharing()
    connection.validate_no_broken_transaction()
    inner = sync_caller(connection.connection)

    def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        with connection.wrap_database_errors:
            return inner.execute(sql, values)  # type: ignore[return-value] # it is sync

    return Caller(inner.dialect, execute, inner.driver)


def _by_cursor(
    make: Callable[[], Any], sql: str, values: tuple[Any, ...], sync: Callable[[], None] = lambda: None
) -> Rows:
    with make() as cursor:
        cursor.execute(_with_percents(sql), values)
        sync()
        return cursor.fetchall() if cursor.description else []


def _driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _marks_of(dialect: Any) -> Callable[[str], str]:
    """How the driver below SQLAlchemy writes the place of a value."""
    if dialect.driver in ("pysqlite", "aiosqlite", "asyncpg"):
        return str
    if dialect.driver.startswith("psycopg"):
        return _with_percents
    raise _refused(
        f"is on {dialect.name} by {dialect.driver}: Tellwire knows asyncpg, psycopg, psycopg2 and sqlite3"
    )


@cache
def _with_percents(sql: str) -> str:
    return re.sub(r"\$\d+", "%s", sql)


def _is_a(found: object, module: str, name: str) -> bool:
    """Whether ``found`` is of a class of a library that is imported already, if at all."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(found, kind)


def _name_of(found: object) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}".removeprefix("builtins.")


def _refused(msg: str) -> InvalidInputError:
    return InvalidInputError.at("connection", msg=msg)


_ASYNC: Final[tuple[tuple[str, str, Callable[[Any], Awaitable[Caller]]], ...]] = (
    ("sqlalchemy.ext.asyncio", "AsyncSession", _async_session),
    ("sqlalchemy.ext.asyncio", "AsyncConnection", _async_connection),
    ("sqlalchemy.ext.asyncio", "async_scoped_session", lambda scoped: _async_session(scoped())),
    ("asyncpg", "Connection", _asyncpg),
    ("psycopg", "AsyncConnection", _psycopg_async),
    ("aiosqlite", "Connection", _aiosqlite),
)

_SYNC: Final[tuple[tuple[str, str, Callable[[Any], Caller]], ...]] = (
    ("sqlalchemy.orm", "Session", _session),
    ("sqlalchemy", "Connection", _sqlalchemy),
    ("sqlalchemy.orm", "scoped_session", lambda scoped: _session(scoped())),
    ("psycopg", "Connection", _psycopg),
    ("psycopg2.extensions", "connection", _psycopg2),
    ("django.db.backends.base.base", "BaseDatabaseWrapper", _django),
    ("django.utils.connection", "ConnectionProxy", _django),
    ("sqlite3", "Connection", _sqlite3),
)
