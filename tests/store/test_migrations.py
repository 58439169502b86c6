"""Opening a database: migrated to this version's tables, or refused with what to do."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from tellwire.errors import SettingsError, StoreVersionError
from tellwire.model.key import Scope
from tellwire.signing.vault import Vault
from tellwire.store.migrations.new_sqlite import SCRIPT, render
from tellwire.store.migrations.upgrade import upgrade
from tellwire.store.sqlite import SqliteStore
from tellwire.store.store import Store
from tellwire.store.tables import metadata

from .backends import OTHER_KEY, Backend, sqlite_path


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection", "ignore:autogenerate skipping")
async def test_migrations_make_the_tables_as_declared(store: Store) -> None:
    """Columns, types, nullability, keys and foreign keys of the migrated database are those of ``tables.py``."""

    def compare(connection: Connection) -> list[object]:
        dialect = connection.dialect.name

        def compared(thing: Any, name: str | None, kind: str, reflected: bool, other: object) -> bool:
            if (
                kind == "table"
                and reflected
                and re.fullmatch(r"(events|attempts)_(first|default|until_\d+)", name or "")
            ):
                return False  # a partition
            if kind == "foreign_key_constraint" and dialect == "postgresql":
                # Partitions could not be dropped if somebody referred to them.
                return [key.target_fullname for key in thing.elements] != ["events.id"]
            return bool(thing.info.get("only_on", dialect) == dialect)

        opts = {"compare_type": True, "include_object": compared}
        context = MigrationContext.configure(connection, opts=opts)
        return list(compare_metadata(context, metadata))

    assert await store.read(compare) == []


async def test_a_new_database_is_as_the_migrations_make_it(vault: Vault, tmp_path: Path) -> None:
    """SQLite's file is made at once, by SQL that is kept: it has the tables, indexes and rows of all migrations."""
    assert SCRIPT.read_text(encoding="utf-8") == render(), "write it anew: make docs"
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()
    store = SqliteStore(sqlite_path(tmp_path), vault)
    await store.open()
    await store.close()
    made, migrated = [_contents(path) for path in (sqlite_path(tmp_path), tmp_path / "migrated.db")]
    assert made == migrated


def _contents(path: Path) -> list[str]:
    """Everything in a file but what opening adds, the key check and the present time; spaces aside."""
    with closing(sqlite3.connect(path)) as connection:
        lines = [" ".join(line.replace(";", " ;").split()) for line in connection.iterdump()]
        lines = [re.sub(r"\b1\d{12}\b", "0", line) for line in lines]
        return [line for line in lines if not line.startswith('INSERT INTO "facts"')]


async def test_tenants_that_are_there_from_the_start_have_an_age(store: Store) -> None:
    """They are as old as the database, and not as the calendar."""
    oldest = await store.read(
        lambda connection: connection.execute(text("SELECT min(created_ms) FROM tenants")).scalar_one()
    )
    assert oldest > 1_700_000_000_000


async def test_tables_of_others_stay(vault: Vault, tmp_path: Path) -> None:
    """A file in which somebody keeps tables already gets ours beside them."""
    with closing(sqlite3.connect(sqlite_path(tmp_path))) as connection:
        connection.execute("CREATE TABLE orders (id)")
    store = SqliteStore(sqlite_path(tmp_path), vault)
    await store.open()
    tables = await store.read(lambda connection: set(inspect(connection).get_table_names()))
    await store.close()
    assert {"orders", "events", "deliveries"} <= tables


async def test_a_newer_database_is_refused(backend: Backend, vault: Vault, tmp_path: Path) -> None:
    """A database that a newer Tellwire has migrated is left alone, and the error says to upgrade."""
    store = backend.make(tmp_path, vault)
    await store.open()
    await store.write(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    await store.close()
    with pytest.raises(StoreVersionError, match="upgrade"):
        await backend.make(tmp_path, vault).open()


async def test_another_secret_key_is_refused(backend: Backend, vault: Vault, tmp_path: Path) -> None:
    """A database whose secrets were sealed with another key is refused when it is opened, not when they are needed."""
    store = backend.make(tmp_path, vault)
    await store.open()
    await store.close()
    with pytest.raises(SettingsError):
        await backend.make(tmp_path, Vault(OTHER_KEY)).open()
    await store.open()
    await store.close()


async def test_opening_again_changes_nothing(
    backend: Backend, vault: Vault, tmp_path: Path, store: Store
) -> None:
    """A database that is up to date is opened as it is, also while another process has it open."""

    def schema(connection: Connection) -> set[str]:
        if connection.dialect.name == "sqlite":
            return set(connection.execute(text("SELECT sql FROM sqlite_master")).scalars())
        return set(connection.execute(text("SELECT relname || relfilenode FROM pg_class")).scalars())

    before = await store.read(schema)
    second = backend.make(tmp_path, vault)
    await second.open()
    assert await second.read(schema) == before
    await second.close()


async def test_keys_that_could_do_everything_still_can(vault: Vault, tmp_path: Path) -> None:
    """Before there was ``admin``, ``manage`` made keys and tenants: such a key has both now, others stay the same."""
    _write_old_keys(sqlite_path(tmp_path))
    store = SqliteStore(sqlite_path(tmp_path), vault)
    await store.open()
    scopes = {hash[:1]: key.scopes for hash, key in store.roster.keys.items()}
    await store.close()
    assert scopes == {b"a": set(Scope), b"b": {Scope.READ, Scope.PUBLISH}}


def _write_old_keys(path: Path) -> None:
    """A database as of the version before, with a key for everything and one for little."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade(connection, "0004")
        for name, scopes in (("a", "publish manage read"), ("b", "publish read")):
            connection.execute(
                text(
                    "INSERT INTO keys (id, name, prefix, hash, scopes, created_ms, revision)"
                    " VALUES (:id, 'n', 'tw_', :hash, :scopes, 1, 1)"
                ),
                {"id": name.encode() * 16, "hash": name.encode() * 32, "scopes": scopes},
            )
        connection.execute(text("UPDATE revisions SET value = 2"))
    engine.dispose()


async def test_what_waited_in_an_older_file_is_claimed(vault: Vault, tmp_path: Path) -> None:
    """What was due and what a dead process had claimed stand in the indexes that are made when the file is opened."""
    _write_old_deliveries(sqlite_path(tmp_path))
    store = SqliteStore(sqlite_path(tmp_path), vault)
    await store.open()
    endpoint, now = b"p" * 16, 1_000

    def claim(connection: Connection) -> list[tuple[bytes, bool]]:
        assert store.hot.ready_lanes(connection) == [(endpoint, 300)]
        rows = store.hot.claim(connection, endpoint, now_ms=now, until_ms=9_000, token=8, limit=9)
        return [(row.id[:1], bool(row.rescued)) for row in rows]

    assert await store.write(claim) == [(b"d", False), (b"l", True)]
    assert await store.read(store.hot.ready_lanes) == [(endpoint, 2_000)]
    await store.close()


def _write_old_deliveries(path: Path) -> None:
    """A file as of the version before, with deliveries that are due, were claimed, are due later, and have ended."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade(connection, "0025")
        connection.execute(
            text(
                "INSERT INTO events (id, tenant, type, data, occurred_ms, created_ms, deliveries)"
                " VALUES (x'65', 'default', 'a.b', x'31', 1, 1, 4)"
            )
        )
        for id, state, due_ms, lease in (
            ("d", 0, 300, None),
            ("l", 0, 1, 500),
            ("f", 0, 2_000, None),
            ("e", 1, None, None),
        ):
            connection.execute(
                text(
                    "INSERT INTO deliveries (id, event_id, endpoint_id, state, attempt_count, schedule_step, trigger,"
                    " due_ms, lease_token, lease_until_ms, created_ms)"
                    " VALUES (:id, x'65', :endpoint, :state, 0, 0, 'schedule', :due_ms, :lease, :lease, 1)"
                ),
                {
                    "id": id.encode() * 16,
                    "endpoint": b"p" * 16,
                    "state": state,
                    "due_ms": due_ms,
                    "lease": lease,
                },
            )
    engine.dispose()
