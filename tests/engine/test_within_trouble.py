"""Publishing in the caller's own transaction, where others are in the way or the connection is not fit for it."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pytest
from sqlalchemy import Connection, create_engine, event
from tests.postgres import database_in, empty_database_in

from tellwire import ConflictError, InvalidInputError, Options, Receipt, SyncTellwire, Tellwire
from tellwire.model.delivery import State

from .callers import ASYNC, SYNC, Caller, Mode, caller, django_connection
from .conftest import LOOPBACK, Receiver
from .embedded import KEY, all_are, locked
from .test_within import both, stored, tellwire_on, url_for

POSTGRES = [mode for mode in (*ASYNC, *SYNC) if mode.store == "postgres" and mode.kind != "django"]


async def started(awaited: Awaitable[Any]) -> asyncio.Task[Any]:
    """Start something, and let the event loop go on beside it for some turns."""
    task = asyncio.ensure_future(awaited)
    async with asyncio.timeout(10):
        for _ in range(20):
            await asyncio.sleep(0.002)
    return task


@pytest.mark.parametrize("ending", ["commit", "rollback"])
@pytest.mark.parametrize("mode", POSTGRES, ids=str)
async def test_a_key_in_an_open_transaction_is_waited_for(mode: Mode, ending: str, tmp_path: Path) -> None:
    """The second one with a key waits until the first has ended, on the event loop; its transaction stays good."""
    async with both(mode, tmp_path, deliver=False) as (tellwire, second):
        async with caller(Mode("asyncpg", "postgres"), tellwire, database_in(tmp_path), KEY) as first:
            receipt = await first.publish("a.b", {}, idempotency_key="k")
            waiting = await started(second.publish("a.b", {}, idempotency_key="k"))
            assert not waiting.done()
            await getattr(first, ending)()
            async with asyncio.timeout(10):
                again: Receipt = await waiting
            assert again.duplicate == (ending == "commit")
            assert (again.id == receipt.id) == (ending == "commit")
            with pytest.raises(ConflictError):
                await second.publish("a.b", {"other": 1}, idempotency_key="k")
            await second.publish("a.c", {})
            await second.commit()
        assert await stored(tellwire) == [again.id, (await tellwire.events.list(type="a.c")).data[0].id]


async def test_a_batch_that_meets_a_taken_key_leaves_nothing(tmp_path: Path) -> None:
    """Where another transaction commits other content under a key meanwhile, the whole batch is refused."""
    async with both(Mode("psycopg", "postgres"), tmp_path, deliver=False) as (tellwire, second):
        async with caller(Mode("asyncpg", "postgres"), tellwire, database_in(tmp_path), KEY) as first:
            await first.publish("a.b", {}, idempotency_key="k1")
            batch = [{"type": "a.b", "data": {"n": 1}, "idempotency_key": f"k{n}"} for n in range(3)]
            waiting = await started(second.publish_many(batch))
            await first.commit()
            with pytest.raises(ConflictError, match="other content") as found:
                await waiting
            assert found.value.index == 1
            await second.publish("a.c", {})
            await second.commit()
        assert len(await stored(tellwire)) == 2


async def test_a_snapshot_that_is_older_than_the_key(tmp_path: Path) -> None:
    """In repeatable read, a key that a later transaction took is a conflict, and the transaction goes on."""
    async with both(Mode("asyncpg", "postgres"), tmp_path, deliver=False) as (tellwire, caller):
        await caller.run("ROLLBACK")
        await caller.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await caller.run("SELECT count(*) FROM events")
        await tellwire.publish("a.b", {}, idempotency_key="k")
        with pytest.raises(ConflictError, match="roll back and try again"):
            await caller.publish("a.b", {}, idempotency_key="k")
        await caller.publish("a.c", {})
        await caller.commit()
        assert len(await stored(tellwire)) == 2


async def test_a_snapshot_that_is_older_than_an_endpoint(tmp_path: Path, receiver: Receiver) -> None:
    """In repeatable read, an endpoint that is younger than the snapshot does not get the event; older ones do."""
    async with both(Mode("asyncpg", "postgres"), tmp_path) as (tellwire, caller):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await caller.run("ROLLBACK")
        await caller.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await caller.run("SELECT count(*) FROM events")
        await tellwire.endpoints.create(receiver.url, events=["*"])
        assert (await caller.publish("a.b", {})).deliveries == 1
        await caller.commit()
        await all_are(tellwire, State.SUCCEEDED, 1)


async def test_a_schema_of_its_own(tmp_path: Path) -> None:
    """Tellwire's tables may be in a schema that the caller does not look into, even where he has such names himself."""
    url = empty_database_in(tmp_path)
    own = await asyncpg.connect(url)
    await own.execute("CREATE SCHEMA tellwire; CREATE TABLE events (id integer)")
    async with tellwire_on(f"{url}&search_path=tellwire", deliver=False) as tellwire:
        async with own.transaction():
            receipt = await tellwire.publish("a.b", {}, idempotency_key="k", connection=own)
        assert await stored(tellwire) == [receipt.id]
    assert await own.fetchval("SELECT count(*) FROM events") == 0
    await own.close()


async def test_others_are_told_at_the_commit(tmp_path: Path) -> None:
    """On PostgreSQL the commit notifies, and nothing before it does."""
    async with both(Mode("psycopg_async", "postgres"), tmp_path, deliver=False) as (tellwire, caller):
        await tellwire.endpoints.create("http://127.0.0.1:9999/", events=["*"])
        heard = asyncio.Event()
        listener = await asyncpg.connect(database_in(tmp_path))
        await listener.add_listener("tellwire", lambda *_: heard.set())
        await caller.publish("a.b", {})
        await listener.fetchval("SELECT 1")
        assert not heard.is_set()
        await caller.commit()
        async with asyncio.timeout(10):
            await heard.wait()
        await listener.close()


LOCKED = [mode for mode in SYNC if mode.store == "sqlite" and mode.face == "loop"]


@pytest.mark.parametrize("mode", LOCKED, ids=str)
async def test_a_sync_connection_waits_on_the_event_loop(
    mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another connection holds SQLite's lock, the event loop goes on; then the event is stored."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    async with both(mode, tmp_path, deliver=False) as (tellwire, found):
        other = await locked(tmp_path / "tellwire.db")
        waiting = await started(found.publish("a.b", {}))
        assert not waiting.done()
        other.execute("COMMIT")
        other.close()
        receipt = await waiting
        await found.commit()
        assert await stored(tellwire) == [receipt.id]


async def test_a_lock_that_stays_is_the_driver_s_error(tmp_path: Path) -> None:
    """After as long as the caller's own driver would wait, its error comes; its setting is as it was."""
    async with both(Mode("sqlite3", "sqlite"), tmp_path, deliver=False) as (tellwire, caller):
        await caller.run("PRAGMA busy_timeout = 30")
        other = await locked(tmp_path / "tellwire.db")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await caller.publish("a.b", {})
        other.close()
        assert (await caller.run("PRAGMA busy_timeout")).fetchone() == (30,)
        await caller.publish("a.b", {})
        await caller.rollback()
        assert await stored(tellwire) == []


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_a_publish_that_is_cancelled_is_there_whole_or_not_at_all(store: str, tmp_path: Path) -> None:
    """Whenever a batch is cancelled: if the caller commits nevertheless, all of it is there, or nothing."""
    mode = Mode("aiosqlite" if store == "sqlite" else "asyncpg", store)
    batch = [{"type": "a.b", "data": {}} for _ in range(150)]
    async with both(mode, tmp_path, deliver=False) as (tellwire, caller):
        await tellwire.endpoints.create("http://127.0.0.1:9999/", events=["*"])
        whole = 0
        for turns in range(0, 60, 4):
            task = asyncio.ensure_future(caller.publish_many(batch))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await caller.commit()
            events = await count(tellwire, "events")
            assert events % 150 == 0
            assert await count(tellwire, "deliveries") == events
            whole = events // 150
        assert whole < 15


async def count(tellwire: Tellwire, table: str) -> int:
    def query(connection: Connection) -> int:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    return await tellwire._store.read(query)


@pytest.mark.parametrize(("store", "most"), [("sqlite", 25), ("postgres", 6)])
def test_few_statements(store: str, most: int, tmp_path: Path) -> None:
    """Five hundred events with keys and a thousand deliveries take a few statements on the caller's connection."""
    mode = Mode("", store)
    url = url_for(mode, tmp_path)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *found: statements.append(found[2]))
    with SyncTellwire(url, Options(deliver=False, secret_key=KEY, egress=LOOPBACK)) as tellwire:
        for _ in range(2):
            tellwire.call(lambda tw: tw.endpoints.create("http://127.0.0.1:9999/", events=["*"]))
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")  # what SQLAlchemy asks a new connection
            statements.clear()
            tellwire.publish_many(
                [{"type": "a.b", "data": {}, "idempotency_key": str(n)} for n in range(500)],
                connection=connection,
            )
        assert len(statements) <= most
        assert tellwire.call(lambda tw: count(tw, "deliveries")) == 1000
    engine.dispose()


async def test_what_cannot_keep_the_promise_is_refused(tmp_path: Path) -> None:
    """Autocommit, another database, and what is no connection; nothing is stored."""
    url, other_url = database_in(tmp_path), database_in(tmp_path / "other")
    async with (
        tellwire_on(f"sqlite:///{tmp_path / 'tellwire.db'}", deliver=False) as on_file,
        tellwire_on(url, deliver=False) as on_server,
        aiosqlite.connect(tmp_path / "tellwire.db", isolation_level=None) as loose,
        aiosqlite.connect(":memory:") as memory,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as loose_psycopg,
        await psycopg.AsyncConnection.connect(other_url) as other,
    ):
        loose_asyncpg = await asyncpg.connect(url)
        with ExitStack() as stack:
            loose_sqlalchemy = stack.enter_context(
                create_engine(f"sqlite:///{tmp_path / 'tellwire.db'}", isolation_level="AUTOCOMMIT").connect()
            )
            for tellwire, connection, said in [
                (on_file, loose, "autocommit"),
                (on_file, loose_sqlalchemy, "autocommit"),
                (on_server, loose_asyncpg, "autocommit"),
                (on_server, loose_psycopg, "autocommit"),
                (on_file, memory, "not on Tellwire's"),
                (on_server, other, "not on Tellwire's"),
                (on_server, loose, "not on Tellwire's"),
                (on_file, loose_asyncpg, "not on Tellwire's"),
                (on_file, 42, "must be"),
            ]:
                with pytest.raises(InvalidInputError, match=said) as found:
                    await tellwire.publish("a.b", {}, connection=connection)
                assert found.value.errors[0].loc == ("connection",)
        await loose_asyncpg.close()
        await other.rollback()
        assert await stored(on_file) == await stored(on_server) == []


async def test_in_a_pipeline(tmp_path: Path) -> None:
    """psycopg's pipelines gather statements: those of a publish are answered, and belong to the transaction."""
    url = database_in(tmp_path)

    def publish() -> None:
        with (
            SyncTellwire(url, Options(secret_key=KEY, deliver=False)) as tellwire,
            psycopg.connect(url) as connection,
            connection.pipeline(),
        ):
            connection.execute("SELECT 1")
            tellwire.publish("a.sync", {}, connection=connection, idempotency_key="sync")

    async with tellwire_on(url, deliver=False) as tellwire:
        async with await psycopg.AsyncConnection.connect(url) as connection, connection.pipeline():
            await connection.execute("SELECT 1")
            first = await tellwire.publish("a.b", {}, connection=connection, idempotency_key="k")
            again = await tellwire.publish("a.b", {}, connection=connection, idempotency_key="k")
            assert (again.id, again.duplicate) == (first.id, True)
            with pytest.raises(ConflictError):
                await tellwire.publish("a.b", {"other": 1}, connection=connection, idempotency_key="k")
            assert await stored(tellwire) == []
        await asyncio.to_thread(publish)
        async with await psycopg.AsyncConnection.connect(url) as connection, connection.pipeline():
            await tellwire.publish("a.b", {}, connection=connection)
            await connection.rollback()
        assert [one.type for one in (await tellwire.events.list()).data] == ["a.sync", "a.b"]


async def test_a_savepoint_before_anything_else_on_sqlite(tmp_path: Path) -> None:
    """Where SQLAlchemy begins by itself, as the how-to says, a savepoint that comes first is within the transaction."""
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    async with tellwire_on(url, deliver=False) as tellwire:
        with engine.connect() as connection:
            with connection.begin() as whole:
                with connection.begin_nested():
                    await tellwire.publish("a.b", {}, connection=connection)
                whole.rollback()
            assert await stored(tellwire) == []
            with connection.begin(), connection.begin_nested():
                await tellwire.publish("a.b", {}, connection=connection)
            assert len(await stored(tellwire)) == 1
    engine.dispose()


async def test_an_async_connection_is_for_its_event_loop(tmp_path: Path) -> None:
    """SyncTellwire refuses it, and says who takes it; and what is no connection at all."""

    def publish(connection: object) -> None:
        with SyncTellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", Options(deliver=False)) as tellwire:
            tellwire.publish_many([{"type": "a.b", "data": {}}], connection=connection)

    async with aiosqlite.connect(tmp_path / "tellwire.db") as connection:
        with pytest.raises(InvalidInputError, match="with Tellwire"):
            await asyncio.to_thread(publish, connection)
    with pytest.raises(InvalidInputError, match="it must be"):
        await asyncio.to_thread(publish, tmp_path)


async def test_django_s_own_refusal_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an event loop runs, Django refuses its connection: the error says where to go."""
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with tellwire_on(url, deliver=False) as tellwire:
        with pytest.raises(InvalidInputError, match="SyncTellwire"):
            await tellwire.publish("a.b", {}, connection=django_connection(url))


ALONE = """
import sqlite3, sys
from tellwire import Options, SyncTellwire

with SyncTellwire(sys.argv[1], Options(deliver=False)) as tellwire:
    connection = sqlite3.connect(sys.argv[1].removeprefix("sqlite:///"))
    tellwire.publish("a.b", {}, connection=connection)
    connection.commit()
    assert len(tellwire.call(lambda tw: tw.events.list()).data) == 1
loaded = {"aiosqlite", "asyncpg", "psycopg", "psycopg2", "django", "flask"} & set(sys.modules)
assert not loaded, loaded
"""


def test_no_driver_is_loaded_but_the_caller_s(tmp_path: Path) -> None:
    """Publishing on a connection of one kind imports nothing of the others."""
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    subprocess.run([sys.executable, "-W", "error", "-c", ALONE, url], check=True)


@pytest.mark.parametrize("mode", [Mode("sqlite3", "sqlite", "thread"), Mode("asyncpg", "postgres")], ids=str)
async def test_a_wide_event_is_fanned_out_after_the_commit(
    mode: Mode, tmp_path: Path, receiver: Receiver
) -> None:
    """An event for more endpoints than are fanned out at once goes in pages, which are the transaction's like all."""
    url = url_for(mode, tmp_path)
    options = Options(secret_key=KEY, egress=LOOPBACK, fan_out_at_once=2)
    async with Tellwire(url, options) as tellwire:
        for _ in range(5):
            await tellwire.endpoints.create(receiver.url, events=["*"])
        found = Caller(mode, tellwire, url, options)
        try:
            await found.open()
            await found.publish("a.b", {})
            await found.rollback()
            receipt = await found.publish("a.b", {})
            await found.publish("a.b", {}, idempotency_key="k")
            assert receipt.deliveries == 5
            assert await count(tellwire, "fanout_pages") == 0
            await found.commit()
        finally:
            await found.close()
        await receiver.met(10)
        await all_are(tellwire, State.SUCCEEDED, 10)
