"""On PostgreSQL, processes of every kind are killed and frozen at random moments; nothing acknowledged is lost."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from tests.postgres import database_in

from .evidence import check_all_succeeded_on
from .freezing import Frozen, frozen_on, wakes_up_too_late
from .processes import Process, ReceiverProcess, Server, Worker
from .publishers import Book, Current, publish_on

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
KILLS = 9
PUBLISHERS = 4
LEASE = ["--lease", "12s", "--delivery-timeout", "1s"]
FLAGS = [*LEASE, "--retry-schedule", "200ms,300ms,500ms," + ",".join(["1s"] * 20)]


@pytest.fixture(scope="module")
def seed() -> int:
    print(f"CHAOS_SEED={SEED}")
    return SEED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frozen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Frozen]:
    """Made before the first test of this module, so that its lease runs out while that test runs."""
    folder = tmp_path_factory.mktemp("frozen")
    async with frozen_on(database_in(folder), folder) as frozen:
        yield frozen


class Kinds:
    """One process of each kind on one database, each started again when it was killed."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self.kinds = ("serve", "serve without engine", "worker")
        self.running: dict[str, Process] = {}

    async def start(self, kind: str) -> None:
        """Fill the place of this kind."""
        if kind == "worker":
            self.running[kind] = await Worker(self._url, self._folder, *FLAGS).started()
        elif kind == "serve":
            self.running[kind] = await Server(self._url, self._folder, *FLAGS).started()
        else:
            flags = [*FLAGS, "--no-engine"]
            self.running[kind] = await Server(self._url, self._folder, *flags, name="front").started()

    @property
    def servers(self) -> list[Server]:
        return [one for one in self.running.values() if isinstance(one, Server)]

    async def stop(self) -> None:
        """Stop all gracefully."""
        for one in self.running.values():
            assert await one.terminate() == 0, one.tail()

    def kill_all(self) -> None:
        for one in self.running.values():
            one.kill()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("frozen")
async def test_nothing_acknowledged_is_lost_when_processes_are_killed(tmp_path: Path, seed: int) -> None:
    """After kill -9 of servers and workers at any moment every acknowledged event has reached each endpoint."""
    rng = random.Random(seed)
    book, stop, url = Book(), asyncio.Event(), database_in(tmp_path)
    kinds = Kinds(url, tmp_path)
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_context(ReceiverProcess(tmp_path, seed)).started()
        stack.callback(kinds.kill_all)
        await asyncio.gather(*[kinds.start(kind) for kind in kinds.kinds])
        targets = ["/steady", "/flaky"]
        secrets = {
            target: (await kinds.servers[0].subscribe(receiver.url + target))["secret"] for target in targets
        }
        current = Current(*kinds.servers)
        publishers = [
            asyncio.create_task(publish_on(current, book, rng.random(), stop)) for _ in range(PUBLISHERS)
        ]
        kills = [*kinds.kinds, *rng.choices(kinds.kinds, k=KILLS - len(kinds.kinds))]
        for kind in kills:
            await asyncio.sleep(rng.uniform(0.05, 1.0))
            kinds.running[kind].kill()
            await kinds.start(kind)
            current.servers = kinds.servers
        stop.set()
        await asyncio.gather(*publishers)
        await kinds.servers[0].drained()  # the last leases of the killed end within twelve seconds
        await kinds.stop()
        ledger = book.settle(receiver.verified(secrets), targets)
    assert ledger["lost"] == 0
    assert ledger["unknown outcomes"], "no kill hit a publisher: the test proves nothing"
    assert [entry for entry in book.entries if entry.key and not entry.id] == []
    await check_all_succeeded_on(url)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_late_result_of_a_frozen_server_does_not_win(frozen: Frozen) -> None:
    """A server that sleeps past its lease wakes up to find the delivery done by another, and leaves it so."""
    await wakes_up_too_late(frozen)
