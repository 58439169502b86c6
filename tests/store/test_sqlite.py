"""What is SQLite's own: durability, locks, query plans, and what a full or damaged disk does."""

import asyncio
import base64
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateIndex
from tests.forked import PIPE, Forked, outside

from tellwire.errors import StoreError, StoreUnavailableError
from tellwire.ids import DELIVERY, ENDPOINT, encode
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, endpoints, tenants
from tellwire.store.pruning import expire_payloads, prune
from tellwire.store.sqlite import SqliteStore
from tellwire.store.tables import metadata

from .backends import KEY, sqlite_path
from .rows import (
    NOW,
    OTHER_SECRET,
    SECRET,
    add_deliveries,
    add_endpoint,
    attempt_row,
    count_events,
    delivery_row,
    event_row,
    outcome,
    raw,
)


@pytest.fixture(params=[False, True], ids=["threaded", "inline"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, vault: Vault) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(sqlite_path(tmp_path), vault, inline=request.param)
    await store.open()
    yield store
    await store.close()


async def pragma(store: SqliteStore, name: str) -> Any:
    # Outside of any transaction: some of them cannot be asked for within one.
    def ask(connection: Connection) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

    return await store.write(ask)


async def test_the_writer_uses_a_log(store: SqliteStore) -> None:
    """The write-ahead log, which is synced after each commit (see ``test_sqlite_sync``); foreign keys are on."""
    assert await pragma(store, "journal_mode") == "wal"
    assert await pragma(store, "foreign_keys") == 1


async def test_a_transaction_makes_no_files(store: SqliteStore) -> None:
    """How to undo a statement of many rows is noted in memory; in a temporary file, payloads would stand there, too."""
    assert await pragma(store, "temp_store") == 2


async def test_a_new_file_that_another_process_is_just_making_is_waited_for(
    vault: Vault, tmp_path: Path
) -> None:
    """SQLite does not wait where somebody writes to a file that has no write-ahead log yet: opening does."""
    with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store = SqliteStore(sqlite_path(tmp_path), vault)
        opening = asyncio.create_task(store.open())
        done, _ = await asyncio.wait([opening], timeout=0.1)
        assert not done
        other.execute("ROLLBACK")
        await opening
    await store.close()


async def test_migrations_make_the_indexes_as_declared(store: SqliteStore) -> None:
    """Every index, the partial ones and those over expressions included, is made by the same statement as declared."""

    def statements(connection: Connection) -> tuple[set[str], set[str]]:
        declared = {
            str(CreateIndex(index).compile(dialect=connection.dialect)).strip()
            for table in metadata.tables.values()
            if table.info.get("only_on", "sqlite") == "sqlite"
            for index in table.indexes
            if index.info.get("only_on", "sqlite") == "sqlite"
        }
        made = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        )
        return declared, set(made.scalars())

    def squeezed(statements: set[str]) -> set[str]:
        return {" ".join(one.replace('"', "").split()) for one in statements}

    declared, made = await store.read(statements)
    assert squeezed(made) == squeezed(declared)


async def test_a_table_that_needs_no_rowid_has_none(store: SqliteStore) -> None:
    """Deliveries are kept in their primary key's own tree, as declared."""

    def sql(connection: Connection) -> str:
        assert "deliveries" in inspect(connection).get_table_names()
        found = text("SELECT sql FROM sqlite_master WHERE name = 'deliveries'")
        return str(connection.execute(found).scalar_one())

    assert (await store.read(sql)).rstrip().endswith("WITHOUT ROWID")


_OPEN = """
import asyncio, sys
from pathlib import Path
from tellwire.signing.vault import Vault
from tellwire.store import tenants
from tellwire.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]), Vault(bytes(range(32))))
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    await store.write(lambda c: tenants.create(c, "tenant_" + sys.argv[2], "name", now_ms=1))
    await store.close()

asyncio.run(main())
"""


async def test_ten_processes_can_open_an_empty_database_at_once(tmp_path: Path, vault: Vault) -> None:
    """Whoever comes first makes the tables; the others wait for it, and all of them can write."""
    assert bytes(range(32)) == KEY
    path = sqlite_path(tmp_path)
    started = [
        Forked(_OPEN, [str(path), str(n)], cwd=tmp_path, env=outside(), stdin=PIPE, stdout=PIPE)
        for n in range(10)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
    codes = [await asyncio.to_thread(process.wait, 60) for process in started]
    assert codes == [0] * 10
    for process in started:
        process.close()
    store = SqliteStore(path, vault)
    await store.open()
    assert store.roster.tenants.keys() == {"default", "@tellwire", *(f"tenant_{n}" for n in range(10))}
    await store.close()


async def test_nothing_secret_stands_in_the_files(store: SqliteStore, vault: Vault, tmp_path: Path) -> None:
    """Neither database nor log hold a signing secret or a custom header in the clear, nor in another spelling."""
    await add_endpoint(store, vault, 1)
    await store.write(
        lambda connection: endpoints.add_secret(
            connection, vault, raw(2), encode(ENDPOINT, raw(1)), OTHER_SECRET, overlap_ms=9, now_ms=NOW
        )
    )
    files = [path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("tellwire.db")]  # noqa: ASYNC240
    assert len(files) >= 2
    found = b"".join(files)
    assert b"receiver.example" in found  # the search would find what stands in the clear
    live = store.roster.endpoints[raw(1)].secrets
    assert len(live) == 2
    for secret in (SECRET, OTHER_SECRET):
        text = secret.removeprefix("whsec_")
        key = base64.b64decode(text)
        for spelling in (text.encode(), key, key.hex().encode(), base64.urlsafe_b64encode(key)):
            assert spelling not in found
    assert b"header-in-the-clear" not in found
    assert b"setting-in-the-clear" not in found


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, vault: Vault) -> None:
    """The error says that the file is no database; it is not touched."""
    path = sqlite_path(tmp_path)
    path.write_text("these are somebody's notes, not a database\n" * 200)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="no database"):
        await SqliteStore(path, vault).open()
    assert path.read_bytes() == before


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path, vault: Vault) -> None:
    """A path that cannot be opened raises StoreUnavailableError."""
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        await SqliteStore(tmp_path / "missing" / "tellwire.db", vault).open()


async def test_a_full_disk_refuses_writes_until_there_is_room(store: SqliteStore) -> None:
    """While the disk is full every write says so and stores nothing of it; afterwards all is as before."""
    rows = [event_row(n)._replace(data=b"x" * 20_000) for n in range(200)]

    async def insert(number: int) -> None:
        await store.write(lambda connection: store.hot.insert_events(connection, [rows[number]]))

    await insert(0)
    pages = await pragma(store, "page_count")
    await pragma(store, f"max_page_count = {pages + 30}")
    found = await asyncio.gather(*[insert(n) for n in range(1, 100)], return_exceptions=True)
    failed = [error for error in found if error is not None]
    assert failed
    assert all(isinstance(error, StoreUnavailableError) for error in failed)
    assert "full" in str(failed[0])
    assert await count_events(store) == 100 - len(failed)
    with pytest.raises(StoreUnavailableError):
        await store.write(lambda connection: store.hot.insert_events(connection, rows[100:]))
    assert await count_events(store) == 100 - len(failed)
    await pragma(store, "max_page_count = 1000000")
    await insert(150)
    assert await count_events(store) == 101 - len(failed)


async def test_a_change_that_fills_the_disk_takes_back_all_of_it(store: SqliteStore) -> None:
    """A change that gets half of its rows in before the disk is full leaves none of them."""
    pages = await pragma(store, "page_count")
    await pragma(store, f"max_page_count = {pages + 10}")

    def change(connection: Connection) -> None:
        tenants.create(connection, "acme", "Acme", now_ms=NOW)
        for number in range(20):
            store.hot.insert_events(connection, [event_row(number)._replace(data=b"x" * 20_000)])

    with pytest.raises(StoreUnavailableError):
        await store.write(change)
    await pragma(store, "max_page_count = 1000000")
    assert await count_events(store) == 0
    assert store.roster.tenants.keys() == {"default", "@tellwire"}
    await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))


@pytest.mark.parametrize("inline", [False, True], ids=["threaded", "inline"])
async def test_a_locked_database_is_unavailable_and_nothing_is_lost(
    inline: bool, vault: Vault, tmp_path: Path
) -> None:
    """A write that cannot get the lock in time says so; when the lock is free, writes go through."""
    store = SqliteStore(sqlite_path(tmp_path), vault, inline=inline, lock_wait_s=0.05)
    await store.open()
    other = sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    other.execute("ROLLBACK")
    other.close()
    await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    assert "acme" in store.roster.tenants
    await store.close()


async def test_a_lock_that_somebody_else_holds_does_not_stop_the_event_loop(
    vault: Vault, tmp_path: Path
) -> None:
    """While a write waits for another process, the event loop turns; when the lock is free, the write goes through."""
    store = SqliteStore(sqlite_path(tmp_path), vault)
    await store.open()
    other = sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW)))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not write.done()
    other.execute("ROLLBACK")
    other.close()
    assert (await asyncio.wait_for(write, 30)).id == "acme"
    await store.close()


def test_who_waits_for_a_lock_does_not_spin(vault: Vault, tmp_path: Path) -> None:
    """The server's event loop counts in milliseconds: what is to wait for less does not wait at all."""
    asked: list[str] = []

    async def wait() -> None:
        store = SqliteStore(sqlite_path(tmp_path), vault)
        await store.open()
        driver: Any = store._connection.connection.driver_connection
        with closing(sqlite3.connect(sqlite_path(tmp_path), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            driver.set_trace_callback(asked.append)
            write = asyncio.create_task(
                store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
            )
            await asyncio.sleep(0.2)
            driver.set_trace_callback(None)
        assert (await write).id == "acme"
        await store.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(wait())
    assert 1 < asked.count("BEGIN IMMEDIATE") == len(asked) <= 220


async def test_two_processes_that_write_without_end_take_turns(vault: Vault, tmp_path: Path) -> None:
    """Neither waits for the other for long: while one writes on and on, each write of the other gets through."""
    first, second = SqliteStore(sqlite_path(tmp_path), vault), SqliteStore(sqlite_path(tmp_path), vault)
    await first.open()
    await second.open()
    written = 0

    async def write_on() -> None:
        nonlocal written
        while True:
            await first.write(partial(_insert, first, written))
            written += 1
            one_more.set()

    one_more = asyncio.Event()
    writing = asyncio.create_task(write_on())
    for n in range(20):
        await second.write(partial(tenants.create, id=f"tenant_{n}", name="Name", now_ms=NOW))
        one_more.clear()
        await one_more.wait()  # and the one that writes on and on is not held up by the other either
    writing.cancel()
    await asyncio.wait([writing])
    await first.close()
    await second.close()


def _insert(store: SqliteStore, number: int, connection: Connection) -> None:
    store.hot.insert_events(connection, [event_row(number)])


async def test_a_damaged_database_is_told_as_such(store: SqliteStore, tmp_path: Path) -> None:
    """Pages that make no sense end as a StoreError that says so, from queries and from hot statements alike."""
    await store.write(
        lambda connection: store.hot.insert_events(connection, [event_row(n) for n in range(5_000)])
    )

    def checkpoint(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute("COMMIT")
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        driver.execute("PRAGMA cache_size = 1")
        driver.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError):  # the savepoint is gone with the transaction
        await store.write(checkpoint)
    path = sqlite_path(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreError):
        await store.read(
            lambda connection: connection.execute(text("SELECT sum(created_ms) FROM events")).all()
        )
    with pytest.raises(StoreError):
        await store.write(lambda connection: store.hot.insert_events(connection, [event_row(9_999)]))


class Plans:
    """Asks SQLite how it would execute each statement that runs."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._statements: list[str] = []
        driver.set_trace_callback(self._statements.append)

    def found(self, word: str) -> str:
        """The plan of the one statement that ran and has ``word`` in it, one step a line."""
        self._driver.set_trace_callback(None)
        statement = next(one for one in self._statements if word in " ".join(one.split()))
        steps = self._driver.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        return "\n".join(step[3] for step in steps)


async def plan_of(store: SqliteStore, run: Callable[[Connection], object], word: str) -> str:
    """The plan of a statement that ``run`` executes, on a database that has been analysed by nobody."""

    def ask(connection: Connection) -> str:
        plans = Plans(connection.connection.driver_connection)  # type: ignore[arg-type]
        run(connection)
        return plans.found(word)

    return await store.write(ask)


@pytest.fixture
async def filled(store: SqliteStore, vault: Vault) -> SqliteStore:
    for number in (1, 2, 3):
        await add_endpoint(store, vault, number)
    rows = [delivery_row(10 + n, 5_000 + n, raw(1 + n % 3), token=1, until=NOW) for n in range(600)]
    await add_deliveries(store, rows)
    return store


async def test_claiming_reads_the_ready_index_in_order(filled: SqliteStore) -> None:
    """A claim walks the indexes of what is due and of what has a lease, and sorts nothing, however long the lane."""
    claim = partial(filled.hot.claim, endpoint_id=raw(1), now_ms=NOW, until_ms=NOW + 9, token=2, limit=50)
    plan = await plan_of(filled, claim, "SELECT d.id")
    assert "SEARCH d USING INDEX deliveries_due (endpoint_id=? AND due_ms<?)" in plan
    assert "SEARCH d USING INDEX deliveries_leased (endpoint_id=? AND lease_until_ms" in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan
    update = await plan_of(
        filled, partial(claim, token=3, now_ms=NOW + 99), "UPDATE deliveries SET lease_token"
    )
    assert update == "SEARCH deliveries USING PRIMARY KEY (id=?)"


async def test_results_and_leases_find_their_deliveries_by_id(filled: SqliteStore) -> None:
    """Recording, extending and releasing go through the list of values and look up each delivery by its key."""
    hot = filled.hot
    leases = [(raw(10 + n), 1) for n in range(100)]
    runs: list[tuple[Callable[[Connection], object], str]] = [
        (partial(hot.extend, leases=leases, until_ms=NOW), "SET lease_until_ms"),
        (partial(hot.release, leases=leases[:32]), "SET lease_token = NULL"),
        (
            partial(
                hot.record, outcomes=[outcome(110 + n, 1) for n in range(100)], attempts=[attempt_row(110)]
            ),
            "SET state",
        ),
    ]
    for run, word in runs:
        plan = await plan_of(filled, run, word)
        assert "SEARCH deliveries USING PRIMARY KEY (id=?)" in plan, plan
        assert "SCAN deliveries" not in plan, plan
        assert "AUTOMATIC" not in plan, plan


async def test_ready_lanes_seeks_from_lane_to_lane(filled: SqliteStore) -> None:
    """The look over all lanes never reads a lane from end to end."""
    for word, index in (
        ("lease_until_ms IS NULL", "deliveries_due"),
        ("lease_until_ms IS NOT NULL", "deliveries_leased"),
    ):
        plan = await plan_of(filled, filled.hot.ready_lanes, word)
        lines = [line for line in plan.splitlines() if "deliveries" in line]
        assert lines
        assert all(f"SEARCH deliveries USING INDEX {index}" in line for line in lines), plan
        assert "TEMP B-TREE" not in plan


async def test_what_is_claimed_from_the_start_is_never_in_the_index_of_what_is_due(
    filled: SqliteStore,
) -> None:
    """The large index of what is due is only written for deliveries that nobody has claimed."""

    def in_index(connection: Connection) -> int:
        due = "SELECT count(*) FROM deliveries INDEXED BY deliveries_due"
        condition = "state = 0 AND sequence IS NULL AND lease_until_ms IS NULL"
        return int(connection.execute(text(f"{due} WHERE {condition}")).scalar_one())

    assert await filled.read(in_index) == 0
    await filled.write(lambda connection: filled.hot.release(connection, [(raw(10), 1)]))
    assert await filled.read(in_index) == 1


async def test_control_plane_changes_do_not_walk_the_history(filled: SqliteStore) -> None:
    """Deleting an endpoint, counting what is due and pruning use indexes; none reads all deliveries."""
    runs: list[tuple[Callable[[Connection], object], str]] = [
        (partial(deliveries.count_due, now_ms=NOW), "SELECT count(*)"),
        (partial(deliveries.get, id=encode(DELIVERY, raw(10)), now_ms=NOW), "FROM deliveries"),
        (partial(prune, before_ms=NOW + 1, limit=100), "SELECT events.id"),
        (partial(expire_payloads, after=b"", before_ms=NOW + 1, limit=100), "UPDATE events"),
        (partial(endpoints.delete, id=encode(ENDPOINT, raw(1)), now_ms=NOW), "UPDATE deliveries"),
    ]
    for run, word in runs:
        plan = await plan_of(filled, run, word)
        assert not re.search(r"SCAN deliveries(?! USING)", plan), plan
