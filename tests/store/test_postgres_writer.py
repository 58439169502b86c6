"""The connection that writes to PostgreSQL: one for many transactions, another one after whatever went wrong."""

import asyncpg
import pytest
from sqlalchemy import Connection, select, text, update

from tellwire.errors import ConflictError, StoreUnavailableError
from tellwire.store import postgres_connections
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_hot import fetch
from tellwire.store.store import Store
from tellwire.store.tables import revisions

from .backends import POSTGRES, Backend
from .rows import event_row, until
from .test_postgres_at_once import Writer


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


def pid(connection: Connection) -> int:
    """Which of the server's processes this is: another one for each connection."""
    found: int = fetch(connection, "SELECT pg_backend_pid()")[0][0]
    return found


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


async def test_it_is_closed_with_the_store(store: PostgresStore) -> None:
    """No connection stays behind."""
    driver = await store._writer.driver()
    await store.close()
    assert driver.is_closed()
    with pytest.raises(asyncpg.InterfaceError):
        await driver.fetchval("SELECT 1")


async def test_it_is_used_while_it_writes(store: PostgresStore) -> None:
    """And only then: that it is kept does not make it one in use."""
    used = await store.write(lambda _: [pool.used for pool in store.connections if pool.name == "write"])
    assert used == [1]
    assert [pool.used for pool in store.connections if pool.name == "write"] == [0]


async def test_a_server_that_cannot_be_reached(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not begin was not written: nobody is told that its end is unknown."""

    async def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    (await store._writer.driver()).terminate()
    monkeypatch.setattr(postgres_connections, "connect", refuse)
    publishing = Writer(store, "publish")
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as raised:
        await publishing.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
    assert not raised.value.outcome_unknown
    monkeypatch.undo()
    await publishing.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
