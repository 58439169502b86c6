"""Connections in the clear that are kept for the next request to the same place.

Place in the life of an event: ``plain`` takes one for a request, or has one made. Each is kept by address and name: a
host that moves gets new ones, and no two names share one.
"""

import asyncio
from time import monotonic
from typing import Final

from .connection import Connection, Key

IDLE_S: Final = 20.0
"""Most servers close idle connections sooner or later; better to be the first."""
MAX_IDLE: Final = 1_000


class Connections:
    """Makes connections and keeps those that rest; belongs to the event loop in which it makes the first."""

    def __init__(self, max_body_bytes: int, *, idle_s: float = IDLE_S, max_idle: int = MAX_IDLE) -> None:
        """``max_body_bytes``: of an answer. ``idle_s``: how long one is kept unused; ``max_idle``: how many are."""
        self._max_body_bytes = max_body_bytes
        self._idle_s = idle_s
        self._max_idle = max_idle
        self._idle: dict[Key, list[Connection]] = {}
        self._count = 0  # of those
        self._all: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._making: set[asyncio.Timeout] = set()
        self._closed = False

    def take(self, key: Key) -> Connection | None:
        """A kept connection, the one that was used last; None where there is none."""
        idle = self._idle.get(key)
        if not idle:
            return None
        self._count -= 1
        return idle.pop()

    async def make(self, key: Key, port: int, within_s: float) -> Connection:
        """A new connection.

        Raises:
            OSError: nobody can be connected to there; a TimeoutError where that showed not soon enough, or where
                ``aclose`` came first.
        """
        if self._closed:
            raise TimeoutError
        connection = Connection(key, self._rests, self._gone, self._max_body_bytes)
        self._all.add(connection)
        try:
            async with asyncio.timeout(within_s) as limit:
                self._making.add(limit)
                try:
                    await asyncio.get_running_loop().create_connection(lambda: connection, key[0], port)
                finally:
                    self._making.discard(limit)
        except BaseException:
            self._all.discard(connection)
            raise
        return connection

    def under_way(self) -> list[Connection]:
        """Those that somebody waits for."""
        return [connection for connection in self._all if connection.is_under_way]

    def close(self) -> None:
        """Close those that rest, make no more, and keep none from now on."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for limit in self._making:
            limit.reschedule(0)
        for connection in [connection for idle in self._idle.values() for connection in idle]:
            connection.close()

    def _rests(self, connection: Connection) -> None:
        if self._closed or self._count >= self._max_idle:
            connection.close()
            return
        connection.rested_at = monotonic()
        self._idle.setdefault(connection.key, []).append(connection)
        self._count += 1
        if self._sweep is None:
            self._sweep_later()

    def _gone(self, connection: Connection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.key, ())
        if connection in idle:
            self._idle[connection.key].remove(connection)
            self._count -= 1

    def _close_idle(self) -> None:
        """Close what was not used for long, and forget places where nothing is kept."""
        before = monotonic() - self._idle_s
        for key, idle in list(self._idle.items()):
            for connection in idle:
                if connection.rested_at < before:
                    connection.close()
            if not idle:
                del self._idle[key]
        self._sweep = None
        if self._idle:
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._idle_s / 4, self._close_idle)
