"""What tests of the whole engine stand on: a receiver, an embedded Tellwire on SQLite, a server. All on loopback.

async def test_arrives(server: Server, receiver: Receiver) -> None:
    await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"]})
    await server.client.post("/v1/events", json={"type": "order.paid", "data": {}})
    (request,) = await receiver.met(1)
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Self

import httpx
import pytest

from tellwire import Options, Tellwire
from tellwire.api.asgi import App
from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.engine import EngineOptions
from tellwire.server import build_app, http_server

from .cli_process import Process

ADMIN_KEY = "tw_admin_of_the_tests"
WAIT_S = 90.0
"""How long tests wait for what must happen; only a failing test waits that long."""

LOOPBACK = EgressPolicy(allow=(ip_network("127.0.0.0/8"),), allow_http=True)


@dataclass(frozen=True)
class Received:
    """One request as it came; header names in lower case."""

    method: str
    path: str
    raw_headers: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.raw_headers)


@dataclass(frozen=True)
class Reply:
    """What the receiver answers."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def encoded(self) -> bytes:
        headers = [*self.headers, ("content-length", str(len(self.body)))]
        lines = [f"HTTP/1.1 {self.status} Answer", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class Receiver:
    """An HTTP server that keeps every request in ``requests``; set ``respond`` to answer something else than 200."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.respond: Callable[[Received], Reply] = lambda request: Reply()
        self.url = ""
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def met(self, requests: int) -> list[Received]:
        """The requests, once there are so many of them."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= requests)
        return self.requests

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request_line, *lines = head.split("\r\n")[:-2]
                method, path, _ = request_line.split(" ")
                pairs = [line.split(": ", 1) for line in lines]
                headers = [(name.lower(), value) for name, value in pairs]
                body = await reader.readexactly(int(dict(headers).get("content-length", "0")))
                request = Received(method, path, headers, body)
                async with self._news:
                    self.requests.append(request)
                    self._news.notify_all()
                writer.write(self.respond(request).encoded())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass(frozen=True)
class Server:
    """A running server: where, the key that may do everything, a client that shows it, and the hub behind."""

    url: str
    key: str
    client: httpx.AsyncClient
    tellwire: Tellwire


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def options() -> Options:
    """How ``tellwire`` is to be; a test module may have a fixture of its own by this name."""
    return Options(admin_key=ADMIN_KEY, egress=LOOPBACK, engine=EngineOptions(grace_s=1))


@pytest.fixture
async def tellwire(tmp_path: Path, options: Options) -> AsyncIterator[Tellwire]:
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options) as tellwire:
        yield tellwire


@pytest.fixture
async def server(tellwire: Tellwire) -> AsyncIterator[Server]:
    async with serving(tellwire, build_app(tellwire)) as server:
        yield server


@asynccontextmanager
async def serving(tellwire: Tellwire, app: App) -> AsyncIterator[Server]:
    """A server of ``app`` while the block runs."""
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    web = http_server(app, "127.0.0.1", 0, grace_s=1, started=url.set_result)
    task = asyncio.create_task(web.serve())
    try:
        async with asyncio.timeout(WAIT_S):
            address = await url
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(
            base_url=address, headers=headers, trust_env=False, verify=False
        ) as client:  # all is http here, and authorities take long to read
            yield Server(address, ADMIN_KEY, client, tellwire)
    finally:
        web.should_exit = True
        await task


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Process]]:
    """Those that a test starts; what is left of them in the end is killed."""
    started: list[Process] = []
    yield started
    for one in started:
        one.process.kill()
        one.wait()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def unused_port() -> int:
    return free_port()
