"""The bell on SQLite: what one process leaves to others is heard at once, and where there is no bell a moment later."""

import asyncio
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from tellwire.signing.vault import Vault
from tellwire.store import sqlite
from tellwire.store.rows import DeliveryRow, PageRow
from tellwire.store.sqlite import SqliteStore

from .backends import KEY, sqlite_path
from .rows import NOW, add_endpoint, delivery_row, event_row, raw, until

NEVER_S = 3_600.0
SOON_S = 30.0


class Heard:
    """A store, and whether it has heard of others."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self.news = asyncio.Event()
        self.store = SqliteStore(sqlite_path(folder), vault, on_change=self.news.set)

    async def hears(self) -> None:
        """Return once there is news since this was last asked."""
        async with asyncio.timeout(SOON_S):
            await self.news.wait()
        self.news.clear()


def bells(folder: Path) -> set[str]:
    """The sockets of all processes."""
    return {path.name for path in folder.glob("*-bells/*")}


@pytest.fixture
def only_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without having heard a bell."""
    monkeypatch.setattr(sqlite, "_LOOK_EVERY_S", NEVER_S)


@pytest_asyncio.fixture
async def both(tmp_path: Path, vault: Vault) -> AsyncIterator[tuple[SqliteStore, Heard]]:
    """One that writes, and one that listens."""
    writes, listens = Heard(tmp_path, vault), Heard(tmp_path, vault)
    await writes.store.open()
    await listens.store.open()
    yield writes.store, listens
    await listens.store.close()
    await writes.store.close()


@pytest.mark.usefixtures("only_bells")
async def test_what_is_left_to_others_is_heard_at_once(both: tuple[SqliteStore, Heard], vault: Vault) -> None:
    """Changes, deliveries without a lease, pages and leases given back ring; nothing has to be polled."""
    writes, listens = both
    endpoint = await add_endpoint(writes, vault, 1)
    await listens.hears()
    assert endpoint in listens.store.roster.endpoints
    # Hot writes as the stages make them: none of these is a change.
    hot = writes.batched(
        lambda connection, items: [item(connection) for item in items], _ignore, max_weight=9
    )
    leased = delivery_row(10, 11, endpoint)._replace(lease_token=7, lease_until_ms=NOW + 9_000)

    def insert(row: DeliveryRow) -> object:
        return lambda connection: writes.hot.insert_deliveries(connection, [row])

    await writes.write(
        lambda connection: writes.hot.insert_events(connection, [event_row(11), event_row(13)])
    )
    await listens.hears()
    hot.submit(insert(delivery_row(12, 13, endpoint)))
    await listens.hears()
    hot.submit(insert(leased))
    hot.submit(lambda connection: writes.hot.insert_pages(connection, [PageRow(raw(11), 0, 1, endpoint)]))
    await listens.hears()
    hot.submit(lambda connection: writes.hot.release(connection, [(leased.id, 7)]))
    await listens.hears()


def _ignore(_items: object, _outcomes: object) -> None:
    pass


@pytest.mark.usefixtures("only_bells")
async def test_what_is_nobody_elses_business_does_not_ring(
    both: tuple[SqliteStore, Heard], vault: Vault, tmp_path: Path
) -> None:
    """A delivery that is born claimed, one that is due later, and what is fetched here let the others sleep."""
    writes, listens = both
    endpoint = await add_endpoint(writes, vault, 1)
    await listens.hears()
    hot = writes.batched(
        lambda connection, items: [item(connection) for item in items], _ignore, max_weight=9
    )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(f"{sqlite_path(tmp_path)}-bells/listener")
    listener.setblocking(False)
    leased = delivery_row(10, 11, endpoint)._replace(lease_token=7, lease_until_ms=NOW + 9_000)
    later = delivery_row(12, 13, endpoint, due=NOW + 9_000)
    fetched = delivery_row(14, 13, endpoint)
    done = asyncio.Event()

    def insert(connection: object) -> None:
        writes.hot.insert_events(connection, [event_row(11), event_row(13)])  # type: ignore[arg-type]
        writes.hot.insert_deliveries(connection, [leased, later])  # type: ignore[arg-type]
        writes.hot.insert_deliveries(connection, [fetched], {endpoint})  # type: ignore[arg-type]
        done.set()

    hot.submit(insert)
    await done.wait()
    await writes.read(lambda connection: None)
    with pytest.raises(BlockingIOError):
        listener.recv(1)
    listener.close()


async def test_a_bell_that_cannot_be_is_done_without(tmp_path: Path, vault: Vault) -> None:
    """In a folder whose name is too long for a socket, others are heard of all the same, a moment later."""
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    writes, listens = Heard(deep, vault), Heard(deep, vault)
    await writes.store.open()
    await listens.store.open()
    await add_endpoint(writes.store, vault, 1)
    await listens.hears()
    await listens.store.close()
    await writes.store.close()


@pytest.mark.usefixtures("only_bells")
async def test_the_bell_of_the_dead_is_taken_away(
    both: tuple[SqliteStore, Heard], vault: Vault, tmp_path: Path
) -> None:
    """A socket that nobody holds any more is removed by whoever rings there, and the living still hear."""
    writes, listens = both
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(f"{sqlite_path(tmp_path)}-bells/dead")
    dead.close()
    assert len(bells(tmp_path)) == 3
    await add_endpoint(writes, vault, 1)
    await listens.hears()
    assert "dead" not in bells(tmp_path)


async def test_nothing_is_left_behind(tmp_path: Path, vault: Vault) -> None:
    """When the last store closes, its folder of bells is gone."""
    first, second = Heard(tmp_path, vault), Heard(tmp_path, vault)
    await first.store.open()
    await second.store.open()
    await first.store.close()
    assert len(bells(tmp_path)) == 1
    await second.store.close()
    assert not {name for name in os.listdir(tmp_path) if name.endswith("-bells")}


async def test_a_fault_does_not_make_it_deaf(
    both: tuple[SqliteStore, Heard], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that cannot be read, written by another version, say, is trouble as long as it is there, and no longer."""
    _, listens = both
    change = "UPDATE endpoints SET subscriptions = ?, revision = revision + 1"
    raised = "UPDATE revisions SET value = value + 1 WHERE name = 'control'"
    await add_endpoint(both[0], Vault(KEY), 1)
    await listens.hears()
    with (
        caplog.at_level("DEBUG", "tellwire.store.sqlite"),
        closing(sqlite3.connect(sqlite_path(tmp_path))) as other,
    ):
        with other:
            (before,) = other.execute("SELECT subscriptions FROM endpoints").fetchone()
            other.execute(change, ("{",))
            other.execute(raised)
        await until(lambda: "not up to date" in caplog.text)
        with other:
            other.execute(change, (before,))
            other.execute(raised)
        listens.news.clear()
        await listens.hears()
