"""PostgreSQL itself stops, crashes and is killed under load: publishers are told, and nothing acknowledged is lost."""

import asyncio
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

from tests.postgres import new_folder

from .evidence import check_all_succeeded_on
from .postgres import Cluster
from .processes import ReceiverProcess, Server, Worker, until
from .publishers import Book, Current, publish_on
from .test_postgres_kill import FLAGS, PUBLISHERS

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
WAYS = ["fast", "immediate", "kill", "immediate"]


async def test_a_database_that_stops_crashes_and_is_killed_loses_nothing(tmp_path: Path) -> None:
    """While it is away, readiness and publishing say so, and no process ends; when it is back, all goes on."""
    print(f"CHAOS_SEED={SEED}")
    rng = random.Random(SEED)
    book, stop = Book(), asyncio.Event()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(new_folder()))
        receiver = await stack.enter_context(ReceiverProcess(tmp_path, SEED)).started()
        several = stack.enter_context(Server(cluster.url, tmp_path, *FLAGS, "--processes", "2"))
        alone = stack.enter_context(Server(cluster.url, tmp_path, *FLAGS, "--no-engine", name="front"))
        worker = stack.enter_context(Worker(cluster.url, tmp_path, *FLAGS))
        await asyncio.gather(several.started(), alone.started(), worker.started())
        targets = ["/steady", "/flaky"]
        secrets = {target: (await alone.subscribe(receiver.url + target))["secret"] for target in targets}
        publishers = [
            asyncio.create_task(publish_on(Current(several, alone), book, rng.random(), stop))
            for _ in range(PUBLISHERS)
        ]
        for way in rng.sample(WAYS, len(WAYS)):
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            await cluster.restart(way, meanwhile=_away(several, alone))
            for server in (several, alone):
                await until(lambda server=server: _ready(server, 200), "ready again")  # type: ignore[misc]
        await asyncio.sleep(rng.uniform(0.3, 1.0))
        stop.set()
        await asyncio.gather(*publishers)
        await alone.drained()
        for process in (several, alone, worker):
            assert await process.terminate() == 0, process.tail()
        await check_all_succeeded_on(cluster.url)
        ledger = book.settle(receiver.verified(secrets), targets)
    assert ledger["lost"] == 0
    assert ledger["refused"] or ledger["unknown outcomes"], (
        "no publisher met a restart: the test proves nothing"
    )
    assert [entry for entry in book.entries if entry.key and not entry.id] == []


async def _ready(server: Server, status: int) -> bool:
    return (await server.ask("GET", "/readyz")).status_code == status


async def _away(*servers: Server) -> None:
    """While the database is away: not ready, publishing gets 503 that says when to return, and all are alive."""
    for server in servers:
        await until(lambda server=server: _ready(server, 503), "not ready")  # type: ignore[misc]
        assert (await server.ask("GET", "/healthz")).status_code == 200
        response = await server.ask("POST", "/v1/events", {"type": "a.b", "data": {"number": -1}})
        assert response.status_code == 503, response.text
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["stored"] is False
