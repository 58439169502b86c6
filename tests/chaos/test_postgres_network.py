"""The network between Tellwire and PostgreSQL cuts, stalls and half opens connections; statements are cancelled."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from tests.postgres import new_folder
from tests.proxy import Link, Proxy

from .evidence import check_all_succeeded_on
from .postgres import Cluster
from .processes import ReceiverProcess, Server, Worker, until
from .publishers import Book, Current, publish_on
from .test_postgres_kill import FLAGS, PUBLISHERS

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
EACH = 4


async def test_connections_that_are_cut_stalled_and_half_open_lose_nothing(tmp_path: Path) -> None:
    """Whatever becomes of connections and statements: nobody is told of success falsely, and nothing stays stuck."""
    print(f"CHAOS_SEED={SEED}")
    rng = random.Random(SEED)
    book, stop = Book(), asyncio.Event()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(new_folder()))
        proxy = await stack.enter_async_context(Proxy(cluster.url))
        receiver = await stack.enter_context(ReceiverProcess(tmp_path, SEED)).started()
        server = stack.enter_context(Server(proxy.url, tmp_path, *FLAGS))
        front = stack.enter_context(Server(proxy.url, tmp_path, *FLAGS, "--no-engine", name="front"))
        worker = stack.enter_context(Worker(proxy.url, tmp_path, *FLAGS))
        await asyncio.gather(server.started(), front.started(), worker.started())
        targets = ["/steady", "/flaky"]
        secrets = {target: (await server.subscribe(receiver.url + target))["secret"] for target in targets}
        publishers = [
            asyncio.create_task(publish_on(Current(server, front), book, rng.random(), stop))
            for _ in range(PUBLISHERS)
        ]
        troubles = [*_troubles(proxy, cluster, rng)] * EACH
        rng.shuffle(troubles)
        for trouble in troubles:
            await asyncio.sleep(rng.uniform(0.05, 0.5))
            await trouble()
        await until(
            lambda: _publisher_in_doubt(book, proxy), "a publisher was not told what became of its event"
        )
        # The longest last: nothing gets through to the server, then nothing back, and nobody is told.
        for way in rng.sample(["there", "back"], 2):
            await asyncio.sleep(rng.uniform(0.3, 0.6))
            proxy.stall(way)
            for one in (server, front):
                await until(lambda one=one: _ready(one, 503), "not ready")  # type: ignore[misc]
            if way == "there":
                proxy.cut()
            for one in (server, front):
                await until(lambda one=one: _ready(one, 200), "ready on new connections")  # type: ignore[misc]
        stop.set()
        await asyncio.gather(*publishers)
        proxy.resume()
        await server.drained()
        for process in (server, front, worker):
            assert await process.terminate() == 0, process.tail()
        await check_all_succeeded_on(cluster.url)
        ledger = book.settle(receiver.verified(secrets), targets)
    assert ledger["lost"] == 0
    assert [entry for entry in book.entries if entry.key and not entry.id] == []


def _troubles(proxy: Proxy, cluster: Cluster, rng: random.Random) -> list[Callable[[], Awaitable[object]]]:
    async def cut_some() -> None:
        proxy.cut(0.5, rng)

    async def lose_an_answer() -> None:
        _lose_an_answer(proxy, carried_out=rng.random() < 0.5)

    async def cancel() -> None:
        """What a statement timeout does, at any moment."""
        for _ in range(10):
            await cluster.backends("pg_cancel_backend(pid)")

    async def terminate() -> None:
        await cluster.backends("pg_terminate_backend(pid)")

    return [cut_some, lose_an_answer, cancel, terminate]


def _lose_an_answer(proxy: Proxy, *, carried_out: bool) -> None:
    """Cut the next connection that commits: when its COMMIT has been carried out, or before it has arrived."""
    name = "after_server" if carried_out else "before_server"

    def passes(link: Link, piece: bytes) -> bool:
        if b"COMMIT" not in (link.sent if carried_out else piece):
            return True
        setattr(proxy, name, lambda *_: True)
        return False

    setattr(proxy, name, passes)


async def _publisher_in_doubt(book: Book, proxy: Proxy) -> bool:
    """Not every COMMIT is a publisher's: lose another answer until it was."""
    if not book.unknown:
        _lose_an_answer(proxy, carried_out=True)
    return bool(book.unknown)


async def _ready(server: Server, status: int) -> bool:
    return (await server.ask("GET", "/readyz")).status_code == status
