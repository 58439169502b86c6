"""An open store of each backend, on a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.postgres import database_in

from tellwire.signing.vault import Vault
from tellwire.store.store import Store

from .backends import BACKENDS, KEY, Backend, Listener


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.param
    return found


@pytest.fixture
def vault() -> Vault:
    return Vault(KEY)


@pytest.fixture
async def store(backend: Backend, vault: Vault, tmp_path: Path) -> AsyncIterator[Store]:
    store = backend.make(tmp_path, vault)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def second(backend: Backend, vault: Vault, tmp_path: Path, store: Store) -> AsyncIterator[Store]:
    """Another process on the same database, as far as a store can tell."""
    second = backend.make(tmp_path, vault)
    await second.open()
    yield second
    await second.close()


@pytest.fixture
async def listener(tmp_path: Path, store: Store) -> AsyncIterator[Listener]:
    listener = Listener(database_in(tmp_path))
    await listener.open()
    yield listener
    await listener.close()


@pytest.fixture
async def driver(tmp_path: Path, store: Store) -> AsyncIterator[Any]:
    """A connection of the driver to the PostgreSQL database of ``store``."""
    connection = await asyncpg.connect(database_in(tmp_path))
    yield connection
    await connection.close()
