"""Publishing in the caller's own transaction, on connections that callers have made their own in some way."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import psycopg.rows
import psycopg2
import psycopg2.extras
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.postgres import database_in, start_server, url_of

from tellwire import ConflictError, Receipt
from tellwire.store import postgres_within

from .callers import Mode, caller, django_connection
from .conftest import WAIT_S
from .embedded import KEY
from .test_within import both, stored, tellwire_on, url_for
from .test_within_trouble import started


class Base(DeclarativeBase):
    """The caller's own tables."""


class Order(Base):
    """What is paid."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


async def test_a_session_writes_what_it_has_before_the_event(tmp_path: Path) -> None:
    """What the caller has added, and no statement has sent yet, fails before the event is stored, or stands with it."""
    path = tmp_path / "tellwire.db"
    async with tellwire_on(f"sqlite:///{path}", deliver=False) as tellwire:
        engine, async_engine = (
            create_engine(f"sqlite:///{path}"),
            create_async_engine(f"sqlite+aiosqlite:///{path}"),
        )
        Base.metadata.create_all(engine)
        with Session(engine, autoflush=False) as session:
            session.add(Order(id="o_1"))
            await tellwire.publish("order.paid", {}, connection=session)
            assert not session.new
            session.commit()
        async with AsyncSession(async_engine, autoflush=False) as async_session:
            async_session.add(Order(id="o_2"))
            await tellwire.publish("order.paid", {}, connection=async_session)
            assert not async_session.new
            await async_session.commit()
        engine.dispose()
        await async_engine.dispose()
        assert len(await stored(tellwire)) == 2


def upside_down(cursor: Any, row: tuple[Any, ...]) -> dict[str, Any]:
    """Rows as the caller likes them."""
    return {f"the {name[0]}": value for name, value in zip(cursor.description, row, strict=True)}


async def sync_sqlite(url: str) -> Any:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.row_factory = upside_down
    return connection


async def async_sqlite(url: str) -> Any:
    connection = await aiosqlite.connect(url.removeprefix("sqlite:///"))
    connection.row_factory = upside_down  # type: ignore[assignment]  # aiosqlite knows of sqlite3.Row alone
    return connection


async def sync_psycopg(url: str) -> Any:
    return psycopg.connect(url, row_factory=psycopg.rows.dict_row)


async def raw_cursors(url: str) -> Any:
    return psycopg.connect(url, cursor_factory=psycopg.RawCursor)


async def async_psycopg(url: str) -> Any:
    return await psycopg.AsyncConnection.connect(url, row_factory=psycopg.rows.dict_row)


async def old_psycopg(url: str) -> Any:
    return psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)


async def own_records(url: str) -> Any:
    connection = await asyncpg.connect(url, record_class=type("Own", (asyncpg.Record,), {}))
    await connection.execute("BEGIN")
    return connection


@pytest.mark.parametrize(
    "connect",
    [sync_sqlite, async_sqlite, sync_psycopg, raw_cursors, async_psycopg, old_psycopg, own_records],
    ids=lambda connect: connect.__name__,
)
async def test_rows_may_be_of_any_kind(connect: Callable[[str], Any], tmp_path: Path) -> None:
    """What a caller's statements give him is his choice; ours are not touched by it, nor his by ours."""
    sqlite = "sqlite" in connect.__name__
    url = f"sqlite:///{tmp_path / 'tellwire.db'}" if sqlite else database_in(tmp_path)
    async with tellwire_on(url, deliver=False) as tellwire:
        connection = await connect(url)
        first = await tellwire.publish("a.b", {}, connection=connection, idempotency_key="k")
        again = await tellwire.publish("a.b", {}, connection=connection, idempotency_key="k")
        assert (again.id, again.duplicate) == (first.id, True)
        ended = (
            connection.execute("COMMIT")
            if isinstance(connection, asyncpg.Connection)
            else connection.commit()
        )
        if ended is not None:
            await ended
        closed = connection.close()
        if closed is not None:
            await closed
        assert await stored(tellwire) == [first.id]


@pytest.mark.parametrize("mode", [Mode("asyncpg", "postgres"), Mode("aiosqlite", "sqlite")], ids=str)
async def test_an_endpoint_that_another_process_has_just_made(mode: Mode, tmp_path: Path) -> None:
    """It gets what is published next on a caller's connection, though nobody has told this process yet."""
    async with both(mode, tmp_path, deliver=False) as (tellwire, found):
        await found.publish("a.b", {})
        await found.rollback()
        if mode.store == "postgres":
            await tellwire._store._news.close()  # type: ignore[attr-defined]
        async with tellwire_on(url_for(mode, tmp_path), deliver=False) as other:
            await other.endpoints.create("http://127.0.0.1:9999/", events=["*"])
        assert (await found.publish("a.b", {})).deliveries == 1
        await found.rollback()


async def test_an_event_without_its_deliveries_is_no_event(tmp_path: Path) -> None:
    """Where not all can be stored, nothing of it is left in the caller's transaction, which he may commit."""
    async with both(Mode("sqlite3", "sqlite"), tmp_path, deliver=False) as (tellwire, found):
        await tellwire.endpoints.create("http://127.0.0.1:9999/", events=["*"])
        await found.run(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON main.deliveries BEGIN SELECT RAISE(ABORT, 'is full'); END"
        )
        with pytest.raises(sqlite3.IntegrityError, match="is full"):
            await found.publish("a.b", {})
        await found.run("DROP TRIGGER full")
        kept = await found.publish("a.c", {})
        await found.commit()
        assert await stored(tellwire) == [kept.id]


async def test_tables_of_the_caller_s_with_our_names(tmp_path: Path) -> None:
    """SQLite takes temporary tables first: they never stand in for Tellwire's."""
    async with both(Mode("sqlite3", "sqlite"), tmp_path, deliver=False) as (tellwire, found):
        for name in ("events", "deliveries", "revisions"):
            await found.run(f"CREATE TEMP TABLE {name} (id)")
        receipt = await found.publish("a.b", {}, idempotency_key="k")
        assert (await found.publish("a.b", {}, idempotency_key="k")).duplicate
        await found.commit()
        assert await stored(tellwire) == [receipt.id]


async def test_what_was_set_for_a_wait_is_set_back(tmp_path: Path) -> None:
    """Where a key had to be waited for on the event loop, the caller's transaction has its own lock_timeout again."""
    async with both(Mode("psycopg", "postgres"), tmp_path, deliver=False) as (_, found):
        await found.run("SET lock_timeout = '17s'")
        await found.publish("a.b", {}, idempotency_key="k")
        assert (await found.run("SHOW lock_timeout")).fetchone() == ("17s",)
        await found.rollback()


async def test_a_key_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that holds a key and does not end: whoever waits on the event loop hears of it; his goes on."""
    monkeypatch.setattr(postgres_within, "PATIENCE_MS", 50)
    async with both(Mode("psycopg", "postgres"), tmp_path, deliver=False) as (tellwire, second):
        async with caller(Mode("asyncpg", "postgres"), tellwire, database_in(tmp_path), KEY) as first:
            await first.publish("a.b", {}, idempotency_key="k")
            with pytest.raises(ConflictError, match="has not ended"):
                async with asyncio.timeout(WAIT_S):
                    await second.publish("a.b", {}, idempotency_key="k")
            kept = await second.publish("a.c", {})
            await second.commit()
        assert await stored(tellwire) == [kept.id]


@pytest.mark.parametrize("ordering_key", [None, "o"], ids=["at once", "in line"])
async def test_a_key_that_a_caller_commits_while_others_publish_it(
    tmp_path: Path, ordering_key: str | None
) -> None:
    """Who publishes under the key of an open transaction waits for it, and gets the receipt of its event."""
    async with both(Mode("asyncpg", "postgres"), tmp_path, deliver=False) as (tellwire, first):
        await tellwire.endpoints.create("http://127.0.0.1:9999/", events=["*"], settings={"order": "key"})
        receipt = await first.publish("a.b", {}, idempotency_key="k", ordering_key=ordering_key)
        publishing = tellwire.publish("a.b", {}, idempotency_key="k", ordering_key=ordering_key)
        waiting = await started(publishing)
        assert not waiting.done()
        await first.commit()
        again: Receipt = await waiting
        assert (again.id, again.duplicate) == (receipt.id, True)


async def test_a_server_that_was_restarted(tmp_path: Path) -> None:
    """It is another place than before, and the caller's new connection is on Tellwire's database all the same.

    Tellwire's own connections were closed while nobody used them: nobody hears of that.
    """
    server = start_server(tmp_path / "postgres")
    url = url_of(server, "postgres")

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Any]:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            yield connection
        await connection.close()

    async with tellwire_on(url, deliver=False) as tellwire:
        async with transaction() as connection:
            await tellwire.publish("a.b", {}, connection=connection)
        await tellwire.tenants.create("before")
        assert len(await stored(tellwire)) == 1
        server.psql("CHECKPOINT;")
        server.stop()
        server.start()
        await asyncio.sleep(
            0.1
        )  # meanwhile the event loop stood still: now it sees that connections have ended
        assert len(await stored(tellwire)) == 1
        await tellwire.tenants.create("afterwards")
        async with transaction() as connection:
            await tellwire.publish("a.b", {}, connection=connection)
        assert len(await stored(tellwire)) == 2


def in_django(url: str, do: Callable[[Any, Any], None]) -> None:
    """Do something with SyncTellwire and Django's connection."""
    from tellwire import Options, SyncTellwire

    connection = django_connection(url)
    try:
        with SyncTellwire(url, Options(secret_key=KEY, deliver=False)) as tellwire:
            do(tellwire, connection)
    finally:
        connection.close()


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_django_s_broken_transaction_is_refused(store: str, tmp_path: Path) -> None:
    """Where Django will roll back whatever comes, publishing says so as every query of Django's does."""
    from django.db import transaction

    def publish(tellwire: Any, connection: Any) -> None:
        with transaction.atomic(using=connection.alias):
            connection.needs_rollback = True
            with pytest.raises(transaction.TransactionManagementError):
                tellwire.publish("a.b", {}, connection=connection)
        assert tellwire.call(lambda tw: tw.events.list()).data == []

    in_django(
        database_in(tmp_path) if store == "postgres" else f"sqlite:///{tmp_path / 'tellwire.db'}", publish
    )


def test_django_s_errors_are_django_s(tmp_path: Path) -> None:
    """What goes wrong in the database while an event is published comes as Django's own error."""
    from django.db import OperationalError, transaction

    path = tmp_path / "tellwire.db"

    def publish(tellwire: Any, connection: Any) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        with transaction.atomic(using=connection.alias):
            connection.cursor().execute("PRAGMA busy_timeout = 20")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OperationalError, match="locked"):
                tellwire.publish("a.b", {}, connection=connection)
        other.close()

    in_django(f"sqlite:///{path}", publish)


def test_django_s_connection_stays_in_its_thread(tmp_path: Path) -> None:
    """In another thread it is refused, as it is by Django itself."""
    from django.db import DatabaseError, transaction

    def publish(tellwire: Any, connection: Any) -> None:
        with transaction.atomic(using=connection.alias), ThreadPoolExecutor(1) as elsewhere:
            publishing = elsewhere.submit(lambda: tellwire.publish("a.b", {}, connection=connection))
            with pytest.raises(DatabaseError, match="thread"):
                publishing.result()

    in_django(database_in(tmp_path), publish)


def test_django_s_own_proxy_is_a_connection(tmp_path: Path) -> None:
    """``django.db.connection`` stands for the connection of its thread."""
    from django.utils.connection import ConnectionProxy

    url = f"sqlite:///{tmp_path / 'tellwire.db'}"

    def publish(tellwire: Any, connection: Any) -> None:
        from django.db import connections, transaction

        proxy = ConnectionProxy(connections, connection.alias)
        with transaction.atomic(using=connection.alias):
            tellwire.publish("a.b", {}, connection=proxy)
        assert len(tellwire.call(lambda tw: tw.events.list()).data) == 1

    in_django(url, publish)
