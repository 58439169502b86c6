"""A full disk stops publishing, with an answer that says so, and nothing else; when space returns, all goes on."""

import asyncio
import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from .evidence import check_all_succeeded, database
from .processes import ReceiverProcess, Server, until
from .publishers import Book, Entry, send

SEED = 1
PAYLOAD_BYTES = 4_000
AT_ONCE = 8
MOST_EVENTS = 3_000


class Disk:
    """A file system of its own, of a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def nearly_fill(self, server: Server) -> None:
        """Leave a megabyte or so."""
        room = os.statvfs(self.folder)
        self._write("ballast", room.f_bavail * room.f_frsize - 1_000_000)

    def fill(self) -> None:
        """Leave nothing."""
        try:
            self._write("last-ballast", 100_000_000)
        except OSError:
            pass

    def free(self, server: Server) -> None:
        """Give the space back."""
        (self.folder / "ballast").unlink()
        (self.folder / "last-ballast").unlink()

    def _write(self, name: str, size_bytes: int) -> None:
        with (self.folder / name).open("wb", buffering=0) as file:
            for _ in range(0, size_bytes, 4096):
                file.write(bytes(4096))


class FileLimit(Disk):
    """A limit on the size of any file of the server (RLIMIT_FSIZE): needs no privileges, fails with another errno."""

    def nearly_fill(self, server: Server) -> None:
        wal = next(self.folder.glob("*-wal")).stat().st_size
        resource.prlimit(server.popen.pid, resource.RLIMIT_FSIZE, (wal + 1_000_000, resource.RLIM_INFINITY))

    def fill(self) -> None:
        pass

    def free(self, server: Server) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.popen.pid, resource.RLIMIT_FSIZE, unlimited)


@contextmanager
def _tmpfs(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not allowed here (it needs root)")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _file_limit(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    yield FileLimit(folder)


@pytest.fixture(params=[_tmpfs, _file_limit], ids=["tmpfs", "file-limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    make: Callable[[Path], AbstractContextManager[Disk]] = request.param
    with make(tmp_path / "disk") as made:
        yield made


async def test_a_full_disk_is_told_survived_and_forgotten(disk: Disk, tmp_path: Path) -> None:
    """Publishing gets 503 and stores nothing; the process lives; what was acknowledged arrives; space heals it."""
    book, rng = Book(), random.Random(SEED)
    path, target = disk.folder / "tellwire.db", "/steady?ms=20&first_ms=8000"
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        with ReceiverProcess(tmp_path) as receiver, Server(path, tmp_path) as server:
            await receiver.started()
            await server.started()
            secret = (await server.subscribe(receiver.url + target))["secret"]
            assert await send(client, server, book, [book.open(rng, keyed=False)])
            disk.nearly_fill(server)
            await _publish_until_refused(client, server, book, keyed=False)
            disk.fill()
            # What a refused transaction had written of itself is room for smaller ones, which some of these and each
            # attempt to be ready use up.
            before = len(book.entries)
            await _publish_until_refused(client, server, book, keyed=True)
            refused = [entry for entry in book.entries[before:] if entry.id is None]
            await until(lambda: _stays_unready(server), "not ready any more")
            await _check_refusals(server)
            await until(lambda: _result_refused(server), "the first, late answer cannot be recorded")
            disk.free(server)
            await until(lambda: _ready(server, 200), "ready again")
            for entry in refused:
                assert await send(client, server, book, [entry])
            await asyncio.gather(*[_publish(client, server, book, keyed=False) for _ in range(AT_ONCE)])
            await server.drained()
            assert await server.terminate() == 0
            ledger = book.settle(receiver.verified({target: secret}), [target])
        assert ledger["lost"] == ledger["unknown outcomes"] == 0
        assert ledger["acknowledged"] == ledger["delivered"]
        with database(path) as connection:
            check_all_succeeded(connection)


async def _ready(server: Server, status: int) -> bool:
    return (await server.ask("GET", "/readyz")).status_code == status


async def _stays_unready(server: Server) -> bool:
    return all([await _ready(server, 503) for _ in range(10)])


async def _result_refused(server: Server) -> bool:
    return b'"stage":"record"' in server.log.read_bytes()


async def _publish(client: httpx.AsyncClient, server: Server, book: Book, *, keyed: bool) -> bool:
    entry: Entry = book.open(random.Random(SEED), keyed=keyed, pad_bytes=PAYLOAD_BYTES)
    return await send(client, server, book, [entry])


async def _publish_until_refused(
    client: httpx.AsyncClient, server: Server, book: Book, *, keyed: bool
) -> None:
    for _ in range(0, MOST_EVENTS, AT_ONCE):
        through = await asyncio.gather(*[_publish(client, server, book, keyed=keyed) for _ in range(AT_ONCE)])
        if not any(through):
            return
    raise AssertionError("the disk never filled up")


async def _check_refusals(server: Server) -> None:
    """While the disk is full: alive, not ready, and every refusal is a problem document that says when to return."""
    assert server.popen.poll() is None
    assert (await server.ask("GET", "/healthz")).status_code == 200
    event = {"type": "chaos.happened", "data": {"pad": "x" * PAYLOAD_BYTES}}
    endpoint = {"url": "http://127.0.0.1:9000/", "events": ["*"]}
    for method, route, body in (
        ("GET", "/readyz", None),
        ("POST", "/v1/events", event),
        ("POST", "/v1/events/batch", {"events": [event]}),
        ("POST", "/v1/endpoints", endpoint),
    ):
        response = await server.ask(method, route, body)
        assert response.status_code == 503, f"{method} {route}: {response.status_code} {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["status"] == 503
        assert response.json()["type"].endswith("/problems/unavailable")
    assert (await server.ask("GET", "/v1/deliveries?limit=1")).status_code == 200
