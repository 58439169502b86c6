"""Tellwire on PostgreSQL: several of them on one database, and a server that stops and comes back."""

import asyncio
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.postgres import database_in, empty_database_in, start_server, url_of
from tests.proxy import Link, Proxy

from tellwire import Options, Tellwire
from tellwire.deliver import claimer
from tellwire.deliver.engine import EngineOptions
from tellwire.errors import InvalidInputError, SettingsError, StoreUnavailableError
from tellwire.model.delivery import State
from tellwire.store.group_commit import settle
from tellwire.store.postgres_hot import fetch
from tellwire.telemetry import Fact, StoreFailed, TransactionCommitted

from .conftest import LOOPBACK, WAIT_S, Receiver
from .embedded import all_are, until
from .receivers import HeldReceiver

KEY = "ab" * 32


def on(url: str, *, deliver: bool = True) -> Tellwire:
    return Tellwire(
        url, Options(deliver=deliver, secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(grace_s=1))
    )


async def test_what_one_process_publishes_another_delivers(tmp_path: Path, receiver: Receiver) -> None:
    """A process that only publishes leaves its deliveries to one that delivers; each arrives once."""
    url = database_in(tmp_path)
    async with on(url, deliver=False) as publisher, on(url) as deliverer:
        await publisher.endpoints.create(receiver.url, events=["*"])
        for number in range(20):
            await publisher.publish("order.paid", {"n": number})
        await receiver.met(20)
        assert await deliverer.drained()
        assert await publisher.deliveries.count_due() == 0
    assert len(receiver.requests) == 20


async def test_an_idle_worker_is_woken_and_does_not_poll(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looks by itself once an hour delivers what another publishes, event after event: it was told of each.

    Where the machine is not busy with something else, an attempt starts within 50 ms.
    """
    monkeypatch.setattr(claimer, "_SURVEY_EVERY_MS", 3_600_000)
    url = database_in(tmp_path)
    async with on(url, deliver=False) as publisher, on(url) as deliverer:
        await publisher.endpoints.create(receiver.url, events=["*"])
        took_s = []
        for number in range(1, 11):
            await publisher.publish("order.paid", {"n": number})
            published_s = time.monotonic()
            await receiver.met(number)
            took_s.append(time.monotonic() - published_s)
            assert await deliverer.drained()
        assert sorted(took_s)[2] < 0.05, took_s


async def test_who_has_nothing_to_do_asks_for_nothing(tmp_path: Path, receiver: Receiver) -> None:
    """In a second and a half an idle process sends the server a handful of messages: it waits to be told."""
    async with Proxy(database_in(tmp_path)) as proxy, on(proxy.url) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {})
        await receiver.met(1)
        await all_are(tellwire, State.SUCCEEDED, 1)
        await asyncio.sleep(0.5)  # what follows from that, the statistics say
        sent: list[bytes] = []

        def note(_: Link, piece: bytes) -> bool:
            sent.append(piece)
            return True

        proxy.before_server = note
        await asyncio.sleep(1.5)  # nothing happens that could be waited for
        assert len(sent) <= 20, sent


async def test_what_nobody_has_told_is_found(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hears nothing any more looks by itself, now and then, for what others have published."""
    monkeypatch.setattr(claimer, "_SURVEY_EVERY_MS", 300)
    url = database_in(tmp_path)
    async with on(url, deliver=False) as publisher, on(url) as deliverer:
        await deliverer._store._news.close()  # type: ignore[attr-defined]
        await publisher.endpoints.create(receiver.url, events=["*"])
        for number in range(1, 4):
            await publisher.publish("order.paid", {"n": number})
            await receiver.met(number)


async def test_two_that_deliver_send_each_event_once(tmp_path: Path, receiver: Receiver) -> None:
    """Two processes that publish and deliver at once share the work and double nothing."""
    url = database_in(tmp_path)
    async with on(url) as one, on(url) as two:
        await one.endpoints.create(receiver.url, events=["*"])
        await asyncio.gather(*[(one, two)[n % 2].publish("order.paid", {"n": n}) for n in range(200)])
        await receiver.met(200)
        assert await one.drained()
        assert await two.drained()
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 200
    assert len(receiver.requests) == 200


async def test_a_new_endpoint_counts_for_the_next_publish_of_every_process(tmp_path: Path) -> None:
    """An endpoint that one process has created gets what another publishes right after."""
    url = database_in(tmp_path)
    async with on(url, deliver=False) as one, on(url, deliver=False) as two:
        await one.endpoints.create("http://127.0.0.1:9999/", events=["*"])
        assert (await two.publish("order.paid", {})).deliveries == 1


async def test_what_waited_for_a_pause_to_end_is_sent_by_other_processes(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that delivers hears that an endpoint was resumed elsewhere: it need not come by to see it."""
    monkeypatch.setattr(claimer, "_SURVEY_EVERY_MS", 3_600_000)
    url = database_in(tmp_path)
    async with Receiver() as other, on(url, deliver=False) as publisher, on(url):
        endpoint, _ = await publisher.endpoints.create(receiver.url, events=["*"])
        await publisher.endpoints.create(other.url, events=["*"])
        for turn in range(1, 4):
            await publisher.endpoints.pause(endpoint.id)
            await publisher.publish("order.paid", {"n": turn})
            await other.met(turn)  # whoever claimed that knows of the pause
            await publisher.endpoints.resume(endpoint.id)
            await receiver.met(turn)


async def test_ten_that_open_at_once_migrate_once(tmp_path: Path) -> None:
    """Of ten processes that open an empty database together, all come up."""
    url = empty_database_in(tmp_path)
    together = [on(url, deliver=False) for _ in range(10)]
    await asyncio.gather(*[tellwire.open() for tellwire in together])
    for number, tellwire in enumerate(together):
        await tellwire.publish("order.paid", {"n": number})
        await tellwire.close()


async def test_publishing_shares_commits(tmp_path: Path) -> None:
    """A thousand events that are published in batches of a hundred take few transactions."""
    url = database_in(tmp_path)
    watch = await asyncpg.connect(url)
    async with on(url, deliver=False) as tellwire:
        before = await commits(watch)
        batch = [{"type": "order.paid", "data": {}} for _ in range(100)]
        await asyncio.gather(*[tellwire.publish_many(batch) for _ in range(10)])
    after = await commits(watch)
    await watch.close()
    assert after - before < 40


async def test_statements_are_few_and_large(tmp_path: Path, receiver: Receiver) -> None:
    """A thousand events with their results: one statement a batch, and a commit only where one is due."""
    statements: Counter[str] = Counter()

    def count(query: Any) -> None:
        text = " ".join(query.query.split())
        statements["all"] += 1
        for part in (
            "INSERT INTO events",
            "INSERT INTO deliveries",
            "UPDATE deliveries SET state",
            "WITH part0",
        ):
            statements[part] += part in text
        for part in ("INSERT INTO attempts", "WITH RECURSIVE lane(", "COMMIT"):
            statements[part] += part in text

    async with on(database_in(tmp_path)) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        store: Any = tellwire._store
        for writer in (store._writer, store._publish_writer):
            (await writer.driver()).add_query_logger(count)
        batch = [{"type": "order.paid", "data": {}} for _ in range(100)]
        await asyncio.gather(*[tellwire.publish_many(batch) for _ in range(10)])
        await receiver.met(1_000)
        assert await tellwire.drained()
    events, results = statements["INSERT INTO events"], statements["UPDATE deliveries SET state"]
    claims = statements["WITH RECURSIVE lane("]
    committed = statements["COMMIT"] + statements["WITH part0"]  # what is one statement needs no COMMIT
    print(f"per 1,000 events: {statements['all']} statements, {committed} commits; {dict(statements)}")
    assert 2 <= events <= 10
    assert statements["INSERT INTO deliveries"] == events
    assert results < 500
    assert statements["INSERT INTO attempts"] == results
    assert statements["WITH part0"] >= 1
    assert committed <= 2 * events + 2 * results + claims + 10
    assert statements["all"] <= 12 * committed


async def test_lone_events_share_commits(tmp_path: Path) -> None:
    """Three hundred events that are published at once, one by one, take one transaction or two, and never one each."""
    transactions: list[int] = []

    def hear(fact: Fact) -> None:
        if isinstance(fact, TransactionCommitted):
            transactions.extend(share.items for share in fact.shares if share.stage == "publish")

    async with on(database_in(tmp_path), deliver=False) as tellwire:
        tellwire.telemetry.subscribe(hear)
        await asyncio.gather(*[tellwire.publish("order.paid", {"n": n}) for n in range(300)])
    assert sum(transactions) == 300
    assert len(transactions) <= 2, transactions


async def test_results_share_commits(tmp_path: Path) -> None:
    """A hundred answers that come together take a few transactions, and never one each."""
    transactions: list[int] = []

    def hear(fact: Fact) -> None:
        if isinstance(fact, TransactionCommitted):
            transactions.extend(share.items for share in fact.shares if share.stage == "record")

    async with HeldReceiver(held=True) as held, on(database_in(tmp_path)) as tellwire:
        tellwire.telemetry.subscribe(hear)
        for _ in range(100):
            await tellwire.endpoints.create(held.url, events=["*"])
        await tellwire.publish("order.paid", {})
        await held.met(100)
        slow = asyncio.create_task(
            tellwire._store.write(lambda one: one.exec_driver_sql("SELECT pg_sleep(1)"))
        )
        await asyncio.sleep(0)  # it is on its way: what comes now comes together
        held.let_go()
        await slow
        await all_are(tellwire, State.SUCCEEDED, 100)
    assert sum(transactions) == 100
    assert len(transactions) <= 20, transactions


async def commits(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    if connection.get_server_version().major >= 15:  # before, they come by themselves, in half a second
        await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await connection.fetchval(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    return count


async def test_a_stopped_server_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    """While the server is down, publishing says so; when it is back, the same Tellwire works again."""
    server = start_server(tmp_path / "postgres")
    url = url_of(server, "postgres")
    async with on(url) as tellwire:
        await tellwire.publish("order.paid", {})
        server.stop()
        with pytest.raises(StoreUnavailableError):
            await tellwire.publish("order.paid", {})
        with pytest.raises(StoreUnavailableError):
            await tellwire.events.list()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server.start()
        async with asyncio.timeout(WAIT_S):
            await tellwire.publish("order.paid", {})
        assert len((await tellwire.events.list()).data) == 2


async def test_a_statement_that_takes_too_long_is_told_and_outlived(tmp_path: Path) -> None:
    """The server's own limit ends it: who publishes hears that nothing was stored, and a result is recorded later."""
    url, failed = database_in(tmp_path), asyncio.Event()
    locker = await asyncpg.connect(url)
    async with HeldReceiver(held=True) as held, on(url) as tellwire:

        def hear(fact: Fact) -> None:
            if isinstance(fact, StoreFailed) and fact.stage == "record":
                failed.set()

        async def limit(time: str) -> None:
            """That of the connections that write, in its turn with what else is written there."""
            store: Any = tellwire._store
            for commits in (store._commits, store._publishes):
                write = commits.register(
                    lambda one, _: [fetch(one, f"SET statement_timeout = '{time}'")], settle, 1
                )
                done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                write.submit((None, done))
                await done

        tellwire.telemetry.subscribe(hear)
        await tellwire.endpoints.create(held.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        await held.met(1)
        await limit("200ms")
        await locker.execute("BEGIN; LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailableError, match="statement timeout") as refusal:
            await tellwire.publish("order.paid", {"n": 2})
        assert not refusal.value.outcome_unknown
        held.let_go()
        async with asyncio.timeout(WAIT_S):
            await failed.wait()
        await locker.execute("ROLLBACK")
        await locker.close()
        await limit("30s")
        await tellwire.publish("order.paid", {"n": 3})
        await all_are(tellwire, State.SUCCEEDED, 2)
    assert [number for body in held.bodies for number in (1, 2, 3) if b'"n":%d' % number in body] == [1, 3]


async def test_a_failover_is_outlived(tmp_path: Path, receiver: Receiver) -> None:
    """On a server that is no primary any more publishing says so, and connections to it are given up for others."""
    url = database_in(tmp_path)
    admin = await asyncpg.connect(url)
    name = await admin.fetchval("SELECT current_database()")
    async with on(url) as tellwire:

        async def demoted() -> bool:
            """Whether a new connection has been made; what is published is refused in any case."""
            with pytest.raises(StoreUnavailableError) as refusal:
                await tellwire.publish("order.paid", {"is": "refused"})
            return "read-only" in str(refusal.value) and not refusal.value.outcome_unknown

        async def accepted() -> bool:
            try:
                return bool(await tellwire.publish("order.paid", {"is": "after"}, idempotency_key="after"))
            except StoreUnavailableError:
                return False

        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"is": "before"})
        await receiver.met(1)
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await admin.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE application_name = 'tellwire' AND datname = current_database()"
        )
        await until(demoted)
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        await until(accepted)
        await all_are(tellwire, State.SUCCEEDED, 2)
    await admin.close()
    assert [request.body.count(b"refused") for request in receiver.requests] == [0, 0]


async def test_a_text_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    """A NUL character in a description is the input's fault, and is said so."""
    async with on(database_in(tmp_path), deliver=False) as tellwire:
        with pytest.raises(InvalidInputError, match=r"U\+0000|character"):
            await tellwire.endpoints.create("http://127.0.0.1:9999/", events=["*"], description="a\0b")


def test_a_secret_key_is_needed() -> None:
    """There is no place beside a database on a server where a key could lie: the error names the setting."""
    with pytest.raises(SettingsError, match="TELLWIRE_SECRET_KEY"):
        Tellwire("postgresql://localhost/tellwire")
