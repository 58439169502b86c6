"""Receivers that a test holds by the hand: they answer when they are told to."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

WAIT_S = 90.0
"""How long tests wait for what must happen; only a failing test waits that long."""

Answer = tuple[int, dict[str, str]]


class HeldReceiver:
    """Keeps every request waiting until ``let_go``; counts how many wait at once."""

    def __init__(
        self, answer: Callable[[int], Answer] = lambda number: (200, {}), *, held: bool = False
    ) -> None:
        """``answer(number)`` gives status and headers for the n-th request, counted from 1."""
        self.answer = answer
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, list[str]]] = []
        self.answered = 0
        self.waiting = 0
        self.most_waiting = 0
        self.url = ""
        self._open = asyncio.Event()
        if not held:
            self._open.set()
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def let_go(self) -> None:
        """Answer what waits, and at once from now on."""
        self._open.set()

    def hold(self) -> None:
        """Answer nothing from now on."""
        self._open.clear()

    async def met(self, requests: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(lambda: len(self.bodies) >= requests)

    @property
    def ids(self) -> list[str]:
        """The event id of each request."""
        return [head["webhook-id"][0] for head in self.heads]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:-2]
                head: dict[str, list[str]] = {}
                for line in lines:
                    name, _, value = line.partition(": ")
                    head.setdefault(name.lower(), []).append(value)
                await self._take(head, await reader.readexactly(int(head["content-length"][0])), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _take(self, head: dict[str, list[str]], body: bytes, writer: asyncio.StreamWriter) -> None:
        async with self._news:
            self.heads.append(head)
            self.bodies.append(body)
            number = len(self.bodies)
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            self._news.notify_all()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
        self.answered += 1
        status, headers = self.answer(number)
        lines = [f"HTTP/1.1 {status} X", "content-length: 0", *[f"{k}: {v}" for k, v in headers.items()]]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
