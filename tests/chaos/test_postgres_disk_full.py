"""The disk of PostgreSQL is full: publishing says so and stores nothing; when space returns, all goes on."""

import asyncio
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.postgres import give_to_the_server, new_folder

from .evidence import check_all_succeeded_on
from .postgres import Cluster
from .processes import ReceiverProcess, Server, Worker, until
from .publishers import Book, Entry, send

SEED = 1
PAYLOAD_BYTES = 150_000
AT_ONCE = 4
MOST_EVENTS = 2_000
LIMIT_BYTES = 20_000_000
FLAGS = ["--lease", "12s", "--delivery-timeout", "1s"]


class SmallDisk:
    """The tables lie on a file system of a few megabytes; the log of transactions does not."""

    def __init__(self, cluster: Cluster, disk: Path) -> None:
        self.cluster = cluster
        self._ballast = disk / "ballast"
        self._ballast.write_bytes(bytes(3_000_000))

    def limit(self) -> None:
        """Nothing to do: it is small already."""

    def free(self) -> None:
        """Give space back."""
        self._ballast.unlink()


class FileLimit:
    """No file of the server may grow beyond a size (RLIMIT_FSIZE): needs no privileges, fails with another errno."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def limit(self) -> None:
        """Limit every process that the server has and will have."""
        self._set(str(LIMIT_BYTES))

    def free(self) -> None:
        """Lift the limit."""
        self._set("unlimited")

    def _set(self, size: str) -> None:
        first = str(self.cluster.popen.pid)
        self._set_of(first, size)  # before its children are listed: those that come later inherit it
        children = subprocess.run(["pgrep", "-P", first], capture_output=True, check=True)
        for pid in children.stdout.decode().split():
            self._set_of(pid, size)

    def _set_of(self, pid: str, size: str) -> None:
        command = ["prlimit", "--pid", pid, f"--fsize={size}:unlimited"]
        done = subprocess.run(command, capture_output=True, check=False, user=self.cluster.user)
        ended = not Path(
            "/proc", pid
        ).exists()  # a child (autovacuum, say) may end between the list and its turn
        assert done.returncode == 0 or ended, done.stderr.decode()


Disk = SmallDisk | FileLimit


@contextmanager
def _tmpfs() -> Iterator[Disk]:
    folder = new_folder()
    give_to_the_server(folder)
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not allowed here (it needs root)")
    try:
        place = disk / "tables"
        place.mkdir()
        give_to_the_server(place)
        yield SmallDisk(Cluster(new_folder(), tablespace=place), disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _file_limit() -> Iterator[Disk]:
    yield FileLimit(Cluster(new_folder()))


@pytest.fixture(params=[_tmpfs, _file_limit], ids=["tmpfs", "file-limit"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    make: Callable[[], AbstractContextManager[Disk]] = request.param
    with make() as made:
        yield made


async def test_a_full_disk_is_told_survived_and_forgotten(disk: Disk, tmp_path: Path) -> None:
    """Publishing gets 503 and stores nothing; processes live; what was acknowledged arrives; space heals it."""
    book, url, target = Book(), disk.cluster.url, "/steady"
    async with disk.cluster, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        with (
            ReceiverProcess(tmp_path) as receiver,
            Server(url, tmp_path, *FLAGS) as server,
            Worker(url, tmp_path, *FLAGS) as worker,
        ):
            await receiver.started()
            await server.started()
            await worker.started()
            secret = (await server.subscribe(receiver.url + target))["secret"]
            disk.limit()
            await _publish_until_refused(client, server, book)
            entries = [book.open(random.Random(SEED), keyed=True, pad_bytes=0) for _ in range(AT_ONCE)]
            for entry in entries:
                entry.data = _large(entry)
            outcomes = [await send(client, server, book, [entry]) for entry in entries]
            assert outcomes == [False] * AT_ONCE
            assert all(entry.refused for entry in entries)
            assert (await server.ask("GET", "/healthz")).status_code == 200
            assert server.popen.poll() is worker.popen.poll() is None
            disk.free()

            async def taken() -> bool:
                return all([entry.id or await send(client, server, book, [entry]) for entry in entries])

            await until(taken, "what was refused is accepted")
            await server.drained()
            assert await server.terminate() == 0
            assert await worker.terminate() == 0
            ledger = book.settle(receiver.verified({target: secret}), [target])
        assert ledger["lost"] == ledger["unknown outcomes"] == 0
        assert ledger["acknowledged"] == ledger["delivered"]
        await check_all_succeeded_on(url)


def _large(entry: Entry) -> bytes:
    """Data that PostgreSQL cannot compress away."""
    noise = random.Random(entry.number).randbytes(PAYLOAD_BYTES // 2).hex()
    return b'{"number":%d,"pad":"%b"}' % (entry.number, noise.encode())


async def _publish(client: httpx.AsyncClient, server: Server, book: Book) -> bool:
    entry = book.open(random.Random(SEED), keyed=False, pad_bytes=0)
    entry.data = _large(entry)
    return await send(client, server, book, [entry])


async def _publish_until_refused(client: httpx.AsyncClient, server: Server, book: Book) -> None:
    for _ in range(0, MOST_EVENTS, AT_ONCE):
        through = await asyncio.gather(*[_publish(client, server, book) for _ in range(AT_ONCE)])
        if not any(through):
            return
    raise AssertionError("the disk never filled up")
