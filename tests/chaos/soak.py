"""``make soak MINUTES=n``: real processes on both stores, half of the time each, with every fault at random; a ledger.

Two servers and a worker are published to without a pause. Meanwhile they are killed, stopped gracefully and frozen, one
or several at a time; the disk under SQLite is full; PostgreSQL is restarted, its connections are cut and its statements
cancelled; and receivers fail now and then. Some of them get everything in order, or what has the same ordering key, or
batches. In the end all is well again, and everything that was acknowledged has to
have arrived: ``lost`` must be 0, and so must ``out of order``. Ends with 1 if they are not, or if the database does not
say the same. ``SEED=n`` makes the same choices again (their times are the machine's).
"""

import argparse
import asyncio
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from tests.proxy import Proxy

from .evidence import check_all_succeeded, check_all_succeeded_on, database
from .postgres import Cluster
from .processes import Process, ReceiverProcess, Server, Worker
from .publishers import Book, Current, publish_on
from .standing import batches_are_whole, out_of_order

PUBLISHERS = 4
KEYS = [None, *(f"order {number}" for number in range(20))]
TARGETS: dict[str, dict[str, Any]] = {
    "/steady": {},
    "/flaky": {},
    "/steady?ms=50": {},
    "/steady?order=endpoint": {"order": "endpoint", "on_exhausted": "block"},
    "/flaky?order=key": {"order": "key", "on_exhausted": "block"},
    "/flaky?batch": {"batch": {"max_events": 20, "max_wait_s": 0.2}},
}
"""What receives, and its settings; what its answers are, the path says (see ``receiver.py``)."""
FLAGS = (
    "--lease", "12s", "--delivery-timeout", "1s", "--log-level", "warning",
    "--retry-schedule", "200ms,300ms,500ms," + ",".join(["1s"] * 27),
)  # fmt: skip
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
STORES = ("sqlite", "postgres")

Fault = Callable[[], Awaitable[None]]


class Fleet:
    """Two servers and a worker on one database. What has ended is started again."""

    def __init__(
        self, where: Path | str, folder: Path, rng: random.Random, behind: tuple[Cluster, Proxy] | None
    ) -> None:
        """``behind`` is the server of PostgreSQL, and the way to it, which ``where`` names."""
        self._where, self._folder, self._rng, self._behind = where, folder, rng, behind
        self._running: dict[str, Process] = {}
        self.happened: Counter[str] = Counter()

    @property
    def servers(self) -> list[Server]:
        return [one for one in self._running.values() if isinstance(one, Server)]

    async def start(self) -> None:
        """Fill every empty place. A process that cannot start while its database is away is tried again."""
        for name in ("one", "two", "worker"):
            while name not in self._running:
                kind = Worker if name == "worker" else Server
                process = kind(self._where, self._folder, *FLAGS, name=name)
                try:
                    self._running[name] = await process.started()
                except AssertionError:
                    process.kill()
                    self.happened["could not start"] += 1

    async def trouble(self) -> None:
        """One fault, chosen by chance, and its end."""
        faults: list[Fault] = [self._kill, self._kill, self._stop, self._freeze]
        if self._behind is None:
            faults.append(self._fill_the_disk)
        else:
            faults += [self._restart_the_database, self._cut_connections, self._cancel_statements]
        await self._rng.choice(faults)()
        await self.start()

    async def stop(self) -> None:
        """Stop all gracefully."""
        for process in self._running.values():
            code = await process.terminate()
            assert code == 0, f"ended with {code}:\n{process.tail()}"

    def kill_all(self) -> None:
        for process in self._running.values():
            process.popen.send_signal(signal.SIGCONT)
            process.kill()

    async def _kill(self) -> None:
        """kill -9 of some, at once."""
        for name in self._rng.sample(list(self._running), self._rng.randint(1, 3)):
            self._running.pop(name).kill()
            self.happened["killed"] += 1
        await asyncio.sleep(self._rng.uniform(0, 1))

    async def _stop(self) -> None:
        name = self._rng.choice(list(self._running))
        code = await self._running.pop(name).terminate()
        assert code == 0, f"{name} ended with {code} when it was asked to stop"
        self.happened["stopped"] += 1

    async def _freeze(self) -> None:
        """SIGSTOP, for longer than a lease now and then. A frozen process may hold the lock of SQLite: others wait."""
        process = self._rng.choice(list(self._running.values()))
        process.popen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._rng.choice((0.5, 2, 15)))
        process.popen.send_signal(signal.SIGCONT)
        self.happened["frozen"] += 1

    async def _fill_the_disk(self) -> None:
        """No file of theirs may grow (RLIMIT_FSIZE), for a while."""
        limit = next(self._folder.glob("*-wal")).stat().st_size
        for process in self._running.values():
            resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        await asyncio.sleep(self._rng.uniform(0.5, 4))
        for process in self._running.values():
            resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, _UNLIMITED)
        self.happened["disk full"] += 1

    async def _restart_the_database(self) -> None:
        assert self._behind is not None
        way = self._rng.choice(("fast", "immediate", "kill"))
        await self._behind[0].restart(way, meanwhile=asyncio.sleep(self._rng.uniform(0, 3)))
        self.happened[f"database restarted ({way})"] += 1

    async def _cut_connections(self) -> None:
        """Some or all, several times in a row."""
        assert self._behind is not None
        for _ in range(self._rng.randint(1, 5)):
            self._behind[1].cut(self._rng.choice((0.3, 1.0)), self._rng)
            await asyncio.sleep(self._rng.uniform(0, 0.5))
        self.happened["connections cut"] += 1

    async def _cancel_statements(self) -> None:
        """What a statement timeout does, at any moment."""
        assert self._behind is not None
        for _ in range(20):
            await self._behind[0].backends("pg_cancel_backend(pid)")
        self.happened["statements cancelled"] += 1


async def soak(store: str, folder: Path, seconds: float, seed: int) -> dict[str, int]:
    """Soak one store; gives the ledger. Raises AssertionError where a promise was broken."""
    rng, book, stop = random.Random(seed), Book(), asyncio.Event()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(folder)) if store == "postgres" else None
        behind = None if cluster is None else (cluster, await stack.enter_async_context(Proxy(cluster.url)))
        where: Path | str = folder / "tellwire.db" if behind is None else behind[1].url
        receiver = await stack.enter_context(ReceiverProcess(folder, seed)).started()
        fleet = Fleet(where, folder, rng, behind)
        stack.callback(fleet.kill_all)
        await fleet.start()
        secrets = {
            target: (await fleet.servers[0].subscribe(receiver.url + target, settings))["secret"]
            for target, settings in TARGETS.items()
        }
        current = Current(*fleet.servers)
        publishers = [
            asyncio.create_task(publish_on(current, book, rng.random(), stop, KEYS))
            for _ in range(PUBLISHERS)
        ]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(rng.uniform(1, 6))
            await fleet.trouble()
            current.servers = fleet.servers
            print(
                f"{store}: {max(end - time.monotonic(), 0):5.0f} s left, {len(book.entries)} published",
                flush=True,
            )
        stop.set()
        await asyncio.gather(*publishers)
        await _drained(fleet.servers[0])
        await fleet.stop()
        requests = receiver.verified(secrets)
        ordered = {target: settings["order"] for target, settings in TARGETS.items() if "order" in settings}
        late = out_of_order(requests, book, ordered)
        ledger = book.settle(requests, list(TARGETS)) | {"out of order": late}
        batches_are_whole(requests)
        if cluster is None:
            with database(folder / "tellwire.db") as connection:
                check_all_succeeded(connection)
        else:
            await check_all_succeeded_on(cluster.url)
    print(f"{store}: {dict(fleet.happened)}")
    assert ledger["lost"] == 0, "acknowledged events are lost"
    assert ledger["out of order"] == 0, "events came before others that stood before them"
    assert ledger["in batches"] > 0, "nothing came in batches"
    return ledger


async def _drained(server: Server) -> None:
    """Wait as long as deliveries arrive: a long soak may leave much to do."""
    while True:
        try:
            await server.drained()
            return
        except (AssertionError, httpx.TransportError):
            before = await _finished(server)
            await asyncio.sleep(30)
            assert await _finished(server) != before, "deliveries are pending, and none arrives"


async def _finished(server: Server) -> int:
    total = (await server.ask("GET", "/v1/stats")).json()["total"]
    return int(total["succeeded"] + total["exhausted"])


def main() -> int:
    """Soak what is asked for; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for all stores together")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--store", nargs="+", choices=STORES, default=STORES)
    asked = parser.parse_args()
    print(f"SEED={asked.seed}", flush=True)
    broken = False
    for store in asked.store:
        with tempfile.TemporaryDirectory(
            prefix=f"tellwire-soak-{store}-", ignore_cleanup_errors=True
        ) as folder:
            try:
                ledger = asyncio.run(
                    soak(store, Path(folder), asked.minutes * 60 / len(asked.store), asked.seed)
                )
            except AssertionError as error:
                broken = True
                print(f"{store}: BROKEN: {error}", flush=True)
            else:
                print(f"{store}:", ", ".join(f"{name} {count}" for name, count in ledger.items()), flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
