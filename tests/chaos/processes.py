"""Real processes for tests: a Tellwire server and a receiver, on free ports of 127.0.0.1, ended by their id."""

import asyncio
import base64
import json
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import msgspec
from standardwebhooks import Webhook
from tests.forked import DEVNULL, TELLWIRE, Forked, outside

ROOT = Path(__file__).parents[2]
ADMIN_KEY = "tw_admin_of_the_chaos_tests"
SECRET_KEY = "ab" * 32
_RECEIVER = "import runpy; runpy.run_module('tests.chaos.receiver', run_name='__main__', alter_sys=True)"
PATIENCE_S = 180.0
_POLL_S = 0.05


async def until(condition: Callable[[], Awaitable[bool]], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for ``condition``; fail after ``patience_s``, which is far more than it ever takes."""
    end = asyncio.get_running_loop().time() + patience_s
    while not await condition():
        assert asyncio.get_running_loop().time() < end, f"waited {patience_s:.0f} s in vain: {what}"
        await asyncio.sleep(_POLL_S)


class Process:
    """A process that announces itself by one line of JSON on standard output."""

    def __init__(self, program: str, arguments: Sequence[str], folder: Path, name: str) -> None:
        self._out, self.log = folder / f"{name}.out", folder / f"{name}.log"
        with self._out.open("wb") as out, self.log.open("ab") as log:
            self.popen = Forked(
                program, arguments, stdin=DEVNULL, stdout=out, stderr=log, cwd=ROOT, env=outside()
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    async def announced(self) -> dict[str, Any]:
        """What it says when it has started."""

        async def said() -> bool:
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.tail()}"
            return self._out.read_bytes().endswith(b"\n")

        await until(said, "the process has started")
        announcement: dict[str, Any] = json.loads(self._out.read_bytes())
        return announcement

    def kill(self) -> None:
        """SIGKILL: at once, whatever it is doing."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    async def terminate(self) -> int:
        """SIGTERM; gives the exit code."""
        self.popen.send_signal(signal.SIGTERM)

        async def ended() -> bool:
            return self.popen.poll() is not None

        await until(ended, "the process has ended")
        return self.popen.wait()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-4_000:].decode(errors="replace")


def _flags(database: Path | str) -> list[str]:
    url = f"sqlite:///{database}" if isinstance(database, Path) else database
    return ["--dev", "--json", "--log-format", "json", "--secret-key", SECRET_KEY, "--database-url", url]


class Worker(Process):
    """``tellwire worker`` on a database: an SQLite file or a URL."""

    def __init__(self, database: Path | str, logs: Path, *flags: str, name: str = "worker") -> None:
        super().__init__(TELLWIRE, ["worker", *_flags(database), *flags], logs, name)

    async def started(self) -> Self:
        await self.announced()
        return self


class Server(Process):
    """``tellwire serve`` on a database, with an HTTP client of its own for the control plane."""

    def __init__(self, database: Path | str, logs: Path, *flags: str, name: str = "server") -> None:
        fixed = ["serve", *_flags(database), "--port", "0", "--admin-key", ADMIN_KEY]
        super().__init__(TELLWIRE, [*fixed, *flags], logs, name)
        self.url = ""

    async def started(self) -> Self:
        self.url = (await self.announced())["url"]
        return self

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One request on a connection of its own."""
        async with httpx.AsyncClient(trust_env=False, timeout=60, verify=False) as client:
            content = None if body is None else msgspec.json.encode(body)
            return await client.request(method, self.url + path, content=content, headers=self.headers)

    async def subscribe(self, url: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A new endpoint for everything; it holds the secret."""
        response = await self.ask("POST", "/v1/endpoints", {"url": url, "events": ["*"], **(settings or {})})
        assert response.status_code == 201, response.text
        endpoint: dict[str, Any] = response.json()
        return endpoint

    async def drained(self) -> None:
        """Wait until no delivery is pending any more."""

        async def nothing_pending() -> bool:
            response = await self.ask("GET", "/v1/deliveries?state=pending&limit=1")
            assert response.status_code == 200, response.text
            return not response.json()["data"]

        await until(nothing_pending, "every delivery has ended")


async def freeze(server: Server, other: Server) -> None:
    """Stop ``server`` at a moment at which it does not hold a lock of the database, which would stop others too."""
    for _ in range(20):
        server.popen.send_signal(signal.SIGSTOP)
        if (await other.ask("GET", "/readyz")).status_code == 200:
            return
        server.popen.send_signal(signal.SIGCONT)
    raise AssertionError("the other server never became ready")


class Received(NamedTuple):
    """One request as the receiver saw it; ``status`` is its answer, 0 for none."""

    target: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class ReceiverProcess(Process):
    """See ``receiver.py``."""

    def __init__(self, logs: Path, seed: int = 0) -> None:
        self._requests = logs / "requests.ndjson"
        super().__init__(_RECEIVER, ["--log", str(self._requests), "--seed", str(seed)], logs, "receiver")
        self.url = ""

    async def started(self) -> Self:
        self.url = (await self.announced())["url"]
        return self

    def received(self) -> list[Received]:
        """Every request so far, in order."""
        return list(self._read())

    def verified(self, secrets: dict[str, str]) -> list[Received]:
        """The requests so far, each proven by the reference library with the secret of its target."""
        requests = self.received()
        webhooks = {target: Webhook(secret) for target, secret in secrets.items()}
        for request in requests:
            webhooks[request.target].verify(request.body, request.headers)
        return requests

    def _read(self) -> Iterator[Received]:
        with closing(self._requests.open("rb")) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # being written
                one = json.loads(line)
                yield Received(one["target"], one["headers"], base64.b64decode(one["body"]), one["status"])
