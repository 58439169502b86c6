"""The stores that the conformance suite runs against. A new backend is one more line in ``BACKENDS``."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.postgres import database_in

from tellwire.signing.vault import Vault
from tellwire.store.postgres import PostgresStore
from tellwire.store.sqlite import SqliteStore
from tellwire.store.store import Store

KEY = bytes(range(32))
OTHER_KEY = bytes(32)


class Make(Protocol):
    """Makes a store on the database that lives in a folder, the same one each time; ``on_ready`` hears of others."""

    def __call__(self, folder: Path, vault: Vault, on_ready: Callable[[int], None] = ...) -> Store: ...


class Backend(NamedTuple):
    """A kind of store."""

    name: str
    make: Make


def ignore(ready_ms: int) -> None:
    """Hear of nothing."""


def make_sqlite(folder: Path, vault: Vault, on_ready: Callable[[int], None] = ignore) -> Store:
    return SqliteStore(sqlite_path(folder), vault, on_change=lambda: on_ready(0))


def make_inline(folder: Path, vault: Vault, on_ready: Callable[[int], None] = ignore) -> Store:
    return SqliteStore(sqlite_path(folder), vault, inline=True, on_change=lambda: on_ready(0))


def make_postgres(folder: Path, vault: Vault, on_ready: Callable[[int], None] = ignore) -> Store:
    return PostgresStore(database_in(folder), vault, on_ready=on_ready)


def sqlite_path(folder: Path) -> Path:
    """Where the SQLite backends keep their file."""
    return folder / "tellwire.db"


POSTGRES = Backend("postgres", make_postgres)
BACKENDS = (
    Backend("sqlite", make_sqlite),
    Backend("sqlite-inline", make_inline),
    POSTGRES,
)


@asynccontextmanager
async def opened(url: str, **limits: float) -> AsyncIterator[PostgresStore]:
    """A store on the database at ``url``: the real one, by way of a proxy, say."""
    store = PostgresStore(url, Vault(KEY), **limits)  # type: ignore[arg-type]
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Listener(PostgresStore):
    """A process that does nothing but hear."""

    def __init__(self, url: str) -> None:
        self.told: list[int] = []
        super().__init__(url, Vault(KEY), on_ready=self.told.append)
