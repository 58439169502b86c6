"""On PostgreSQL, processes of every kind are killed and frozen at random moments; nothing acknowledged is lost."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from tests.postgres import database_in

from .evidence import check_all_succeeded_on
from .processes import Process, ReceiverProcess, Server, Worker, freeze, until
from .publishers import Book, Current, publish_on

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
KILLS = 9
PUBLISHERS = 4
LEASE = ["--lease", "12s", "--delivery-timeout", "1s"]
PATIENT = ["--lease", "20s", "--delivery-timeout", "5s"]
"""Of the server that is frozen: there are five seconds for that, from the moment when its attempt has arrived."""
FLAGS = [*LEASE, "--retry-schedule", "200ms,300ms,500ms," + ",".join(["1s"] * 20)]


class Frozen(NamedTuple):
    """A server that was stopped (SIGSTOP) with an attempt in the air, and another one on the same database."""

    frozen: Server
    other: Server
    receiver: ReceiverProcess
    event: str
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def seed() -> int:
    print(f"CHAOS_SEED={SEED}")
    return SEED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frozen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Frozen]:
    """Made before the first test of this module, so that its lease runs out while that test runs."""
    folder = tmp_path_factory.mktemp("frozen")
    url = database_in(folder)
    with (
        ReceiverProcess(folder) as receiver,
        Server(url, folder, *PATIENT, name="other") as other,
        Server(url, folder, *PATIENT, name="frozen") as server,
    ):
        await receiver.started()
        await other.started()
        await server.started()
        target = "/steady?first_ms=4900"
        endpoint = await other.subscribe(receiver.url + target)
        response = await server.ask("POST", "/v1/events", {"type": "a.b", "data": {"number": 0}})
        assert response.status_code == 202, response.text

        async def in_the_air() -> bool:
            return bool(receiver.received())

        await until(in_the_air, "the attempt is in the air")
        await freeze(server, other)
        try:
            yield Frozen(server, other, receiver, response.json()["id"], {target: endpoint["secret"]})
        finally:
            server.popen.send_signal(signal.SIGCONT)


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
async def test_the_late_result_of_a_frozen_server_does_not_win(frozen: Frozen, tmp_path: Path) -> None:
    """A server that sleeps past its lease wakes up to find the delivery done by another, and leaves it so."""

    async def history() -> tuple[str, list[tuple[int, str]]]:
        found = (await frozen.other.ask("GET", f"/v1/deliveries?event={frozen.event}")).json()["data"]
        whole = (await frozen.other.ask("GET", f"/v1/deliveries/{found[0]['id']}")).json()
        return whole["state"], [(attempt["number"], attempt["id"]) for attempt in whole["attempts"]]

    await frozen.other.drained()
    before = await history()
    assert before[0] == "succeeded"
    assert len(before[1]) == 1
    frozen.frozen.popen.send_signal(signal.SIGCONT)

    async def dropped() -> bool:
        return b'"late results dropped"' in frozen.frozen.log.read_bytes()

    await until(dropped, "the late result was dropped")
    assert await history() == before
    requests = frozen.receiver.verified(frozen.secrets)
    assert [request.id for request in requests] == [frozen.event] * 2
    again = await frozen.frozen.ask("POST", "/v1/events", {"type": "a.b", "data": {"number": 1}})
    assert again.status_code == 202
    await frozen.frozen.drained()
    assert len(frozen.receiver.received()) == 3
    assert await frozen.frozen.terminate() == 0
