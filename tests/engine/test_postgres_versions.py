"""The versions of PostgreSQL that Tellwire promises, but for the newest, which all other tests run on."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.binaries.postgres import NoProgramsError
from tests.postgres import start_server, url_of

from tellwire import NotFoundError, Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.pruner import Pruner
from tellwire.deliver.remover import Remover
from tellwire.model.delivery import State
from tellwire.model.replay import Again, ReplayState
from tellwire.policy.retry import RetrySchedule
from tellwire.store.postgres_days import DAY_MS, days_of
from tellwire.telemetry import Telemetry

from .callers import Mode, caller
from .cli_process import Process
from .clock import LateClock
from .conftest import LOOPBACK, Received, Receiver, Reply
from .embedded import KEY, all_are, until
from .replaying import ended
from .test_stats import PATIENT, nothing_pending

VERSIONS = (14, 15, 16, 17)
WIDE = 9
CALLERS = [Mode("asyncpg", "postgres"), Mode("psycopg_async", "postgres")]


class Base:
    """A server of one version."""

    def __init__(self, folder: Path, version: int) -> None:
        self.version = version
        self._server = start_server(folder, version)

    def database(self, name: str) -> str:
        """The URL of a new database, which is empty."""
        self._server.psql(f"CREATE DATABASE {name};")
        return url_of(self._server, name)

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module", params=VERSIONS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    version: int = request.param
    try:
        base = Base(tmp_path_factory.mktemp("server"), version)
    except NoProgramsError as error:
        pytest.skip(str(error))
    yield base
    base.stop()


def on(url: str, *, deliver: bool = True) -> Tellwire:
    """A Tellwire that gives up after two attempts, and does four of everything that is wide at a time."""
    engine = EngineOptions(schedule=RetrySchedule((10,)), grace_s=1)
    return Tellwire(
        url,
        Options(
            secret_key=KEY,
            egress=LOOPBACK,
            engine=engine,
            deliver=deliver,
            fan_out_at_once=4,
            rearrange_at_once=4,
        ),
    )


async def test_an_empty_database_is_migrated(base: Base, tmp_path: Path, workers: list[Process]) -> None:
    """``tellwire migrate`` makes all tables, on the version that is meant; ``--check`` says no before, yes after."""
    url = base.database("migrated")
    connection = await asyncpg.connect(url)
    assert connection.get_server_version().major == base.version
    await connection.close()
    (tmp_path / "keys.toml").write_text(f'secret_key = "{KEY}"\n')
    for flags, code in (["--check"], 1), ([], 0), (["--check"], 0):
        workers.append(Process(tmp_path, "migrate", "--config", "keys.toml", "--database-url", url, *flags))
        assert await asyncio.to_thread(workers[-1].wait) == code, workers[-1].rest("err")


async def test_events_come_arrive_and_go(base: Base, receiver: Receiver) -> None:
    """Published in every way, everything arrives as often as it should, is sent again and counted, and goes in time."""
    url = base.database("lived")
    async with on(url) as tellwire:
        book = Book(tellwire, receiver)
        await book.make_endpoints()
        await book.publish()
        await book.publish_in_transactions(url)
        await book.check()
        await book.replay()
        await book.replay_missing()
        await book.change_order()
        await book.delete_tenant()
        later = await tellwire.publish("order.later", {}, deliver_at=tellwire.now() + timedelta(days=10))
    await prune(url)
    async with on(url, deliver=False) as tellwire:
        assert [event.id for event in (await tellwire.events.list()).data] == [later.id]
        (left,) = (await tellwire.deliveries.list()).data
        assert (left.event_id, left.state) == (later.id, State.PENDING)


class Book:
    """Keeps what is to arrive where, and holds it against what has arrived."""

    def __init__(self, tellwire: Tellwire, receiver: Receiver) -> None:
        self._tellwire = tellwire
        self._receiver = receiver
        self._base = receiver.url.removesuffix("/hook")
        self._due: Counter[tuple[str, str]] = Counter()
        self._flaky = ""
        self._refuses = True
        receiver.respond = self._answer

    def _answer(self, request: Received) -> Reply:
        return Reply(500 if self._refuses and request.path == "/flaky" else 200)

    async def make_endpoints(self) -> None:
        """One that keeps the order of each key, many for wide events, and one that refuses at first."""
        create = self._tellwire.endpoints.create
        await create(f"{self._base}/orders", events=["order.*"], settings={"order": "key"})
        for number in range(WIDE):
            await create(f"{self._base}/wide/{number}", events=["news"])
        self._flaky = (await create(f"{self._base}/flaky", events=["flaky"], settings=PATIENT))[0].id

    async def publish(self) -> None:
        """Alone, together, twice with one key, in lines, for many endpoints, and ahead of its time."""
        tellwire = self._tellwire
        one = await tellwire.publish("order.paid", {"n": 0}, idempotency_key="k")
        again = await tellwire.publish("order.paid", {"n": 0}, idempotency_key="k")
        assert (again.id, again.duplicate) == (one.id, True)
        lines = [(n, "ab"[n % 2]) for n in range(20)]
        batch = [
            {"type": "order.moved", "data": {"n": n, "key": key}, "ordering_key": key} for n, key in lines
        ]
        later = await tellwire.publish("order.due", {}, deliver_at=tellwire.now() + timedelta(seconds=0.5))
        for receipt in [one, later, *await tellwire.publish_many(batch)]:
            self._due[receipt.id, "/orders"] += 1
        for receipt in await asyncio.gather(*(tellwire.publish("news", {"n": n}) for n in range(3))):
            self._due.update((receipt.id, f"/wide/{number}") for number in range(WIDE))
        for receipt in await tellwire.publish_many([{"type": "flaky", "data": {}} for _ in range(5)]):
            self._due[receipt.id, "/flaky"] += 2

    async def publish_in_transactions(self, url: str) -> None:
        """In callers' own transactions, one of which is rolled back."""
        for mode in CALLERS:
            async with caller(mode, self._tellwire, url, KEY) as somebody:
                await somebody.publish("order.never", {})
                await somebody.rollback()
                receipt = await somebody.publish("order.bought", {}, idempotency_key=mode.kind)
                wide = await somebody.publish("news", {})
                await somebody.commit()
            self._due[receipt.id, "/orders"] += 1
            self._due.update((wide.id, f"/wide/{number}") for number in range(WIDE))

    async def check(self) -> None:
        """All has arrived as often as it should, and each line in its order."""
        requests = await self._receiver.met(self._due.total())
        assert await self._tellwire.drained()
        assert Counter((one.headers["webhook-id"], one.path) for one in requests) == self._due
        bodies = [json.loads(one.body) for one in requests]
        for key in "ab":
            line = [body["data"]["n"] for body in bodies if body["data"].get("key") == key]
            assert line == sorted(line)
            assert len(line) == 10

    async def replay(self) -> None:
        """What was refused is sent again, is received now, and is counted."""
        self._refuses = False
        await until(lambda: nothing_pending(self._tellwire))
        total = (await self._tellwire.stats.all()).total
        assert (total.exhausted, total.attempts_failed) == (5, 10)
        since = self._tellwire.now() - timedelta(hours=1)
        started = await self._tellwire.replays.start(self._flaky, since=since, states=[Again.EXHAUSTED])
        done = await ended(self._tellwire, started)
        assert (done.state, done.retried) == (ReplayState.SUCCEEDED, 5)
        for id, path in self._due:
            self._due[id, path] += path == "/flaky"
        await all_are(self._tellwire, State.SUCCEEDED, len(self._due))
        await self.check()
        assert (await self._tellwire.stats.all()).total.succeeded == len(self._due)

    async def replay_missing(self) -> None:
        """A new endpoint gets the events from before that it wants."""
        late, _ = await self._tellwire.endpoints.create(f"{self._base}/late", events=["news"])
        news = {id for id, path in self._due if path.startswith("/wide")}
        since = self._tellwire.now() - timedelta(hours=1)
        done = await ended(self._tellwire, await self._tellwire.replays.start(late.id, since=since))
        assert (done.state, done.created) == (ReplayState.SUCCEEDED, len(news))
        self._due.update((id, "/late") for id in news)
        await self.check()

    async def change_order(self) -> None:
        """What waits takes its place in a new order, page after page, and comes in it."""
        endpoint, _ = await self._tellwire.endpoints.create(f"{self._base}/line", events=["line"])
        await self._tellwire.endpoints.pause(endpoint.id)
        batch = [{"type": "line", "data": {"n": n}} for n in range(10)]
        receipts = await self._tellwire.publish_many(batch)
        await self._tellwire.endpoints.update(endpoint.id, {"order": "endpoint"})
        await self._tellwire.endpoints.resume(endpoint.id)
        self._due.update((receipt.id, "/line") for receipt in receipts)
        await self.check()
        line = [one.headers["webhook-id"] for one in self._receiver.requests if one.path == "/line"]
        assert line == [receipt.id for receipt in receipts]

    async def delete_tenant(self) -> None:
        """A tenant that has received something is to go."""
        await self._tellwire.tenants.create("acme")
        await self._tellwire.endpoints.create(f"{self._base}/acme", events=["*"], tenant="acme")
        receipt = await self._tellwire.publish("order.paid", {}, tenant="acme")
        self._due[receipt.id, "/acme"] += 1
        await self.check()
        await until(lambda: nothing_pending(self._tellwire))
        assert self._tellwire.engine is not None
        await self._tellwire.engine._roller.roll_up()  # a tenant's last counts go before it does
        await self._tellwire.tenants.delete("acme")


async def prune(url: str) -> None:
    """As of three days from now, remove the deleted tenant and what is older than a day: today goes whole."""
    clock = LateClock()
    clock.late_ms = 3 * DAY_MS
    connection = await asyncpg.connect(url)
    before = await days_of(connection, "events")
    async with on(url, deliver=False) as tellwire:
        await Remover(tellwire._store, clock, Telemetry()).remove()
        with pytest.raises(NotFoundError):
            await tellwire.tenants.get("acme")
        assert (await tellwire.events.list(tenant="acme")).data == []
        await Pruner(tellwire._store, clock, Telemetry(), 1, 1, 400).prune()
    after = await days_of(connection, "events")
    await connection.close()
    first = min(before, key=lambda day: day.end)
    assert first.name not in {day.name for day in after}
