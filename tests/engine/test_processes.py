"""Several real processes on one database: servers with and without an engine, workers, and a supervisor."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from tests.postgres import database_in
from tests.proxy import Proxy

from tellwire import Options, Tellwire

from .cli_process import Process
from .conftest import ADMIN_KEY, LOOPBACK, WAIT_S, Receiver

KEY = "ab" * 32
Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path, workers: list[Process]) -> Start:
    """Starts processes in an empty folder, all with one secret key."""

    def start(*args: str) -> Process:
        shared = ["--secret-key", KEY, "--dev", "--json", "--log-format", "json", "--grace", "1"]
        workers.append(Process(tmp_path, args[0], *shared, *args[1:]))
        return workers[-1]

    return start


@pytest.fixture(params=["postgres", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    return database_in(tmp_path) if request.param == "postgres" else f"sqlite:///{tmp_path / 'tellwire.db'}"


def serve(start: Start, url: str, *flags: str) -> tuple[Process, httpx.AsyncClient]:
    """A server that works, and a client that may do everything."""
    process = start("serve", "--port", "0", "--admin-key", ADMIN_KEY, "--database-url", url, *flags)
    return process, client(json.loads(process.line())["url"])


def client(url: str, key: str = ADMIN_KEY) -> httpx.AsyncClient:
    # A connection for each request: so every process of a server gets some.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False, limits=limits
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what other processes do sets no event here
            await asyncio.sleep(0.02)


async def created(server: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = await server.post(path, json=body)
    assert response.status_code in (201, 202), response.text
    answer: dict[str, Any] = response.json()
    return answer


async def counted(server: httpx.AsyncClient, name: str, count: int) -> bool:
    """Whether a metric has come to so many, summed over all processes."""
    lines = (await server.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name)) == count


def children(process: Process) -> set[int]:
    """The processes that a supervisor has at present."""
    found = subprocess.run(["pgrep", "-P", str(process.process.pid)], capture_output=True, check=False)
    return {int(pid) for pid in found.stdout.split()}


def living(pids: set[int]) -> set[int]:
    """Those of ``pids`` that run."""
    states = {
        pid: subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
        for pid in pids
    }
    return {pid for pid, state in states.items() if state.strip() and not state.startswith(b"Z")}


async def test_processes_share_a_port_and_are_started_again(
    start: Start, url: str, receiver: Receiver
) -> None:
    """Of two processes one is killed: the other answers, a new one joins; SIGTERM ends them all with code 0."""
    process, server = serve(start, url, "--processes", "2")
    async with server:
        await created(server, "/v1/endpoints", {"url": receiver.url, "events": ["*"]})
        first = children(process)
        assert len(first) == 2
        killed = min(first)
        os.kill(killed, signal.SIGKILL)

        async def replaced() -> bool:
            now = children(process)
            return len(now) == 2 and killed not in now

        await until(replaced)
        events = [
            await created(server, "/v1/events", {"type": "order.paid", "data": {"n": n}}) for n in range(20)
        ]
        await receiver.met(20)
        assert {request.headers["webhook-id"] for request in receiver.requests} == {e["id"] for e in events}
        await until(lambda: counted(server, "tellwire_events_published_total", 20))
    left = children(process)
    assert process.stop() == 0
    assert not living(left)
    said = json.loads(process.line("err"))
    assert (said["event"], said["pid"]) == ("process ended, another starts", killed)


async def test_processes_end_when_their_supervisor_is_killed(start: Start, url: str) -> None:
    """Nobody is left behind on the port: processes without a supervisor stop gracefully."""
    process, server = serve(start, url, "--processes", "2")
    left = children(process)
    assert len(left) >= 2
    process.stop(signal.SIGKILL)

    async def gone() -> bool:
        return not living(left)

    await until(gone)
    await server.aclose()


def test_processes_that_cannot_start_are_not_tried_again(start: Start, url: str) -> None:
    """Another secret key than the database's ends the whole server with the code and sentence of one process."""
    process, _ = serve(start, url, "--processes", "2")
    assert process.stop() == 0
    other = start(
        "serve", "--port", "0", "--database-url", url, "--processes", "2", "--secret-key", "cd" * 32
    )
    assert other.wait() == 6
    assert "key" in other.rest("err")


async def test_a_worker_delivers_what_a_server_without_engine_accepts(
    start: Start, url: str, receiver: Receiver
) -> None:
    """Without an engine nothing is sent; a worker sends it, says that it works, and ends with code 0."""
    process, server = serve(start, url, "--no-engine")
    async with server:
        await created(server, "/v1/endpoints", {"url": receiver.url, "events": ["*"]})
        await created(server, "/v1/events", {"type": "order.paid", "data": {"n": 1}})
        assert (await server.get("/readyz")).status_code == 200
        assert (await server.get("/v1/deliveries")).json()["data"][0]["attempt_count"] == 0
        assert not receiver.requests
        worker = start("worker", "--database-url", url)
        said = json.loads(worker.line())
        assert said["pid"] == worker.process.pid
        await receiver.met(1)
        await created(server, "/v1/events", {"type": "order.paid", "data": {"n": 2}})
        await receiver.met(2)
    assert worker.stop() == 0
    assert process.stop() == 0


async def test_a_worker_is_watched_on_a_port_of_its_own(
    start: Start, receiver: Receiver, url: str, unused_port: int
) -> None:
    """All processes of a worker count together what they delivered; there is no other route, and none without a key."""
    flags = ["--database-url", url, "--processes", "2", "--metrics-port", str(unused_port)]
    worker = start("worker", *flags)
    said = json.loads(worker.line())
    assert said["url"] == f"http://127.0.0.1:{unused_port}"
    async with Tellwire(url, Options(secret_key=KEY, deliver=False, egress=LOOPBACK)) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        _, key = await tellwire.keys.create("prometheus", scopes=["read"])
        for _ in range(20):
            await tellwire.publish("order.paid", {})
        async with client(said["url"], key) as watch:
            await until(lambda: counted(watch, "tellwire_deliveries_finished_total", 20))
            await until(lambda: counted(watch, "tellwire_processes ", 2))
            assert (
                (await watch.get("/healthz")).status_code == (await watch.get("/readyz")).status_code == 200
            )
            assert (await watch.get("/metrics", headers={"authorization": ""})).status_code == 401
            for path in ("/v1/events", "/openapi.json", "/docs", "/"):
                assert (await watch.get(path)).status_code == 404
    assert worker.stop() == 0


def test_a_worker_without_its_database_ends(start: Start) -> None:
    """A database that cannot be reached at the start is for the orchestrator to try again: exit code 5."""
    worker = start("worker", "--database-url", "postgresql://127.0.0.1:1/nowhere")
    assert worker.wait() == 5
    assert worker.rest("out") == ""


class Uncut:
    """In place of a proxy, where there is no connection that could be cut."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> "Uncut":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def cut(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("kind", ["postgres", "postgres, cut", "sqlite"])
async def test_changes_reach_every_process(
    start: Start, tmp_path: Path, receiver: Receiver, kind: str
) -> None:
    """Keys, endpoints and secrets that one process changes count in another, even if it just lost its connections.

    Where it has not, and the machine is not busy with something else, within a second.
    """
    cut = kind.endswith("cut")
    url = f"sqlite:///{tmp_path / 'tellwire.db'}" if kind == "sqlite" else database_in(tmp_path)
    async with Uncut(url) if kind == "sqlite" else Proxy(url) as proxy:
        # The other one's database is behind a proxy of this very event loop, which must not wait meanwhile.
        (_, here), (_, there) = await asyncio.gather(
            asyncio.to_thread(serve, start, url),
            asyncio.to_thread(serve, start, proxy.url),
        )
        async with here, there:
            key = await created(here, "/v1/keys", {"name": "ci", "scopes": ["read", "publish"]})
            if cut:
                proxy.cut()
            async with client(str(there.base_url), key["key"]) as user:

                async def answers(status: int) -> bool:
                    return (await user.get("/v1/events")).status_code == status

                made_s = await took_s(lambda: answers(200))
                endpoint = await created(here, "/v1/endpoints", {"url": receiver.url, "events": ["*"]})
                if cut:
                    proxy.cut()
                    await until(lambda: answers(200))
                await published(user)
                await receiver.met(1)
                rotated = await here.post(
                    f"/v1/endpoints/{endpoint['id']}/secret/rotate", json={"overlap_s": 0}
                )
                secret = rotated.json()["secret"]
                if cut:
                    proxy.cut()
                    await until(lambda: answers(200))
                await published(user)
                request = (await receiver.met(2))[-1]
                Webhook(secret).verify(request.body, request.headers)
                await here.post(f"/v1/endpoints/{endpoint['id']}/disable")
                assert (await published(user))["deliveries"] == 0
                if cut:
                    proxy.cut()
                await here.delete(f"/v1/keys/{key['id']}")
                removed_s = await took_s(lambda: answers(401))
    assert cut or min(made_s, removed_s) < 1


async def took_s(check: Callable[[], Awaitable[bool]]) -> float:
    """Wait for it; gives for how long."""
    started = time.monotonic()
    await until(check)
    return time.monotonic() - started


async def published(user: httpx.AsyncClient) -> dict[str, Any]:
    """Publish an event, however often it takes while connections are being made anew."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        response = await user.post("/v1/events", json={"type": "order.paid", "data": {}})
        if response.status_code != 503:
            break
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer
