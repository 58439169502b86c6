"""News between processes on one PostgreSQL: who leaves something to others, or changes the control plane, notifies.

One connection of its own listens. A notification says from when on there is something to claim, so that the claimers
of idle processes are there at that moment and have nothing to poll. A slow poll covers what notifications cannot: a
connection that has died without a word. While nothing can be heard, each try to listen again counts as news.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from tellwire.ending import end
from tellwire.waking import woken

from .postgres_clock import ServerClock
from .postgres_hot import REVISION

CHANNEL: Final = "tellwire"

_POLL_S: Final = 5.0
_ANSWER_WITHIN_S: Final = 2.0
_APART_S: Final = 0.05
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0

_log: Final = logging.getLogger(__name__)


class News:
    """Hears what other processes tell; ``own`` is the name under which this one does."""

    def __init__(
        self,
        connect: Callable[[], Awaitable["asyncpg.Connection[Any]"]],
        own: str,
        clock: ServerClock,
        *,
        on_ready: Callable[[int], None],
        on_revision: Callable[[int | None], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            connect: makes a connection of the driver.
            own: what this process tells itself is no news to it.
            clock: learns the server's time.
            on_ready: something may be claimed from that time on (0: at once).
            on_revision: the control plane is at that revision; None: at which is not known.
        """
        self._connect = connect
        self._own = own
        self._clock = clock
        self._on_ready = on_ready
        self._on_revision = on_revision
        self._rang = asyncio.Event()
        self._connection: asyncpg.Connection[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect and listen, from now on for good."""
        await self._listen()
        self._task = asyncio.create_task(self._follow(), name="tellwire-news")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await end([self._task])
        self._hang_up()

    def word(self, ready_ms: int) -> str:
        """What this process tells the others: something may be claimed from ``ready_ms`` on."""
        return f"{self._own} {ready_ms}"

    def notification(self, ready_ms: int) -> str:
        """The statement by which it does."""
        return f"SELECT pg_notify('{CHANNEL}', '{self.word(ready_ms)}')"

    async def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if self._connection is None:
                    await self._listen()
                    self._on_ready(0)  # whatever was told meanwhile
                await self._on_revision(await self._ask(self._connection))
                pause_s = _FIRST_PAUSE_S
                await self._rung()
            except Exception as error:  # of any kind: whoever does not hear must not believe to hear
                _log.debug("not listening: %r", error)
                self._hang_up()
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads processes, hides nothing
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                await self._do_without()

    async def _listen(self) -> None:
        connection = await self._connect()
        self._connection = connection
        connection.add_termination_listener(lambda _: self._rang.set())
        await connection.add_listener(CHANNEL, self._hear)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _ask(self, connection: Any) -> int:
        """The revision of the control plane; also proves that the connection lives."""
        self._rang.clear()
        asked = self._clock.ask()
        revision, server_s = await connection.fetchrow(REVISION, timeout=_ANSWER_WITHIN_S)
        self._clock.told(asked, server_s)
        return int(revision)

    async def _rung(self) -> None:
        await asyncio.sleep(_APART_S)  # many notifications are answered by one question
        await woken(self._rang, _POLL_S)

    async def _do_without(self) -> None:
        self._on_ready(0)
        try:
            await self._on_revision(None)
        except Exception as error:  # mostly the database itself is away, and who uses it hears of it
            _log.debug("not up to date: %r", error)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        own, _, ready_ms = str(payload).partition(" ")
        if own != self._own:
            self._rang.set()
            self._on_ready(int(ready_ms) if ready_ms.isdecimal() else 0)
