"""A receiver on loopback that answers with raw bytes: whatever a stranger's server might do to us.

    async with Receiver(endless_body) as receiver:
        evidence = await transport.send(receiver.url(), {}, b"{}")
        assert receiver.requests == [...]

A behaviour gets the request and the writer; when it returns, the connection is closed. Write
your own where none fits.
"""

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """Listens on a free port of 127.0.0.1; counts connections and keeps each request's bytes."""

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.ended = asyncio.Event()
        """Set when a connection has ended, whoever ended it."""
        self._news = asyncio.Condition()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._tasks)

    async def met(self, requests: int) -> None:
        """Wait until so many requests have arrived."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= requests)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                async with self._news:
                    self._news.notify_all()
                await self.behaviour(request, writer)
                if not getattr(self.behaviour, "keep_alive", False):
                    break
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self.ended.set()


def answer(status: int = 200, body: bytes = b"ok", headers: tuple[tuple[str, str], ...] = ()) -> Behaviour:
    """A well-behaved answer; the connection stays open for the next request."""

    async def behave(_: bytes, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode("latin-1") + body)
        await writer.drain()

    behave.keep_alive = True  # type: ignore[attr-defined]  # read by Receiver
    return behave


def raw(data: bytes) -> Behaviour:
    """Exactly these bytes, then the end of the connection."""

    async def behave(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    """Sends us elsewhere."""
    return answer(status, b"", (("Location", location),))


async def close_at_once(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Reads the request and hangs up."""


async def hang(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Reads the request and never says a word."""
    await asyncio.Event().wait()


async def hang_mid_body(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Begins a good answer and stops in the midst of it, the connection open."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-begun: yes\r\ncontent-length: 100\r\n\r\nsome")
    await asyncio.Event().wait()


async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    """One byte of the body at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_headers(_: bytes, writer: asyncio.StreamWriter) -> None:
    """One byte of a header at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless_body(_: bytes, writer: asyncio.StreamWriter) -> None:
    """A body without end, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"A" * 65536)
        await _drained(writer)


async def flood_1xx(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Informational answers without end."""
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100)
        await _drained(writer)


async def _drained(writer: asyncio.StreamWriter) -> None:
    """As ``drain``, which may return at once for ever over TLS: then nobody else would run, nor the end be heard of."""
    await writer.drain()
    await asyncio.sleep(0)


def gzip_bomb() -> Behaviour:
    """40 MB of zeros in 40 KB."""
    return answer(200, gzip.compress(bytes(40_000_000), 9), (("Content-Encoding", "gzip"),))
