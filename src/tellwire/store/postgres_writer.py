"""A connection with which a process writes to PostgreSQL: kept from one transaction to the next.

To take a connection from SQLAlchemy's pool and give it back costs three switches of stacks, a task and two turns of the
event loop: a good part of what a lone event costs (docs/adr/0022-one-statement.md). One task writes, so that nobody
else waits for the connection meanwhile; after whatever went wrong it goes back into the pool, which makes a new one
where it is closed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .postgres_connections import drop
from .postgres_hot import driver_of

T = TypeVar("T")


class Writer:
    """One connection that writes. Whoever uses it waits for the end of what the one before does with it."""

    def __init__(self, engine: AsyncEngine) -> None:
        """``engine``: a pool of one connection, which leaves BEGIN and COMMIT to us."""
        self._engine = engine
        self._kept: AsyncConnection | None = None
        self._driver: asyncpg.Connection[Any] | None = None

    async def driver(self) -> "asyncpg.Connection[Any]":
        """The driver's own connection. What goes wrong with it is told to ``let_go``.

        Raises what the pool raises where the server cannot be reached.
        """
        if self._driver is None or self._driver.is_closed():
            await self.let_go()
            self._kept = await self._engine.connect()
            self._driver = await self._kept.run_sync(driver_of)
        return self._driver

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work``, which begins and ends its transactions itself and takes back what it has begun if it raises."""
        await self.driver()
        assert self._kept is not None  # noqa: S101 - see driver
        try:
            done = await self._kept.run_sync(work)
            if self._kept.in_transaction():  # SQLAlchemy's own idea of it, of which the server knows nothing
                await self._kept.commit()
        except BaseException:
            await self.let_go()
            raise
        return done

    async def let_go(self, *, lost: bool = False) -> None:
        """Give the connection back; where it is ``lost``, without waiting for a server that may be gone."""
        kept, self._kept, self._driver = self._kept, None, None
        if kept is None:
            return
        if lost:
            await kept.run_sync(drop)
        await asyncio.shield(kept.close())

    async def close(self) -> None:
        """Give the connection back, and close the pool."""
        await self.let_go()
        await self._engine.dispose()
