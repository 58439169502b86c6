"""The log of an SQLite file: copied beside the writing, and when."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tellwire.signing.vault import Vault
from tellwire.store import sqlite
from tellwire.store.sqlite import SqliteStore
from tellwire.store.sqlite_hot import driver_of
from tellwire.store.sqlite_log import Log, copy_rest

from .backends import sqlite_path
from .rows import count_events, event_row

PAGES = 50


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A file whose log nobody copies unasked."""
    with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)) as driver:
        driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("PRAGMA wal_autocheckpoint = 0")
        driver.execute("CREATE TABLE filled (bytes BLOB)")
        yield driver


def fill(driver: sqlite3.Connection, pages: int) -> None:
    driver.execute("INSERT INTO filled VALUES (zeroblob(?))", (pages * 4096,))


def anew(path: Path) -> bytes:
    """What changes in the log whenever it begins anew."""
    return path.with_name(f"{path.name}-wal").read_bytes()[12:24]


def test_a_long_log_is_known_by_what_counts_in_it(driver: sqlite3.Connection, tmp_path: Path) -> None:
    """What is left of earlier rounds does not make it long, however long the file is."""
    log = Log(sqlite_path(tmp_path), PAGES)
    assert not log.is_long
    for _ in range(2):
        fill(driver, PAGES // 2)
        assert not log.is_long
        fill(driver, PAGES // 2)
        assert log.is_long
        copied = copy_rest(driver)
        assert copied[0] == copied[1] > PAGES
        assert log.is_long, "it begins anew with what is written next"
        fill(driver, 1)
        assert not log.is_long
    log.close()


_COPIES = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 1, 121)
    print("copies", flush=True)
    sys.stdin.read()
"""
"""What holds the lock of who copies, byte 121 of the log's index. Source: https://www.sqlite.org/walformat.html"""


def test_what_another_process_copies_is_left_to_it(driver: sqlite3.Connection, tmp_path: Path) -> None:
    """Then there is no rest to copy either; it is seen for five seconds at most."""
    path = sqlite_path(tmp_path)
    fill(driver, PAGES)
    log = Log(path, PAGES)
    command = [sys.executable, "-c", _COPIES, f"{path}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"copies\n"
        assert not log.leaves_a_rest()
        ends_at = time.monotonic() + 5
        while log._copying is not None and time.monotonic() < ends_at:
            assert not log.leaves_a_rest()
            time.sleep(0.01)
        assert log._copying is None
        other.communicate()
    log.close()


def test_the_rest_is_copied_while_another_process_writes(driver: sqlite3.Connection, tmp_path: Path) -> None:
    """As far as it is there: nobody waits for the other to end its transaction."""
    fill(driver, PAGES)
    with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fill(other, 1)
        pages, copied = copy_rest(driver)
        assert pages == copied > PAGES
        other.execute("COMMIT")


def test_there_need_not_be_a_log(tmp_path: Path) -> None:
    """Where there is none, it is not long."""
    log = Log(sqlite_path(tmp_path), PAGES)
    assert not log.leaves_a_rest()
    log.close()


@pytest.fixture
def few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOG_PAGES", PAGES)


def insert(store: SqliteStore, number: int, connection: Connection) -> None:
    driver_of(connection).execute("PRAGMA wal_autocheckpoint = 0")  # so that no commit copies it
    store.hot.insert_events(connection, [event_row(number)])


@pytest.mark.usefixtures("few_pages")
async def test_the_log_begins_anew_while_much_is_written(tmp_path: Path, vault: Vault) -> None:
    """However little time there is between two transactions, and though no commit copies it; nothing is lost."""
    store, path = SqliteStore(sqlite_path(tmp_path), vault), sqlite_path(tmp_path)
    await store.open()
    written = 0
    for _ in range(3):
        first = anew(path)
        while anew(path) == first:
            await store.write(partial(insert, store, written))
            written += 1
    await store.close()
    await store.open()
    assert await count_events(store) == written
    await store.close()


@pytest.mark.usefixtures("few_pages")
async def test_who_reads_for_long_does_not_keep_others_from_writing(tmp_path: Path, vault: Vault) -> None:
    """The log goes on as long as somebody reads what was there before it; then it begins anew."""
    store, path = SqliteStore(sqlite_path(tmp_path), vault), sqlite_path(tmp_path)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        first = anew(path)
        for number in range(2 * PAGES):
            await store.write(partial(insert, store, number))
        assert anew(path) == first
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (0,)
    number = 2 * PAGES
    while anew(path) == first:
        await store.write(partial(insert, store, number))
        number += 1
        await asyncio.sleep(0)
    assert await count_events(store) == number
    await store.close()
