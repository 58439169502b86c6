"""What processes on one PostgreSQL tell each other, and what becomes of those that cannot hear."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import Connection
from tests.postgres import database_in
from tests.proxy import Proxy

from tellwire import Options, Tellwire
from tellwire.errors import StoreUnavailableError
from tellwire.model.delivery import State
from tellwire.signing.vault import Vault
from tellwire.store import postgres_connections, postgres_news, tenants
from tellwire.store.news import QUIET_MS
from tellwire.store.postgres import PostgresStore
from tellwire.store.rows import PageRow

from .backends import KEY, POSTGRES, Backend, Listener, opened
from .rows import NOW, add_endpoint, delivery_row, event_row, outcome, raw, until


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


async def test_a_retry_is_told_with_the_time_at_which_it_is_due(
    store: PostgresStore, listener: Listener
) -> None:
    """Who records a retry for later tells others when, so that one of them is there should it die until then."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    rows = [delivery_row(n, n, endpoint, token=7, until=NOW + 60_000) for n in (1, 2, 3)]
    await store.write(
        lambda connection: store.hot.insert_events(connection, [event_row(n) for n in (1, 2, 3)])
    )
    await store.write(lambda connection: store.hot.insert_deliveries(connection, rows))
    due = [outcome(1, 7, State.PENDING, due=NOW + 9_000), outcome(2, 7, State.PENDING, due=NOW + 5_000)]
    await store.write(lambda connection: store.hot.record(connection, [*due, outcome(3, 7)], []))
    await until(lambda: NOW + 5_000 in listener.told)


async def test_what_is_given_back_or_left_to_others_is_told(store: PostgresStore, listener: Listener) -> None:
    """A delivery without a lease, or one that is given back, is for whoever hears of it first; the own is no news."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await until(lambda: listener.told == [0])
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
    row = delivery_row(1, 1, endpoint, token=7, until=NOW + 60_000)
    await store.write(lambda connection: store.hot.insert_deliveries(connection, [row]))
    await store.write(lambda connection: store.hot.release(connection, [(raw(1), 7)]))
    await until(lambda: listener.told == [0, 0])


async def test_what_one_fetches_itself_is_told_for_later(store: PostgresStore, listener: Listener) -> None:
    """Others come to help, but not for each; what else is left in the same transaction is told at once."""
    mine, other = [await add_endpoint(store, Vault(KEY), number) for number in (1, 2)]
    await until(lambda: listener.told == [0, 0])
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1), event_row(2)]))
    rows = [delivery_row(1, 1, mine), delivery_row(2, 2, mine, due=NOW + 9_000)]
    await store.write(lambda connection: store.hot.insert_deliveries(connection, rows, {mine}))
    await until(lambda: listener.told == [0, 0, NOW + QUIET_MS])
    rows = [delivery_row(3, 1, mine), delivery_row(4, 1, other)]
    await store.write(lambda connection: store.hot.insert_deliveries(connection, rows, {mine}))
    await until(lambda: listener.told == [0, 0, NOW + QUIET_MS, 0])


async def test_what_one_tells_itself_is_no_news(store: PostgresStore, listener: Listener) -> None:
    """Notifications come back to who sent them: he knows already, and hears of others alone."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await until(lambda: listener.told == [0])
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1), event_row(2)]))
    for teller, number, due in ((listener, 1, NOW + 7_000), (store, 2, NOW + 9_000)):
        row = delivery_row(number, number, endpoint, due=due)
        await teller.write(partial(teller.hot.insert_deliveries, rows=[row]))
    await until(lambda: len(listener.told) > 1)
    assert listener.told == [0, NOW + 9_000]


async def test_pages_of_wide_events_are_told(store: PostgresStore, listener: Listener) -> None:
    """Whoever delivers hears of them, though the event has no delivery yet."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await until(lambda: listener.told == [0])
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
    page = PageRow(raw(1), 0, 1, endpoint)
    await store.write(lambda connection: store.hot.insert_pages(connection, [page]))
    await until(lambda: listener.told == [0, 0])


async def test_each_change_of_the_control_plane_is_heard(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that looks by itself once an hour: of endpoints, their secrets, tenants and keys, each at once."""
    monkeypatch.setattr(postgres_news, "_POLL_S", 3_600)
    async with Tellwire(database_in(tmp_path), Options(secret_key=KEY.hex(), deliver=False)) as tellwire:

        async def heard(change: Awaitable[Any]) -> Any:
            before, done = listener.roster.revision, await change
            await until(lambda: listener.roster.revision > before)
            return done

        await heard(tellwire.tenants.create("acme"))
        endpoint, _ = await heard(
            tellwire.endpoints.create("https://a.example/", events=["*"], tenant="acme")
        )
        for change in (tellwire.endpoints.pause, tellwire.endpoints.resume, tellwire.endpoints.disable):
            await heard(change(endpoint.id))
        await heard(tellwire.endpoints.rotate_secret(endpoint.id))
        await heard(tellwire.endpoints.delete(endpoint.id))
        key, _ = await heard(tellwire.keys.create("ci", scopes=["read"]))
        await heard(tellwire.keys.revoke(key.id))
        await heard(tellwire.tenants.delete("acme"))


async def test_a_strange_notification_is_news(
    store: PostgresStore, listener: Listener, tmp_path: Path
) -> None:
    """Whoever may use the database may notify: whatever the text, it means no more than: look."""
    stranger = await asyncpg.connect(database_in(tmp_path))
    for payload in ("", "x", "x y", "x -1", "a 12 b", "x 9" + "9" * 1_000):
        await stranger.execute("SELECT pg_notify('tellwire', $1)", payload)
    await stranger.close()
    await until(lambda: len(listener.told) == 6)
    assert listener.told[:5] == [0] * 5
    await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    await until(lambda: listener.roster.tenants.keys() >= {"acme"})


@pytest.mark.parametrize("way", ["cut", "half open"])
async def test_a_lost_listening_connection_is_replaced(
    tmp_path: Path, store: PostgresStore, way: str
) -> None:
    """However it is lost, with or without a word: what others change meanwhile and afterwards is seen."""
    async with Proxy(database_in(tmp_path)) as proxy:
        listener = Listener(proxy.url)
        await listener.open()
        try:
            if way == "cut":
                proxy.cut()
            else:
                proxy.stall("back")
            await store.write(lambda connection: tenants.create(connection, "meanwhile", "", now_ms=NOW))
            await until(lambda: listener.roster.tenants.keys() >= {"meanwhile"})
            await until(lambda: bool(listener.told))
            proxy.resume()
            await store.write(lambda connection: tenants.create(connection, "afterwards", "", now_ms=NOW))
            await until(lambda: listener.roster.tenants.keys() >= {"afterwards"})
        finally:
            await listener.close()


@pytest.mark.parametrize("stored", [True, False])
async def test_a_commit_without_an_answer_is_told_to_be_unknown(
    tmp_path: Path, store: PostgresStore, stored: bool
) -> None:
    """Whether the server got the COMMIT or not: the writer cannot know, and does not say that nothing was stored."""
    async with Proxy(database_in(tmp_path)) as proxy, opened(proxy.url) as writer:
        if stored:
            proxy.after_server = lambda link, _: b"COMMIT" not in link.sent
        else:
            proxy.before_server = lambda _, piece: b"COMMIT" not in piece
        with pytest.raises(StoreUnavailableError) as caught:
            await writer.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW))
        assert caught.value.outcome_unknown
        proxy.before_server = proxy.after_server = lambda *_: True
        await until(lambda: ("acme" in store.roster.tenants) is stored)
        await writer.write(lambda connection: tenants.create(connection, "b", "", now_ms=NOW))


async def test_a_connection_that_is_lost_before_the_commit_leaves_nothing(
    tmp_path: Path, store: PostgresStore
) -> None:
    """Then it is known that nothing was stored; the next write has a new connection."""
    async with Proxy(database_in(tmp_path)) as proxy, opened(proxy.url) as writer:
        proxy.before_server = lambda _, piece: b"INSERT" not in piece
        with pytest.raises(StoreUnavailableError) as caught:
            await writer.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW))
        assert not caught.value.outcome_unknown
        proxy.before_server = lambda *_: True
        await writer.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW))


@pytest.mark.parametrize("doing", ["read", "write"])
async def test_a_connection_that_ends_as_it_is_used(tmp_path: Path, store: PostgresStore, doing: str) -> None:
    """The server has closed it, and nobody has seen that yet: who comes first hears so, the next one has another."""

    def ask(connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT 1").scalar_one())

    do = store.read if doing == "read" else store.write
    assert await do(ask) == 1
    # Not async: the event loop stands still meanwhile.
    with psycopg.connect(database_in(tmp_path), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'tellwire' AND datname = current_database()"
        )
    with pytest.raises(StoreUnavailableError):
        await do(ask)
    assert await do(ask) == 1


async def test_a_server_that_does_not_answer_holds_nobody_up_for_long(tmp_path: Path) -> None:
    """Reads and writes over a connection that lets nothing through end as unavailable, and closing ends too."""
    async with Proxy(database_in(tmp_path)) as proxy:
        store = PostgresStore(proxy.url, Vault(KEY), write_within_s=0.5, read_within_s=0.5)
        await store.open()
        await store.read(lambda _: None)
        proxy.stall()
        for doing in (
            store.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW)),
            store.read(lambda connection: store.roster_in(connection)),
        ):
            with pytest.raises(StoreUnavailableError):
                await doing
        proxy.cut()
        proxy.stalling = False
        await store.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW))
        proxy.stall()
        await store.close()


async def test_sessions_are_as_the_promises_need_them(tmp_path: Path) -> None:
    """Whatever the database's own defaults: commits are on disk, no statement, lock or silence lasts without end."""
    url = database_in(tmp_path)
    admin = await asyncpg.connect(url)
    name = await admin.fetchval("SELECT current_database()")
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    for setting, value in {"synchronous_commit": "off", **dict.fromkeys(limits, "0")}.items():
        await admin.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
    await admin.close()
    store = PostgresStore(url, Vault(KEY))
    await store.open()

    def shown(setting: str, connection: Connection) -> object:
        return connection.exec_driver_sql(f"SHOW {setting}").scalar_one()

    for ask in (store.read, store.write):
        assert await ask(partial(shown, "synchronous_commit")) == "on"
        assert "0" not in [await ask(partial(shown, setting)) for setting in limits]
    await store.close()


async def test_who_needs_what_somebody_holds_waits_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idempotency key that another open transaction holds: its publisher hears so, those beside it are served."""
    monkeypatch.setitem(postgres_connections._SERVER_SETTINGS, "lock_timeout", "100ms")
    holder = await asyncpg.connect(database_in(tmp_path))
    async with Tellwire(database_in(tmp_path), Options(secret_key=KEY.hex(), deliver=False)) as tellwire:
        await holder.execute("BEGIN")
        await holder.execute("INSERT INTO idempotency_keys VALUES ('default', 'held', $1)", raw(1))
        held = asyncio.create_task(tellwire.publish("order.paid", {"n": 1}, idempotency_key="held"))
        others = [asyncio.create_task(tellwire.publish("order.paid", {"n": n})) for n in (2, 3)]
        with pytest.raises(StoreUnavailableError):
            await held
        assert [(await other).duplicate for other in others] == [False, False]
        await holder.execute("ROLLBACK")
        await holder.close()
        assert not (await tellwire.publish("order.paid", {"n": 1}, idempotency_key="held")).duplicate
