"""A TCP proxy in front of PostgreSQL that cuts, stalls and loses connections when a test says so."""

import asyncio
import random
from collections.abc import Callable
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

_PIECE_BYTES = 65_536


class Link:
    """One connection through the proxy, both ways."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.stalled_ways: set[str] = set()
        self.sent = b""
        """The last that the client has sent."""

    def cut(self) -> None:
        """Reset both sides."""
        for writer in (self.client, self.server):
            if writer.transport is not None:
                writer.transport.abort()


class Proxy:
    """Passes bytes on between clients on 127.0.0.1 and the database that ``url`` names (socket or address)."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.links: list[Link] = []
        self.refusing = False
        self.stalling = False
        self.before_server: Callable[[Link, bytes], bool] = lambda _link, _piece: True
        """Asked of each piece on its way to the server; False: it is not passed on, and the connection is cut."""
        self.after_server: Callable[[Link, bytes], bool] = lambda _link, _piece: True
        """Asked of each piece on its way back to the client, likewise."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        user = f"{self._to.username}@" if self._to.username else ""
        self.url = f"postgresql://{user}127.0.0.1:{self.port}{self._to.path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, share: float = 1.0, rng: random.Random | None = None) -> None:
        """Reset connections: all of them, or each with this chance."""
        for link in list(self.links):
            if share >= 1 or (rng or random).random() < share:
                link.cut()

    def stall(self, way: str | None = None) -> None:
        """Let nothing through any more on the connections that there are, and on new ones, and tell nobody.

        ``way`` ("there" or "back") stalls the existing ones in one direction only: they are half open.
        """
        if way is None:
            self.stalling = True
        for link in self.links:
            link.stalled_ways |= {way} if way else {"there", "back"}
            link.flowing.clear()

    def resume(self) -> None:
        """Let everything through again, what has waited included."""
        self.stalling = False
        for link in self.links:
            link.stalled_ways.clear()
            link.flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                writer.transport.abort()
                return
            upstream, to_server = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, to_server)
        if self.stalling:
            link.stalled_ways = {"there", "back"}
            link.flowing.clear()
        self.links.append(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(link, reader, to_server, "there"))
                group.create_task(self._pass(link, upstream, writer, "back"))
        finally:
            link.cut()
            self.links.remove(link)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = parse_qs(self._to.query).get("host", [""])[0]
        if folder:
            return await asyncio.open_unix_connection(f"{unquote(folder)}/.s.PGSQL.{self._to.port or 5432}")
        return await asyncio.open_connection(self._to.hostname, self._to.port)

    async def _pass(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        try:
            while piece := await reader.read(_PIECE_BYTES):
                while way in link.stalled_ways:
                    await link.flowing.wait()
                if way == "there":
                    link.sent = piece
                passes = self.before_server if way == "there" else self.after_server
                if not passes(link, piece):
                    break
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            link.cut()
