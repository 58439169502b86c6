"""Connections to PostgreSQL: how they are made, pooled, and replaced when the server has closed them."""

import re
from typing import Any, Final, cast

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tellwire.errors import SettingsError

from .news import note
from .rows import PoolUse

CONNECT_WITHIN_S: Final = 5.0
WRITE_WITHIN_S: Final = 10.0
READ_WITHIN_S: Final = 35.0
_WAIT_FOR_ONE_S: Final = 10
_SERVER_SETTINGS: Final = {
    "application_name": "tellwire",
    "synchronous_commit": "on",  # what is acknowledged is durable, whatever the server's default
    "statement_timeout": "30s",
    "lock_timeout": "2s",  # whoever holds what one item needs must not hold up those that share its transaction
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
}
_WRITER_SETTINGS: Final = {
    # Statements that write are about few rows, which indexes find in their order. The server's guesses at how many are
    # wrong where one lane has a million due deliveries: it must not read or sort all of them for a claim of a few.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
}
_COMPRESS_QUICKLY: Final = """
    SELECT set_config(name, 'lz4', false) FROM pg_settings
    WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals) AND source = 'default'"""
"""Data of 2 KB and more are stored compressed. Not every server is built with lz4, and whoever has chosen has chosen
(docs/adr/0026-what-an-event-of-8-kb-costs.md)."""

_TOLD: Final = tuple(
    f"{verb} {table}"
    for verb in ("INSERT INTO", "UPDATE")
    for table in ("deliveries", "endpoints", "tenants", "keys")
)
"""How statements begin that other processes must hear of."""


async def connect(
    url: str, within_s: float | None = WRITE_WITHIN_S, *, writes: bool = False
) -> "asyncpg.Connection[Any]":
    """A connection of the driver; the URL is libpq's, with its parameters (``sslmode`` and so on).

    ``within_s`` is how long one statement may take until its connection counts as dead: a server that has gone without
    a word answers none. The server's own limit is there for statements that are merely slow; None: neither. ``writes``:
    it is the one for the statements of the hot path.
    """
    settings = _SERVER_SETTINGS | (_WRITER_SETTINGS if writes else {})
    if within_s is None:
        settings["statement_timeout"] = settings["lock_timeout"] = "0"
    connection = await asyncpg.connect(
        url, timeout=CONNECT_WITHIN_S, command_timeout=within_s, server_settings=settings
    )
    if writes:
        try:
            await connection.execute(_COMPRESS_QUICKLY)
        except BaseException:
            connection.terminate()
            raise
    return connection


def name_of(url: str) -> str:
    """The database that ``url`` names and its host, for messages: without user and password. Raises SettingsError."""
    # Several hosts with ports (for failover) are libpq's and the driver's own: to read the name, one will do.
    one_host = re.sub(r"(:\d*)?,[^/?@]*", "", url, count=1)
    try:
        found = make_url(one_host)
    except (ArgumentError, ValueError):
        raise SettingsError(
            "the database URL cannot be read: it must be postgresql://user:password@host/database "
            "(special characters in the password as %XX)"
        ) from None
    host = found.host or found.query.get("host")
    if not host:
        return found.database or "postgres"
    port = "" if found.port is None else f":{found.port}"
    others = " and others" if one_host.rpartition("@")[2] != url.rpartition("@")[2] else ""
    return (
        f"{found.database or 'postgres'} on {host if isinstance(host, str) else ','.join(host)}{port}{others}"
    )


def pool_of(
    url: str, connections: int, *, within_s: float | None = READ_WITHIN_S, writes: bool = False
) -> AsyncEngine:
    """A pool of at most so many connections, made when they are needed; for the rest see ``connect``."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda *_, **__: connect(url, within_s, writes=writes),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_WAIT_FOR_ONE_S,
        hide_parameters=True,  # errors are logged; what events and secrets are is not
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "before_cursor_execute", _note_news)
    return engine


def use_of(name: str, engine: AsyncEngine) -> PoolUse:
    """How many connections of a pool that ``pool_of`` made are in use."""
    pool = cast(AsyncAdaptedQueuePool, engine.pool)
    return PoolUse(name, pool.checkedout(), pool.size())


def drop(connection: Connection) -> None:
    """Give a connection up, without waiting for a server that may be gone; the pool makes a new one."""
    if connection.invalidated:  # SQLAlchemy has seen for itself that it was closed
        return
    driver: Any = connection.connection.driver_connection
    driver.terminate()
    connection.invalidate()


def _refuse_closed(driver: Any, *_: object) -> None:
    if driver.driver_connection.is_closed():  # the pool then makes a new one, before anything is lost by it
        raise DisconnectionError("the server has closed this connection")


def _note_news(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    # Changes by hand and of the control plane: the statements of the hot path do not come by here.
    if statement.startswith(_TOLD):
        note(connection)
