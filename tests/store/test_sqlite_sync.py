"""The log of an SQLite file is synced after the commit, and before anybody is told of it."""

import asyncio
import errno
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tellwire.errors import StoreUnavailableError
from tellwire.signing.vault import Vault
from tellwire.store import sqlite_sync
from tellwire.store.group_commit import BUSY_ITEMS
from tellwire.store.probe import write_something
from tellwire.store.sqlite import SqliteStore

from .backends import sqlite_path
from .rows import count_events, event_row


@pytest.fixture
async def store(tmp_path: Path, vault: Vault) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(sqlite_path(tmp_path), vault, lock_wait_s=0.1)
    await store.open()
    yield store
    await store.close()


class Disk:
    """What was on the disk at the last sync: what is there after a loss of power, if nothing more has got there."""

    def __init__(self, path: Path, kept: Path) -> None:
        self.syncs = 0
        self._path = path
        self._kept = kept
        self._lock = threading.Lock()  # a sync may run in a thread, beside those who look

    def sync(self, _: int) -> None:
        """Instead of ``fdatasync``."""
        with self._lock:
            for ending in ("", "-wal"):
                name = self._path.name + ending
                shutil.copyfile(self._path.with_name(name), self._kept / name)
            self.syncs += 1

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What SQLite reads from it after the loss of power; that changes nothing of it."""
        after = self._kept / "after"
        after.mkdir()
        with self._lock:
            for ending in ("", "-wal"):
                shutil.copyfile(self._kept / (self._path.name + ending), after / (self._path.name + ending))
        with closing(sqlite3.connect(after / self._path.name)) as driver:
            found = driver.execute(query).fetchall()
        shutil.rmtree(after)
        return found


@pytest.fixture
def disk(store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk below ``store``, which is empty until the first sync."""
    kept = tmp_path / "disk"
    kept.mkdir()
    disk = Disk(sqlite_path(tmp_path), kept)
    monkeypatch.setattr(sqlite_sync, "_sync", disk.sync)
    return disk


async def insert(store: SqliteStore, number: int) -> None:
    def change(connection: Connection) -> None:
        store.hot.insert_events(connection, [event_row(number)])

    await store.write(change)


async def test_what_is_acknowledged_is_on_the_disk(
    store: SqliteStore, disk: Disk, tmp_path: Path, vault: Vault
) -> None:
    """Whatever comes together, and whichever process writes: at the moment in which a write returns, power may fail."""
    other = SqliteStore(sqlite_path(tmp_path), vault)
    await other.open()

    async def write(which: SqliteStore, number: int) -> None:
        await asyncio.sleep(number % 7 / 1000)
        await insert(which, number)
        assert (event_row(number).id,) in disk.rows("SELECT id FROM events")

    await insert(store, 0)
    assert (event_row(0).id,) in disk.rows("SELECT id FROM events")
    async with asyncio.TaskGroup() as writing:
        for number in range(1, 41):
            writing.create_task(write(other if number % 3 else store, number))
    assert 2 < disk.syncs < 41, "some came together, not all"
    await other.close()


async def test_what_was_found_to_be_there_is_durable(store: SqliteStore, disk: Disk, tmp_path: Path) -> None:
    """What another process has written, and not synced yet, is synced by who builds on it in a transaction."""
    with closing(sqlite3.connect(sqlite_path(tmp_path))) as other:
        other.execute("PRAGMA synchronous = OFF")
        other.execute("INSERT INTO revisions (name, value) VALUES ('unsynced', 1)")
        other.commit()

    def found(connection: Connection) -> int:
        where = "SELECT count(*) FROM revisions WHERE name = 'unsynced'"
        return int(connection.exec_driver_sql(where).scalar_one())

    assert await store.write(found) == 1, "this transaction changes nothing"
    assert disk.rows("SELECT count(*) FROM revisions WHERE name = 'unsynced'") == [(1,)]


async def test_the_disk_is_left_alone_while_nothing_happens(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes look all the time whether others have written: what changes and finds nothing is not synced."""
    syncs: list[int] = []
    monkeypatch.setattr(sqlite_sync, "_sync", syncs.append)
    heard = asyncio.Event()
    store = SqliteStore(sqlite_path(tmp_path), vault, on_change=heard.set)
    await store.open()
    await store.write(write_something)
    syncs.clear()
    await asyncio.sleep(0.6)
    await store.write(lambda _: None)
    assert not syncs
    with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)) as other:
        other.execute("INSERT INTO revisions (name, value) VALUES ('of another', 1)")
    await asyncio.wait_for(heard.wait(), 30)
    assert len(syncs) == 1
    await store.write(write_something)
    assert len(syncs) == 2
    await store.close()


async def test_nobody_waits_for_a_lock_while_the_log_is_synced(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes meanwhile, and the event loop turns; who is to be told waits."""
    asked = await store.write(
        lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    )
    assert asked == 1, "or SQLite would sync it, too"
    syncs, may_end = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        syncs.set()
        assert may_end.wait(30)

    monkeypatch.setattr(sqlite_sync, "_sync", sync)
    writes = [asyncio.create_task(insert(store, number)) for number in range(BUSY_ITEMS)]
    assert await asyncio.to_thread(syncs.wait, 30)
    with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM events").fetchone() == (BUSY_ITEMS,)
        other.execute("COMMIT")
    assert not any(write.done() for write in writes)
    may_end.set()
    await asyncio.gather(*writes)


async def test_a_disk_that_failed_is_not_believed(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be synced is told as unknown, and nothing more is acknowledged before the log is in the file."""
    path = sqlite_path(tmp_path)
    log = path.with_name(f"{path.name}-wal")
    await insert(store, 0)
    fails = True

    def sync(_: int) -> None:
        if fails:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sqlite_sync, "_sync", sync)
    with pytest.raises(StoreUnavailableError, match="Input/output error") as refused:
        await insert(store, 1)
    assert refused.value.outcome_unknown
    fails = False
    before = log.read_bytes()[12:24]
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        with pytest.raises(StoreUnavailableError, match="in use") as waits:
            await insert(store, 2)
        assert not waits.value.outcome_unknown
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (2,)
        reader.execute("ROLLBACK")
    await insert(store, 3)
    anew = log.read_bytes()[12:24]
    assert anew != before, "the log has begun anew"
    await insert(store, 4)
    assert log.read_bytes()[12:24] == anew, "but once"
    assert await count_events(store) == 4


async def test_a_slow_disk_does_not_stop_the_event_loop(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quick sync is made on the event loop, a slow one in a thread, after a few; and back again."""
    by: list[int] = []
    takes_s = 0.0

    def sync(_: int) -> None:
        by.append(threading.get_ident())
        time.sleep(takes_s)

    monkeypatch.setattr(sqlite_sync, "_sync", sync)
    loop = threading.get_ident()

    async def syncs(count: int) -> list[bool]:
        by.clear()
        for _ in range(count):
            await store.write(write_something)
        return [one == loop for one in by]

    assert all(await syncs(5))
    takes_s = 0.015
    slow = await syncs(10)
    assert 0 < sum(slow) <= 4
    assert not slow[-1]
    takes_s = 0.0
    assert (await syncs(40))[-1]


async def test_many_are_synced_beside_the_event_loop_unless_others_write(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where many wait, the event loop has something to do meanwhile; not where another process has the other cores."""
    by: list[int] = []
    monkeypatch.setattr(sqlite_sync, "_sync", lambda _: by.append(threading.get_ident()))
    heard = asyncio.Event()
    store = SqliteStore(sqlite_path(tmp_path), vault, on_change=heard.set)
    await store.open()
    loop = threading.get_ident()

    async def syncs_of_many() -> set[bool]:
        by.clear()
        await asyncio.gather(*[store.write(write_something) for _ in range(BUSY_ITEMS)])
        return {one == loop for one in by}

    assert await syncs_of_many() == {False}
    with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)) as other:
        other.execute("INSERT INTO revisions (name, value) VALUES ('of another', 1)")
    await asyncio.wait_for(heard.wait(), 30)
    assert await syncs_of_many() == {True}
    await store.close()
