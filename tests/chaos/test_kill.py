"""Servers that are killed, stopped and frozen at random moments lose nothing that they acknowledged."""

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from tellwire import Options, Tellwire
from tellwire.deliver.egress import EgressPolicy

from .evidence import check_all_succeeded, check_whole, database, one
from .freezing import Frozen, frozen_on, wakes_up_too_late
from .processes import SECRET_KEY, ReceiverProcess, Server, until
from .publishers import Book, Current, publish_on

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
KILLS_BEFORE_FIRST_START = 3
KILLS_WHILE_STARTING = 4
KILLS_UNDER_LOAD = 13
KILLS_OF_ONE = 6
MOST_KILLS_OF_ONE = 40
"""So many more of them hit no publisher only where that cannot be."""
TWO = ["--processes", "2"]
PUBLISHERS = 5
DATABASE = "tellwire.db"
# So many short delays that chance does not use them up: what is exhausted would be no loss, but hide one.
SCHEDULE = "200ms,300ms,500ms," + ",".join(["1s"] * 20)
FLAGS = ["--lease", "12s", "--delivery-timeout", "1s", "--retry-schedule", SCHEDULE]


@pytest.fixture(scope="module")
def seed() -> int:
    print(f"CHAOS_SEED={SEED}")
    return SEED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frozen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Frozen]:
    """Made before the first test of this module, so that its lease runs out while the other tests run."""
    folder = tmp_path_factory.mktemp("frozen")
    async with frozen_on(folder / DATABASE, folder) as frozen:
        yield frozen


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("frozen")
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_again_and_again(
    tmp_path: Path, seed: int
) -> None:
    """After 20 times kill -9 at any moment every acknowledged event reaches each endpoint, and none becomes two."""
    rng = random.Random(seed)
    path, book, stop = tmp_path / "tellwire.db", Book(), asyncio.Event()

    def start() -> Server:
        return Server(path, tmp_path, *FLAGS)

    for _ in range(KILLS_BEFORE_FIRST_START):
        with start():
            await asyncio.sleep(rng.uniform(0.05, 1.0))  # it starts at once: see forked
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_context(ReceiverProcess(tmp_path, seed)).started()
        targets = ["/steady", "/flaky"]
        with start() as server:
            current = Current(await server.started())
            secrets = {
                target: (await server.subscribe(receiver.url + target))["secret"] for target in targets
            }
        publishers = [
            asyncio.create_task(publish_on(current, book, rng.random(), stop)) for _ in range(PUBLISHERS)
        ]
        moments = [True] * (KILLS_UNDER_LOAD - 1) + [False] * KILLS_WHILE_STARTING
        rng.shuffle(moments)
        for under_load in moments:
            with start() as server:
                if under_load:
                    current.server = await server.started()
                await asyncio.sleep(rng.uniform(0.05, 1.2))
        current.server = await stack.enter_context(start()).started()
        stop.set()
        await asyncio.gather(*publishers)
        await current.server.drained()  # the last leases of the killed end within twelve seconds
        assert await current.server.terminate() == 0
        ledger = book.settle(receiver.verified(secrets), targets)
    assert ledger["lost"] == 0
    assert ledger["unknown outcomes"], "no kill hit a publisher: the test proves nothing"
    assert [entry for entry in book.entries if entry.key and not entry.id] == []
    with database(path) as connection:
        check_all_succeeded(connection)
        assert one(connection, "SELECT count(*) FROM events") * len(targets) == ledger["delivered"]


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_acknowledged_is_lost_when_one_of_two_processes_is_killed(
    tmp_path: Path, seed: int
) -> None:
    """Two processes share an SQLite file, and now one and now the other is killed: what either acknowledged arrives."""
    rng = random.Random(seed)
    path, book, stop = tmp_path / DATABASE, Book(), asyncio.Event()
    targets = ["/steady", "/flaky"]
    with ReceiverProcess(tmp_path, seed) as receiver, Server(path, tmp_path, *FLAGS, *TWO) as server:
        await receiver.started()
        current = Current(await server.started())
        secrets = {target: (await server.subscribe(receiver.url + target))["secret"] for target in targets}
        publishers = [
            asyncio.create_task(publish_on(current, book, rng.random(), stop)) for _ in range(PUBLISHERS)
        ]
        kills = 0
        while kills < KILLS_OF_ONE or (not book.unknown and kills < MOST_KILLS_OF_ONE):
            await asyncio.sleep(rng.uniform(0.2, 0.8))
            await until(partial(has_two, server), "whoever was killed has been replaced")
            os.kill(rng.choice(children_of(server)), signal.SIGKILL)
            kills += 1
        stop.set()
        await asyncio.gather(*publishers)
        await server.drained()
        assert await server.terminate() == 0, server.tail()
        ledger = book.settle(receiver.verified(secrets), targets)
    assert ledger["lost"] == 0
    assert ledger["unknown outcomes"], "no kill hit a publisher: the test proves nothing"
    with database(path) as connection:
        check_all_succeeded(connection)
        assert one(connection, "SELECT count(*) FROM events") * len(targets) == ledger["delivered"]


async def has_two(server: Server) -> bool:
    """Whether a server has both of its processes."""
    return len(children_of(server)) == 2


def children_of(server: Server) -> list[int]:
    """The processes that a server has at present."""
    found = subprocess.run(["pgrep", "-P", str(server.popen.pid)], capture_output=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stopped_server_records_what_was_in_the_air_and_gives_the_rest_back(
    tmp_path: Path, seed: int
) -> None:
    """SIGTERM under load ends with code 0, with every answer recorded and no claim held; the next one goes on."""
    rng = random.Random(seed)
    path, book = tmp_path / "tellwire.db", Book()
    # Few slots and a slow receiver: there is always something in the air, something held and a backlog.
    flags = ["--in-flight-per-endpoint", "4", "--held-deliveries", "40"]
    requests = 0
    with ReceiverProcess(tmp_path, seed) as receiver:
        await receiver.started()
        target = "/steady?ms=100"
        secrets: dict[str, str] = {}
        for _ in range(4):
            with Server(path, tmp_path, *flags) as server:
                await server.started()
                if not secrets:
                    secrets[target] = (await server.subscribe(receiver.url + target))["secret"]
                stop = asyncio.Event()
                publishers = [
                    asyncio.create_task(publish_on(Current(server), book, rng.random(), stop))
                    for _ in range(PUBLISHERS)
                ]
                await asyncio.sleep(rng.uniform(0.3, 1.5))
                code = await server.terminate()
                stop.set()
                for publisher in publishers:
                    publisher.cancel()
                await asyncio.gather(*publishers, return_exceptions=True)
                assert code == 0, server.tail()
            with database(path) as connection:
                check_whole(connection)
                assert one(connection, "SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL") == 0
                requests = one(connection, "SELECT count(*) FROM attempts")
            assert requests == len(receiver.received()), "an answer was not recorded"
        with Server(path, tmp_path, "--in-flight-per-endpoint", "64") as server:
            await server.started()
            await server.drained()
            assert await server.terminate() == 0
        ledger = book.settle(receiver.verified(secrets), [target])
    assert requests < ledger["delivered"], "nothing was left to give back: the test proves nothing"
    assert ledger["lost"] == ledger["duplicates"] == 0
    with database(path) as connection:
        check_all_succeeded(connection)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_late_result_of_a_frozen_server_does_not_win(frozen: Frozen) -> None:
    """A server that sleeps past its lease wakes up to find the delivery done by another, and leaves it so."""
    await wakes_up_too_late(frozen)
    with database(frozen.server.log.parent / DATABASE) as connection:
        check_all_succeeded(connection)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_fan_out_that_is_killed_again_and_again_reaches_everybody_once(
    tmp_path: Path, seed: int
) -> None:
    """After kills in the middle of wide events, each endpoint has one delivery of each, none more and none less."""
    rng = random.Random(seed)
    path, endpoints, events, kills = tmp_path / "tellwire.db", 90, 6, 0
    flags = ["--fan-out-at-once", "2", "--log-level", "error"]
    silent = Options(
        deliver=False, secret_key=SECRET_KEY, egress=EgressPolicy.for_development(), fan_out_at_once=2
    )

    def left() -> int:
        with database(path) as connection:
            found: int = one(connection, "SELECT coalesce(sum(targets), 0) FROM fanout_pages")
        return found

    with ReceiverProcess(tmp_path, seed) as receiver:
        await receiver.started()
        async with Tellwire(f"sqlite:///{path}", silent) as tellwire:
            for _ in range(endpoints):
                await tellwire.endpoints.create(receiver.url + "/steady", events=["*"])
            for number in range(events):
                assert (await tellwire.publish("a.b", {"number": number})).deliveries == endpoints
        before, lives = left(), 0
        while before:
            lives += 1  # each may last longer, so that a slow machine comes to an end too
            with Server(path, tmp_path, *flags) as server:
                await server.started()
                await asyncio.sleep(rng.uniform(0, 0.05 * lives))
            kills += 0 < left() < before
            before = left()
    assert kills, "no kill hit a fan-out: the test proves nothing"
    with database(path) as connection:
        counts = "SELECT count(*) FROM deliveries GROUP BY event_id, endpoint_id"
        assert [count for (count,) in connection.execute(counts)] == [1] * endpoints * events
