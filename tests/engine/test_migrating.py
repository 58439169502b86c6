"""``tellwire migrate`` by many processes at once, and on PostgreSQL."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from tests.postgres import empty_database_in

from tellwire import Options, Tellwire
from tellwire.store import postgres
from tellwire.store.tables import SCHEMA_VERSION

from .cli_process import Process
from .conftest import WAIT_S
from .embedded import KEY

TEN = 10
_PARTS = re.compile(r"_(first|default|until_\d+)\b")
"""In the names of partitions, which belong to a day."""


@pytest.fixture(params=["postgres", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def url_in(folder: Path, kind: str) -> str:
    """An empty database of a kind."""
    folder.mkdir(exist_ok=True)
    return empty_database_in(folder) if kind == "postgres" else f"sqlite:///{folder / 'tellwire.db'}"


def tellwire(folder: Path, command: str, url: str, *flags: str) -> Process:
    """One process on a database, with a secret key of its folder."""
    keys = folder / "keys.toml"
    if not keys.exists():  # written once: what others read meanwhile is never half of it
        keys.write_text(f'secret_key = "{KEY}"\n')
    return Process(folder, command, "--config", "keys.toml", "--database-url", url, *flags)


def migrate(folder: Path, url: str, *flags: str) -> Process:
    return tellwire(folder, "migrate", url, *flags)


async def contents(url: str) -> list[str]:
    """The tables, columns and indexes of a database, and what the migrations have put into it."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            lines = [line for line in file.iterdump() if not line.startswith('INSERT INTO "facts"')]
        lines = [" ".join(line.replace(";", " ;").split()) for line in lines]
        return [re.sub(r"\b1\d{12}\b", "0", line) for line in lines]
    connection = await asyncpg.connect(url)
    try:
        columns = await connection.fetch(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        )
        indexes = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
        tenants = await connection.fetch("SELECT id, name FROM tenants")
        versions = await connection.fetch("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()
    rows = [" ".join(map(str, row)) for found in (columns, indexes, tenants, versions) for row in found]
    return sorted(row for row in rows if not _PARTS.search(row))


async def all_wait(url: str) -> None:
    """Until so many processes wait for the lock under which a database is migrated."""
    connection = await asyncpg.connect(url)
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (" \
        "SELECT oid FROM pg_database WHERE datname = current_database())"  # fmt: skip
    try:
        async with asyncio.timeout(WAIT_S):
            while await connection.fetchval(query) < TEN:  # noqa: ASYNC110 - other processes set no event here
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def test_ten_processes_at_once_migrate_once(kind: str, tmp_path: Path, workers: list[Process]) -> None:
    """All ten come through, whoever is first, and leave what one alone leaves; on PostgreSQL under one lock."""
    url, alone = url_in(tmp_path / "many", kind), url_in(tmp_path / "one", kind)
    holder = await asyncpg.connect(url) if kind == "postgres" else None
    if holder is not None:  # so that they meet
        await holder.execute("SELECT pg_advisory_lock($1)", postgres._MIGRATION_LOCK)
    workers += [migrate(tmp_path, url, "--json") for _ in range(TEN)]
    if holder is not None:
        await all_wait(url)
        await holder.close()
    for one in workers:
        assert await asyncio.to_thread(one.wait) == 0, one.rest("err")
        assert json.loads(one.line())["known"] == SCHEMA_VERSION
    workers.append(migrate(tmp_path, alone))
    assert await asyncio.to_thread(workers[-1].wait) == 0
    assert await contents(url) == await contents(alone)


async def test_the_sql_that_is_printed_makes_the_tables(
    kind: str, tmp_path: Path, workers: list[Process]
) -> None:
    """Who may not let a program make tables runs what ``--sql`` prints: ``--check`` is content, and Tellwire starts."""
    url, migrated = url_in(tmp_path / "printed", kind), url_in(tmp_path / "migrated", kind)
    workers.append(migrate(tmp_path, url, "--check"))
    if kind == "postgres":
        assert await asyncio.to_thread(workers[-1].wait) == 1
    workers.append(migrate(tmp_path, url, "--sql", "--json"))
    printed = json.loads(workers[-1].line())["sql"]
    if kind == "postgres":
        connection = await asyncpg.connect(url)
        await connection.execute(printed)
        await connection.close()
    else:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.executescript(printed)
    for flags, made in ((["--check"], url), ([], migrated)):
        workers.append(migrate(tmp_path, made, *flags))
        assert await asyncio.to_thread(workers[-1].wait) == 0, workers[-1].rest("err")
    assert await contents(url) == await contents(migrated)
    async with Tellwire(url, Options(secret_key=KEY, deliver=False)) as tellwire:
        await tellwire.publish("order.paid", {})


async def test_a_newer_postgres_is_refused(tmp_path: Path, workers: list[Process]) -> None:
    """A database that a newer Tellwire has migrated is left alone by every process, with a sentence of what to do."""
    url = url_in(tmp_path / "newer", "postgres")
    workers.append(migrate(tmp_path, url))
    assert await asyncio.to_thread(workers[-1].wait) == 0
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = await contents(url)
    for command, *flags in (["migrate"], ["migrate", "--check"], ["worker"], ["serve", "--port", "0"]):
        workers.append(tellwire(tmp_path, command, url, *flags))
        assert await asyncio.to_thread(workers[-1].wait) == 5
        assert "upgrade Tellwire" in workers[-1].rest("err")
    assert await contents(url) == before
    await connection.close()
