"""News between processes on one PostgreSQL: who publishes for others, or changes the control plane, notifies.

One connection of its own listens. A notification makes the claimer look at once; where the connection was lost, a
``look`` makes a new one and says yes, because something may have happened meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from .postgres_hot import REVISION

CHANNEL = "tellwire"


class News:
    """Hears what other processes tell; ``own`` is the name under which this one does."""

    def __init__(
        self,
        connect: Callable[[], Awaitable["asyncpg.Connection[Any]"]],
        own: str,
        on_change: Callable[[], None] | None,
    ) -> None:
        self._connect = connect
        self._own = own
        self._on_change = on_change
        self._heard = True
        self._connection: asyncpg.Connection[Any] | None = None

    async def open(self) -> None:
        """Connect and listen."""
        connection = await self._connect()
        connection.add_termination_listener(self._lost)
        await connection.add_listener(CHANNEL, self._hear)
        self._connection = connection
        self._heard = True

    async def close(self) -> None:
        """Stop listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.remove_termination_listener(self._lost)
            connection.terminate()

    async def look(self) -> tuple[bool, int]:
        """Whether anything was heard since the last look, and the revision of the control plane.

        The question goes over the listening connection: what was committed before it is heard before its answer.
        """
        if self._connection is None or self._connection.is_closed():
            await self.close()
            await self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101 - open has just made it
        revision: int = await connection.fetchval(REVISION, timeout=10)
        # asyncpg calls listeners in the turn of the loop after the one in which it hears.
        await asyncio.sleep(0)
        heard, self._heard = self._heard, False
        return heard, revision

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload != self._own:
            self._tell()

    def _lost(self, _connection: object) -> None:
        self._tell()

    def _tell(self) -> None:
        self._heard = True
        if self._on_change is not None:
            self._on_change()
