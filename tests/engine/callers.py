"""Connections of every kind on which a caller may publish, each behind the same few words: run, commit, rollback.

A sync connection is used on the event loop ("loop", with ``Tellwire``) or in a thread of its own ("thread", with
``SyncTellwire``). Imported by the processes that the tests crash, too.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from inspect import isawaitable
from typing import Any, NamedTuple

import aiosqlite
import asyncpg
import psycopg
import psycopg2
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tellwire import Options, Receipt, SyncTellwire, Tellwire


class Mode(NamedTuple):
    """A kind of connection, the database that it is on, and where it is used."""

    kind: str
    store: str
    face: str = "loop"

    def __str__(self) -> str:
        return "-".join(self)


ASYNC = [
    Mode("aiosqlite", "sqlite"),
    Mode("AsyncConnection+aiosqlite", "sqlite"),
    Mode("AsyncSession+aiosqlite", "sqlite"),
    Mode("asyncpg", "postgres"),
    Mode("psycopg_async", "postgres"),
    Mode("AsyncConnection+asyncpg", "postgres"),
    Mode("AsyncSession+asyncpg", "postgres"),
    Mode("AsyncConnection+psycopg", "postgres"),
]
SYNC_KINDS = [
    ("sqlite3", "sqlite"),
    ("Connection+pysqlite", "sqlite"),
    ("Session+pysqlite", "sqlite"),
    ("django", "sqlite"),
    ("psycopg", "postgres"),
    ("psycopg2", "postgres"),
    ("Connection+psycopg", "postgres"),
    ("Session+psycopg2", "postgres"),
    ("django", "postgres"),
]
SYNC = [Mode(*kind, face) for kind in SYNC_KINDS for face in ("loop", "thread")]
MODES = ASYNC + SYNC


class Caller:
    """Somebody with a connection and an open transaction, who publishes in it."""

    def __init__(self, mode: Mode, tellwire: Tellwire, url: str, options: Options) -> None:
        self.connection: Any = None
        self._mode = mode
        self._tellwire = tellwire
        self._thread = ThreadPoolExecutor(1) if mode.face == "thread" else None
        self._sync = SyncTellwire(url, options) if self._thread else None
        self._url = url
        self._ends: list[Callable[[], Any]] = []
        self._atomic: Any = None

    async def do(self, what: Callable[[], Any]) -> Any:
        """Do it where the connection is used."""
        if self._thread:
            context = copy_context()  # as frameworks do that call their users in threads
            return await asyncio.get_running_loop().run_in_executor(self._thread, context.run, what)
        result = what()
        return await result if isawaitable(result) else result

    async def open(self) -> None:
        if self._sync:
            await asyncio.to_thread(self._sync.open)
        opened = self._open
        await self.do(opened)
        if self._mode.kind == "asyncpg":
            await self.run("BEGIN")
        if self._mode.kind == "django":
            await self.do(self._begin_atomic)

    async def close(self) -> None:
        for end in reversed(self._ends):
            await self.do(end)
        if self._sync:
            await asyncio.to_thread(self._sync.close)
        if self._thread:
            self._thread.shutdown()

    async def publish(self, type: str, data: Any, **rest: Any) -> Receipt:
        """``publish`` on the connection, by the face that belongs to it."""
        found: Receipt = await self.do(
            lambda: (self._sync or self._tellwire).publish(type, data, connection=self.connection, **rest)
        )
        return found

    async def publish_many(self, events: list[Any]) -> list[Receipt]:
        found: list[Receipt] = await self.do(
            lambda: (self._sync or self._tellwire).publish_many(events, connection=self.connection)
        )
        return found

    async def run(self, sql: str) -> Any:
        """Run a statement of the caller's own."""
        kind = self._mode.kind
        if kind in ("psycopg2", "django"):
            return await self.do(lambda: self.connection.cursor().execute(sql))
        if "Session" in kind:
            return await self.do(lambda: self.connection.execute(text(sql)))
        name = "exec_driver_sql" if "Connection" in kind else "execute"
        return await self.do(lambda: getattr(self.connection, name)(sql))

    async def commit(self) -> None:
        await self._end("commit")

    async def rollback(self) -> None:
        await self._end("rollback")

    async def _end(self, how: str) -> None:
        if self._mode.kind == "asyncpg":
            await self.run(how)
            await self.run("BEGIN")
        elif self._mode.kind == "django":
            await self.do(lambda: self._end_atomic(how))
            await self.do(self._begin_atomic)
        else:
            await self.do(getattr(self.connection, how))

    def _begin_atomic(self) -> None:
        from django.db import transaction

        self._atomic = transaction.atomic(using=self.connection.alias)
        self._atomic.__enter__()

    def _end_atomic(self, how: str) -> None:
        atomic, self._atomic = self._atomic, None
        if atomic is not None:
            if how == "rollback":
                self.connection.set_rollback(True)
            atomic.__exit__(None, None, None)

    def _open(self) -> Any:
        kind, _, driver = self._mode.kind.partition("+")
        if kind.startswith("Async"):
            return self._open_sqlalchemy_async(kind, driver)
        if kind in ("Connection", "Session"):
            return self._open_sqlalchemy(kind, driver)
        if kind in ("aiosqlite", "asyncpg", "psycopg_async"):
            return self._open_async(kind)
        if kind == "django":
            self.connection = django_connection(self._url)
            self._ends += [self.connection.close, lambda: self._end_atomic("rollback")]
            return None
        path = self._url.removeprefix("sqlite:///")
        makers: dict[str, Callable[[], Any]] = {
            "sqlite3": lambda: sqlite3.connect(path),
            "psycopg": lambda: psycopg.connect(self._url),
            "psycopg2": lambda: psycopg2.connect(self._url),
        }
        self.connection = makers[kind]()
        self._ends += [self.connection.close]
        return None

    async def _open_async(self, kind: str) -> None:
        path = self._url.removeprefix("sqlite:///")
        makers: dict[str, Callable[[], Any]] = {
            "aiosqlite": lambda: aiosqlite.connect(path),
            "asyncpg": lambda: asyncpg.connect(self._url),
            "psycopg_async": lambda: psycopg.AsyncConnection.connect(self._url),
        }
        self.connection = await makers[kind]()
        self._ends += [self.connection.close]

    async def _open_sqlalchemy_async(self, kind: str, driver: str) -> None:
        if driver == "aiosqlite":
            engine = create_async_engine(self._url.replace("sqlite:", "sqlite+aiosqlite:"))
        elif driver == "asyncpg":
            engine = create_async_engine(
                "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(self._url)
            )
        else:
            engine = create_async_engine(
                "postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(self._url)
            )
        self._ends += [engine.dispose]
        if kind == "AsyncConnection":
            self.connection = await engine.connect()
        elif driver == "aiosqlite":
            self.connection = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        else:
            self.connection = AsyncSession(engine)
        self._ends += [self.connection.close]

    def _open_sqlalchemy(self, kind: str, driver: str) -> None:
        if driver == "pysqlite":
            engine = create_engine(self._url)
        else:
            connect = psycopg.connect if driver == "psycopg" else psycopg2.connect
            engine = create_engine(f"postgresql+{driver}://", creator=lambda: connect(self._url))
        self._ends += [engine.dispose]
        if kind == "Connection":
            self.connection = engine.connect()
        elif driver == "pysqlite":
            self.connection = scoped_session(sessionmaker(engine))
        else:
            self.connection = Session(engine)
        self._ends += [self.connection.close]


@asynccontextmanager
async def caller(mode: Mode, tellwire: Tellwire, url: str, key: str) -> AsyncIterator[Caller]:
    """A caller in an open transaction; what it has not committed in the end is rolled back."""
    found = Caller(mode, tellwire, url, Options(deliver=False, secret_key=key))
    try:
        await found.open()
        yield found
    finally:
        await found.close()


def django_settings(url: str) -> dict[str, Any]:
    """What Django calls a database."""
    if url.startswith("sqlite:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    parts = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts["dbname"],
        "USER": parts["user"],
        "HOST": parts["host"],
    }


def django_connection(url: str) -> Any:
    """Django's connection to ``url``, under an alias of its own."""
    import django
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        settings.configure(DATABASES={}, LOGGING_CONFIG=None)
        django.setup()
    connections.databases[url] = connections.configure_settings({"default": {}, url: django_settings(url)})[
        url
    ]
    return connections[url]
