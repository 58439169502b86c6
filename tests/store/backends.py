"""The stores that the conformance suite runs against. A new backend is one more line in ``BACKENDS``."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.postgres import database_in

from tellwire.signing.vault import Vault
from tellwire.store.postgres import PostgresStore
from tellwire.store.sqlite import SqliteStore
from tellwire.store.store import Store

KEY = bytes(range(32))
OTHER_KEY = bytes(32)


class Backend(NamedTuple):
    """A kind of store; ``make`` gives one on the database that lives in a folder, the same one each time."""

    name: str
    make: Callable[[Path, Vault], Store]


def sqlite_path(folder: Path) -> Path:
    """Where the SQLite backends keep their file."""
    return folder / "tellwire.db"


BACKENDS = (
    Backend("sqlite", lambda folder, vault: SqliteStore(sqlite_path(folder), vault)),
    Backend("sqlite-inline", lambda folder, vault: SqliteStore(sqlite_path(folder), vault, inline=True)),
    Backend("postgres", lambda folder, vault: PostgresStore(database_in(folder), vault)),
)
