"""What another transaction on PostgreSQL holds at this moment: it is passed over, or waited for where it decides."""

import asyncio
import random
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection
from tests.postgres import database_in

from tellwire.signing.vault import Vault
from tellwire.store import postgres_rollups
from tellwire.store.fanouts import take_page
from tellwire.store.postgres import PostgresStore
from tellwire.store.pruning import expire_payloads, prune
from tellwire.store.rows import PageRow

from .backends import KEY, POSTGRES, Backend
from .rows import (
    NOW,
    add_deliveries,
    add_endpoint,
    count_events,
    delivery,
    delivery_row,
    event_row,
    outcome,
    raw,
    stored_events,
)
from .test_order import add, claim, claimed_further, in_order
from .test_rollups import count, note, roll_all

WAIT_S = 30.0


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


@pytest.fixture
async def holder(driver: Any) -> Any:
    """Another process, with a transaction that has begun."""
    await driver.execute("BEGIN")
    return driver


async def test_what_another_claims_at_this_moment_is_passed_over(store: PostgresStore, holder: Any) -> None:
    """A claim does not wait for a claim that has not been committed yet: it takes what is left."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await add_deliveries(store, [delivery_row(n, 100 + n, endpoint) for n in (1, 2, 3)])
    await holder.execute(
        "UPDATE deliveries SET lease_token = 6, lease_until_ms = $1 WHERE id = $2", NOW + 60_000, raw(2)
    )

    def claim(connection: Connection) -> list[bytes]:
        rows = store.hot.claim(connection, endpoint, now_ms=NOW, until_ms=NOW + 9, token=7, limit=9)
        return [row.id for row in rows]

    assert await store.write(claim) == [raw(1), raw(3)]
    await holder.execute("COMMIT")
    assert (await delivery(store, 2))["lease_token"] == 6


async def test_a_page_that_another_takes_at_this_moment_is_passed_over(
    store: PostgresStore, holder: Any
) -> None:
    """Whoever fans out takes the next page, and does not wait for who has the first."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1), event_row(2)]))
    pages = [PageRow(raw(number), 0, 1, endpoint) for number in (1, 2)]
    await store.write(lambda connection: store.hot.insert_pages(connection, pages))
    await holder.execute("DELETE FROM fanout_pages WHERE event_id = $1", raw(1))
    taken = await store.write(take_page)
    assert taken is not None
    assert taken.event_id == raw(2)
    assert await store.write(take_page) is None


async def test_a_head_that_another_claims_at_this_moment_is_passed_over(
    store: PostgresStore, holder: Any
) -> None:
    """Two processes that see the same head: the second one waits for nothing, and takes other sequences."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await add(
        store, [in_order(10, endpoint, "=a"), in_order(11, endpoint, "=a"), in_order(12, endpoint, "=b")]
    )
    await holder.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", raw(10))
    assert [[row.id for row in run] for run in await claim(store, endpoint, token=8)] == [[raw(12)]]
    await holder.execute(
        "UPDATE deliveries SET lease_token = 6, lease_until_ms = $1 WHERE id = $2", NOW + 60_000, raw(10)
    )
    await holder.execute("COMMIT")
    assert [(await delivery(store, n))["lease_token"] for n in (10, 11, 12)] == [6, None, 8]


async def test_nothing_is_claimed_further_behind_a_head_that_changes_at_this_moment(
    store: PostgresStore, holder: Any
) -> None:
    """Who holds a sequence takes no more of it while another, who found its lease ended, is about to take it over."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await add(store, [in_order(n, endpoint) for n in (10, 11, 12)])
    await claim(store, endpoint, most=1, token=7)
    await holder.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", raw(10))
    assert await claimed_further(store, endpoint, 10) == []
    await holder.execute("COMMIT")
    assert await claimed_further(store, endpoint, 10) == [raw(11), raw(12)]


async def test_who_adds_up_at_this_moment_does_it_alone(store: PostgresStore, holder: Any) -> None:
    """A process that adds up statistics waits for nobody, and leaves them all to who is at it."""
    await note(store, random.Random(12), 5)
    await holder.execute("SELECT pg_advisory_xact_lock($1)", postgres_rollups._LOCK)
    await roll_all(store)
    assert await count(store) == (1, 0)
    await holder.execute("COMMIT")
    await roll_all(store)
    entries, rows = await count(store)
    assert entries == 0
    assert rows > 0


@pytest.mark.parametrize("what", ["events", "data"])
async def test_a_retry_that_has_begun_is_waited_for(
    store: PostgresStore, holder: Any, tmp_path: Path, what: str
) -> None:
    """Who prunes finds out whether a retry by hand, which holds the event, has made it pending: then it keeps all."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await add_deliveries(store, [delivery_row(n, 100 + n, endpoint, token=1, until=NOW) for n in (1, 2)])
    ended = [outcome(1, 1), outcome(2, 1)]
    await store.write(lambda connection: store.hot.record(connection, ended, []))
    await holder.execute("SELECT FROM events WHERE id = $1 FOR UPDATE", raw(101))
    await holder.execute(
        "UPDATE deliveries SET state = 0, due_ms = 1, finished_ms = NULL WHERE id = $1", raw(1)
    )
    before_ms = NOW + 1
    pruning = asyncio.create_task(
        store.write(partial(prune, before_ms=before_ms, limit=9))
        if what == "events"
        else store.write(partial(expire_payloads, after=b"", before_ms=before_ms, limit=9))
    )
    await waits(tmp_path)
    await holder.execute("COMMIT")
    await pruning
    assert (await delivery(store, 1))["state"] == 0
    if what == "events":
        assert (pruning.result(), await count_events(store)) == (1, 1)
    else:
        assert [bool(row["data"]) for row in await stored_events(store)] == [True, False]


async def waits(folder: Path) -> None:
    """Until somebody waits for a lock."""
    connection = await asyncpg.connect(database_in(folder))
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(WAIT_S):
        while not await connection.fetchval(query):  # noqa: ASYNC110 - the server sets no event here
            await asyncio.sleep(0.01)
    await connection.close()
