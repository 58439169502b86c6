"""Connections to PostgreSQL: how they are made, pooled, and replaced when the server has closed them."""

from typing import Any, Final, cast

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tellwire.errors import SettingsError

from .postgres_hot import NEWS
from .rows import PoolUse

CONNECT_WITHIN_S: Final = 5.0
_WAIT_FOR_ONE_S: Final = 10
_SERVER_SETTINGS: Final = {
    "application_name": "tellwire",
    "synchronous_commit": "on",  # what is acknowledged is durable, whatever the server's default
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
}

_TOLD: Final = tuple(
    f"{verb} {table}"
    for verb in ("INSERT INTO", "UPDATE")
    for table in ("deliveries", "endpoints", "tenants", "keys")
)
"""How statements begin that other processes must hear of."""


async def connect(url: str) -> "asyncpg.Connection[Any]":
    """A connection of the driver; the URL is libpq's, with its parameters (``sslmode`` and so on)."""
    return await asyncpg.connect(url, timeout=CONNECT_WITHIN_S, server_settings=dict(_SERVER_SETTINGS))


def name_of(url: str) -> str:
    """The database that ``url`` names, for messages: without the password. Raises SettingsError."""
    try:
        return make_url(url).database or "postgres"
    except (ArgumentError, ValueError):
        raise SettingsError(
            "the database URL cannot be read: it must be postgresql://user:password@host/database "
            "(special characters in the password as %XX)"
        ) from None


def pool_of(url: str, connections: int) -> AsyncEngine:
    """A pool of at most so many connections, made when they are needed."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda *_, **__: connect(url),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_WAIT_FOR_ONE_S,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "before_cursor_execute", _note_news)
    return engine


def use_of(name: str, engine: AsyncEngine) -> PoolUse:
    """How many connections of a pool that ``pool_of`` made are in use."""
    pool = cast(AsyncAdaptedQueuePool, engine.pool)
    return PoolUse(name, pool.checkedout(), pool.size())


def _refuse_closed(driver: Any, *_: object) -> None:
    if driver.driver_connection.is_closed():  # the pool then makes a new one, before anything is lost by it
        raise DisconnectionError("the server has closed this connection")


def _note_news(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    # Changes by hand and of the control plane: the statements of the hot path do not come by here.
    if statement.startswith(_TOLD):
        connection.info[NEWS] = True
