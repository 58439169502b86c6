"""The connection that writes to PostgreSQL: one for many transactions, another one after whatever went wrong."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, select, text, update
from sqlalchemy.util import await_only
from tests.postgres import database_in

from tellwire.errors import ConflictError, StoreUnavailableError
from tellwire.store import postgres_connections
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_hot import fetch
from tellwire.store.store import Store
from tellwire.store.tables import revisions

from .backends import POSTGRES, Backend
from .rows import count_events, event_row, until
from .test_postgres_at_once import Writer


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


def pid(connection: Connection) -> int:
    """Which of the server's processes this is: another one for each connection."""
    found: int = fetch(connection, "SELECT pg_backend_pid()")[0][0]
    return found


async def refuse(*_: object, **__: object) -> None:
    """A server that is not there."""
    raise ConnectionRefusedError(111, "Connection refused")


async def test_it_is_kept(store: PostgresStore) -> None:
    """From one transaction to the next, the pool is not asked, whatever a change does with it."""
    pool = store._writer._engine.sync_engine.pool
    asked: list[object] = []
    first = await store.write(pid)
    ask = pool.connect

    def connect() -> object:
        asked.append(None)
        return ask()

    pool.connect = connect  # type: ignore[method-assign,assignment]

    def by_sqlalchemy(connection: Connection) -> int:
        connection.execute(select(revisions))
        return pid(connection)

    assert await store.write(by_sqlalchemy) == first
    assert [await store.write(pid) for _ in range(3)] == [first] * 3
    assert not asked


async def test_nothing_of_a_transaction_is_left_for_the_next(store: PostgresStore) -> None:
    """Neither on the server nor in SQLAlchemy: what one change reads is of its own time."""

    def change(connection: Connection) -> tuple[bool, object]:
        within = connection.in_transaction()
        return within, connection.execute(text("SELECT pg_current_xact_id()")).scalar_one()

    (first_within, first), (within, second) = await store.write(change), await store.write(change)
    assert not first_within
    assert not within
    assert first != second
    driver = await store._writer.driver()
    assert not driver.is_in_transaction()


async def test_a_change_that_is_refused_leaves_nothing(store: PostgresStore) -> None:
    """What it wrote is taken back, and the next one writes."""

    def refused(connection: Connection) -> None:
        connection.execute(update(revisions).values(value=revisions.c.value + 100))
        raise ConflictError("no")

    before = await store.read(lambda connection: connection.execute(select(revisions)).all())
    with pytest.raises(ConflictError):
        await store.write(refused)
    assert await store.write(lambda connection: connection.execute(select(revisions)).all()) == before


async def test_one_that_was_closed_meanwhile_is_replaced(store: PostgresStore, second: Store) -> None:
    """A server that restarts closes it between two transactions: the next one does not notice."""
    before, driver = await store.write(pid), await store._writer.driver()
    await second.write(lambda connection: fetch(connection, "SELECT pg_terminate_backend($1)", before))
    await until(driver.is_closed)
    assert await store.write(pid) != before


async def test_one_that_is_lost_within_is_replaced(store: PostgresStore, second: Store) -> None:
    """Whose transaction it was hears of it, and the next one has another connection."""
    before = await store.write(pid)

    def cut(connection: Connection) -> None:
        fetch(connection, "SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreUnavailableError):
        await store.write(cut)
    assert await store.write(pid) != before


async def test_they_are_closed_with_the_store(store: PostgresStore) -> None:
    """No connection stays behind."""
    drivers = [await store._writer.driver(), await store._publish_writer.driver()]
    await store.close()
    for driver in drivers:
        assert driver.is_closed()
        with pytest.raises(asyncpg.InterfaceError):
            await driver.fetchval("SELECT 1")


async def test_what_is_published_waits_for_nothing_else(store: PostgresStore) -> None:
    """Results, claims and changes are written on a connection of their own, and take as long as they take."""
    publishing, recording = Writer(store, "publish"), Writer(store, "record")
    let_go, begun = asyncio.Event(), asyncio.Event()

    def take_long(connection: Connection) -> None:
        fetch(connection, "SELECT 1")  # not in one statement
        begun.set()
        await_only(let_go.wait())

    result = asyncio.create_task(recording.write(take_long))
    async with asyncio.timeout(30):
        await begun.wait()
        await publishing.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
    assert not result.done()
    assert await count_events(store) == 1
    let_go.set()
    await result


@pytest.mark.parametrize("stage", ["publish", "record"])
async def test_whoever_tries_to_write_waits_for_each(store: PostgresStore, stage: str) -> None:
    """That one of the connections does not get on is seen, whichever it is."""
    let_go, begun = asyncio.Event(), asyncio.Event()

    def take_long(connection: Connection) -> None:
        fetch(connection, "SELECT 1")  # not in one statement
        begun.set()
        await_only(let_go.wait())

    busy = asyncio.create_task(Writer(store, stage).write(take_long))
    async with asyncio.timeout(30):
        await begun.wait()
        trying = asyncio.create_task(store.try_writing())
        await asyncio.wait([trying], timeout=0.2)
        assert not trying.done()
        let_go.set()
        await asyncio.gather(busy, trying)


@pytest.mark.parametrize("name", ["_writer", "_publish_writer"])
async def test_whoever_tries_to_write_fails_with_each(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One that was lost and cannot be replaced is seen, whichever it is; and when it can be again."""
    (await getattr(store, name).driver()).terminate()
    with monkeypatch.context() as patched:
        patched.setattr(postgres_connections, "connect", refuse)
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await store.try_writing()
    await store.try_writing()


async def test_it_is_used_while_it_writes(store: PostgresStore) -> None:
    """And only then: that it is kept does not make it one in use."""
    used = await store.write(lambda _: [pool.used for pool in store.connections if pool.name == "write"])
    assert used == [1]
    assert [pool.used for pool in store.connections if pool.name == "write"] == [0]


async def test_a_server_that_cannot_be_reached(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not begin was not written: nobody is told that its end is unknown."""

    (await store._publish_writer.driver()).terminate()
    monkeypatch.setattr(postgres_connections, "connect", refuse)
    publishing = Writer(store, "publish")
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as raised:
        await publishing.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
    assert not raised.value.outcome_unknown
    monkeypatch.undo()
    await publishing.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))


async def test_data_are_compressed_by_the_quicker_way_where_there_is_one(store: PostgresStore) -> None:
    """lz4 where the server was built with it; else by its default, and nothing fails."""

    def chosen(connection: Connection) -> tuple[str, list[str]]:
        query = "SELECT setting, enumvals FROM pg_settings WHERE name = 'default_toast_compression'"
        [(setting, possible)] = fetch(connection, query)
        return setting, possible

    setting, possible = await store.write(chosen)
    assert setting == ("lz4" if "lz4" in possible else "pglz")


async def compression(url: str) -> str:
    """What a connection that writes asks for."""
    try:
        connection = await postgres_connections.connect(url, writes=True)
    except asyncpg.InvalidParameterValueError:  # the server of the tests has no lz4, and refuses it
        return "lz4"
    setting: str = await connection.fetchval("SHOW default_toast_compression")
    await connection.close()
    return setting


@pytest.mark.parametrize(
    ("possible", "source", "asked"),
    [
        ("{pglz,lz4}", "default", "lz4"),
        ("{pglz,lz4}", "configuration file", "pglz"),
        ("{pglz}", "default", "pglz"),
    ],
)
async def test_who_has_chosen_a_compression_keeps_it(
    tmp_path: Path, driver: Any, possible: str, source: str, asked: str
) -> None:
    """lz4 is asked for only where the server knows it and nobody has set another."""
    await driver.execute(
        "CREATE SCHEMA pretended; CREATE VIEW pretended.pg_settings AS"
        f" SELECT 'default_toast_compression' AS name, '{possible}'::text[] AS enumvals, '{source}' AS source"
    )
    url = database_in(tmp_path)
    assert await compression(f"{url}{'&' if '?' in url else '?'}search_path=pretended,pg_catalog") == asked
