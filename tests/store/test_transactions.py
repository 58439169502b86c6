"""Writes: durable, atomic, shared, and each on its own when one goes wrong."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from tellwire.errors import ClosedError, ConflictError
from tellwire.signing.vault import Vault
from tellwire.store import tenants
from tellwire.store.store import Store
from tellwire.store.tables import revisions
from tellwire.store.tables import tenants as tenant_table

from .backends import Backend
from .rows import NOW, count_events, event_row


async def tenant_ids(store: Store) -> set[str]:
    return await store.read(lambda connection: set(connection.execute(select(tenant_table.c.id)).scalars()))


async def test_an_acknowledged_write_is_there_after_reopening(
    backend: Backend, vault: Vault, tmp_path: Path
) -> None:
    """What a write acknowledged is found by whoever opens the database next."""
    first = backend.make(tmp_path, vault)
    await first.open()
    await first.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    await first.close()
    again = backend.make(tmp_path, vault)
    await again.open()
    assert "acme" in await tenant_ids(again)
    assert "acme" in again.roster.tenants
    await again.close()


async def test_an_acknowledged_write_is_seen_before_the_writer_closes(store: Store, second: Store) -> None:
    """Another store on the same database reads what was acknowledged here, at once."""
    await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    assert "acme" in await tenant_ids(second)


async def test_a_change_that_raises_changes_nothing(store: Store) -> None:
    """What a change did before it raised is rolled back, whatever it raised."""

    def create_then_refuse(error: Exception) -> Any:
        def change(connection: Connection) -> None:
            tenants.create(connection, "acme", "Acme", now_ms=NOW)
            raise error

        return change

    for error in (ConflictError("no"), RuntimeError("a fault of ours")):
        with pytest.raises(type(error)):
            await store.write(create_then_refuse(error))
    assert await tenant_ids(store) == {"default", "@tellwire"}
    assert store.roster.tenants.keys() == {"default", "@tellwire"}


@pytest.mark.parametrize(
    "error", [ConflictError("no"), RuntimeError("a fault of ours")], ids=["refusal", "fault"]
)
async def test_a_change_that_raises_takes_nobody_with_it(store: Store, error: Exception) -> None:
    """Changes that share a transaction with one that raises are written all the same."""

    def change(number: int) -> Any:
        def create(connection: Connection) -> str:
            tenants.create(connection, f"tenant_{number}", "name", now_ms=NOW)
            if number == 7:
                raise error
            return f"tenant_{number}"

        return create

    found = await asyncio.gather(*[store.write(change(n)) for n in range(20)], return_exceptions=True)
    assert found[7] is error
    survivors = [f"tenant_{n}" for n in range(20) if n != 7]
    assert found[:7] + found[8:] == survivors
    assert await tenant_ids(store) == {"default", "@tellwire", *survivors}
    assert store.roster.tenants.keys() == {"default", "@tellwire", *survivors}


async def test_reads_see_what_was_written_before(store: Store) -> None:
    """Every read that starts after a write was acknowledged sees it."""

    def insert(number: int, connection: Connection) -> None:
        store.hot.insert_events(connection, [event_row(number)])

    for number in range(50):
        await store.write(partial(insert, number))
        assert await count_events(store) == number + 1


async def test_a_read_is_a_snapshot(store: Store) -> None:
    """Two looks within one read see the same, whatever is written in between."""
    loop = asyncio.get_running_loop()
    counts: list[int] = []

    def look_twice(connection: Connection) -> None:
        for _ in range(2):
            counts.append(connection.execute(select(func.count()).select_from(tenant_table)).scalar_one())
            if len(counts) == 1 and threaded:
                asyncio.run_coroutine_threadsafe(write(), loop).result(timeout=10)

    async def write() -> None:
        await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))

    threaded = asyncio.current_task() is not None and type(store).__name__ == "SqliteStore"
    threaded = threaded and not getattr(store, "_inline", False)
    await store.read(look_twice)
    assert counts == [2, 2]


async def test_a_read_cannot_write(store: Store) -> None:
    """A query that tries to write is refused by the database itself."""
    with pytest.raises(Exception, match=r"readonly|read-only"):
        await store.read(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    assert await tenant_ids(store) == {"default", "@tellwire"}


async def test_what_is_submitted_together_shares_transactions(store: Store) -> None:
    """A thousand items that are submitted at once are written in a few transactions, each item exactly once."""
    runs: list[int] = []
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    outcomes: list[Any] = []

    def run(connection: Connection, items: list[int]) -> list[Any]:
        runs.append(len(items))
        store.hot.insert_events(connection, [event_row(item) for item in items])
        return [item * 2 for item in items]

    def done(items: list[int], found: list[Any]) -> None:
        outcomes.extend(zip(items, found, strict=True))
        if len(outcomes) == 1_000:
            finished.set_result(None)

    write = store.batched(run, done, max_weight=400)
    for number in range(1_000):
        write.submit(number)
    await asyncio.wait_for(finished, 30)
    assert sorted(outcomes) == [(n, n * 2) for n in range(1_000)]
    assert await count_events(store) == 1_000
    assert max(runs) <= 400
    assert len(runs) <= 20


async def test_a_poisonous_item_fails_alone(store: Store) -> None:
    """An item that the database refuses gets its error; all others of its batch and of other stages are stored."""
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    outcomes: dict[int, Any] = {}

    def run(connection: Connection, items: list[int]) -> list[Any]:
        store.hot.insert_events(connection, [event_row(item) for item in items])
        return [True] * len(items)

    def done(items: list[int], found: list[Any]) -> None:
        outcomes.update(zip(items, found, strict=True))
        if len(outcomes) == 30:
            finished.set_result(None)

    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(13)]))
    one, two = (store.batched(run, done, max_weight=100) for _ in range(2))
    for number in range(30):
        (one if number % 2 else two).submit(number)
    create = store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    assert (await create).id == "acme"
    await asyncio.wait_for(finished, 30)
    assert [n for n, found in outcomes.items() if found is not True] == [13]
    assert isinstance(outcomes[13], Exception)
    assert await count_events(store) == 30


async def test_a_caller_that_has_gone_changes_nothing_for_the_others(store: Store) -> None:
    """A write whose caller was cancelled is settled without a word, and those beside it are acknowledged."""

    def create(number: int) -> Any:
        return lambda connection: tenants.create(connection, f"t{number}", "name", now_ms=NOW)

    tasks = [asyncio.create_task(store.write(create(n))) for n in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[2], asyncio.CancelledError)
    assert {"t0", "t1", "t3", "t4"} <= await tenant_ids(store)


async def test_closing_writes_what_waits(backend: Backend, vault: Vault, tmp_path: Path) -> None:
    """Items that were submitted before close are durable when it returns, and their stages are told."""
    store = backend.make(tmp_path, vault)
    await store.open()
    told: list[Any] = []

    def run(connection: Connection, items: list[int]) -> list[Any]:
        store.hot.insert_events(connection, [event_row(item) for item in items])
        return [True] * len(items)

    write = store.batched(run, lambda items, found: told.extend(found), max_weight=100)
    for number in range(1_000):
        write.submit(number)
    await store.close()
    assert told == [True] * 1_000
    again = backend.make(tmp_path, vault)
    await again.open()
    assert await count_events(again) == 1_000
    await again.close()


async def test_what_a_stage_submits_while_the_store_closes_is_written(
    backend: Backend, vault: Vault, tmp_path: Path
) -> None:
    """A stage that answers the last transaction with another item still gets that one written."""
    store = backend.make(tmp_path, vault)
    await store.open()

    def run(connection: Connection, items: list[int]) -> list[Any]:
        store.hot.insert_events(connection, [event_row(item) for item in items])
        return list(items)

    def done(items: list[int], _: list[Any]) -> None:
        if items == [1]:
            write.submit(2)

    write = store.batched(run, done, max_weight=100)
    write.submit(1)
    await store.close()
    again = backend.make(tmp_path, vault)
    await again.open()
    assert await count_events(again) == 2
    await again.close()


async def test_a_closed_store_says_so(backend: Backend, vault: Vault, tmp_path: Path) -> None:
    """Before open and after close, reads and writes raise ClosedError; closing twice is harmless."""
    store = backend.make(tmp_path, vault)
    with pytest.raises(ClosedError):
        await store.read(lambda _: None)
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(ClosedError):
        await store.write(lambda _: None)


async def test_whoever_tries_to_write_does_write(store: Store) -> None:
    """Each time anew, as only what changes something is written to the disk; and not where the store is closed."""

    def written(connection: Connection) -> list[tuple[str, int]]:
        found = select(revisions.c.name, revisions.c.value).where(revisions.c.name.startswith("readiness"))
        return [(name, value) for name, value in connection.execute(found)]

    for number in (1, 2, 3):
        await store.try_writing()
        found = await store.read(written)
        assert found
        assert {value for _, value in found} == {number}
    await store.close()
    with pytest.raises(ClosedError):
        await store.try_writing()
