"""Days on PostgreSQL: made ahead, dropped whole, with nothing lost that is still needed."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import insert
from tests.postgres import database_in, empty_database_in

from tellwire.deliver.pruner import Pruner
from tellwire.ids import DELIVERY, EVENT, encode
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, events
from tellwire.store.events import known_by_keys
from tellwire.store.fanouts import take_page
from tellwire.store.migrations.upgrade import upgrade
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_connections import pool_of
from tellwire.store.postgres_days import _LOCK, DAY_MS, days_of, make_ahead
from tellwire.store.rows import PageRow
from tellwire.store.tables import events as event_table
from tellwire.telemetry import Telemetry

from .backends import KEY, POSTGRES, Backend
from .rows import (
    NOW,
    add_deliveries,
    add_endpoint,
    attempt_row,
    count_attempts,
    count_events,
    delivery_row,
    event_row,
    outcome,
    raw,
    timed_event_row,
)


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


async def test_the_days_to_come_have_partitions(store: PostgresStore, driver: Any) -> None:
    """From the opening on there is a place for three days ahead; the default partition is empty."""
    for table in ("events", "attempts"):
        days = sorted(await days_of(driver, table), key=lambda day: day.end)
        assert days[0].first == b""
        assert [after.first for after in days[1:]] == [day.end for day in days[:-1]]
        now_ms = await driver.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        assert days[-1].until_ms >= now_ms + 3 * DAY_MS
        assert days[-1].until_ms % DAY_MS == 0


async def test_what_lies_in_the_default_partition_moves_to_its_day(store: PostgresStore, driver: Any) -> None:
    """After a time in which no process made partitions, those that are made take what has come meanwhile."""
    for day in await days_of(driver, "events"):
        if day.first:
            await driver.execute(f"DROP TABLE {day.name}")
    (left,) = await days_of(driver, "events")
    ids = [(left.until_ms + hours * 3_600_000).to_bytes(6, "big") + bytes(10) for hours in (0, 30, 40)]
    rows = [event_row(0)._replace(id=id) for id in ids]
    await store.write(lambda connection: store.hot.insert_events(connection, rows))
    assert await driver.fetchval("SELECT count(*) FROM events_default") == 3
    async with driver.transaction():
        await make_ahead(driver)
    assert await driver.fetchval("SELECT count(*) FROM events_default") == 0
    assert await driver.fetchval("SELECT count(*) FROM events") == 3


async def test_a_process_that_runs_for_days_makes_the_days_to_come(store: PostgresStore, driver: Any) -> None:
    """Not only at the opening: whoever drops old days sees that there are new ones, while nothing old is to go."""
    for table in ("events", "attempts"):
        for day in await days_of(driver, table):
            if day.first:
                await driver.execute(f"DROP TABLE {day.name}")
    await store.drop_days(0)
    for table in ("events", "attempts"):
        assert len(await days_of(driver, table)) > 3


async def test_many_processes_make_partitions_once(store: PostgresStore, tmp_path: Path) -> None:
    """Several that find the days missing at the same time do not get into each other's way."""
    connections = [await asyncpg.connect(database_in(tmp_path)) for _ in range(5)]
    for day in await days_of(connections[0], "attempts"):
        if day.first:
            await connections[0].execute(f"DROP TABLE {day.name}")

    async def make(connection: Any) -> None:
        async with connection.transaction():
            await make_ahead(connection)

    await asyncio.gather(*map(make, connections))
    assert len(await days_of(connections[0], "attempts")) > 3
    for connection in connections:
        await connection.close()


async def test_a_day_goes_whole_but_for_what_is_pending(store: PostgresStore, driver: Any) -> None:
    """Of an old day, the pending delivery stays with its event, data and attempts, all else goes with its table."""
    vault = Vault(KEY)
    endpoint = await add_endpoint(store, vault, 1)
    rows = [delivery_row(10 + n, 100 + n, endpoint, token=1, until=NOW + 9) for n in range(3)]
    await add_deliveries(store, rows)
    attempts = [attempt_row(10 + n) for n in range(3)]
    ended = [outcome(10, 1), outcome(11, 1), outcome(12, 1)]
    await store.write(lambda connection: store.hot.record(connection, ended, attempts))
    await store.write(
        partial(deliveries.retry, roster=store.roster, id=encode(DELIVERY, raw(11)), now_ms=NOW)
    )
    # The first partition holds all of the past, so it is as old as the day after its end.
    (first, *_) = sorted(await days_of(driver, "events"), key=lambda day: day.end)
    names = {first.name, first.name.replace("events", "attempts")}
    await store.drop_days(first.until_ms + DAY_MS)
    tables = {row[0] for row in await driver.fetch("SELECT relname FROM pg_class")}
    assert not names & tables
    assert (await count_events(store), await count_attempts(store)) == (1, 1)
    event = await store.read(partial(events.get, id=encode(EVENT, raw(101))))
    assert event.data == b'{"n":1}'
    delivery = await store.read(partial(deliveries.get, id=encode(DELIVERY, raw(11)), now_ms=NOW))
    assert (delivery.state, delivery.attempt_count) == ("pending", 1)
    with pytest.raises(Exception, match="there is no delivery"):
        await store.read(partial(deliveries.get, id=encode(DELIVERY, raw(10)), now_ms=NOW))


async def test_what_is_not_wholly_fanned_out_outlives_its_day(store: PostgresStore, driver: Any) -> None:
    """Of an old event that has pages left, and no delivery yet, nothing is dropped."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    rows = [event_row(number) for number in (100, 101)]
    await store.write(lambda connection: store.hot.insert_events(connection, rows))
    page = PageRow(raw(100), 0, 1, endpoint)
    await store.write(lambda connection: store.hot.insert_pages(connection, [page]))
    (first, *_) = sorted(await days_of(driver, "events"), key=lambda day: day.end)
    await store.drop_days(first.until_ms + DAY_MS)
    assert [row[0] for row in await driver.fetch("SELECT id FROM events")] == [raw(100)]
    taken = await store.write(take_page)
    assert taken is not None
    assert (taken.event_id, taken.data) == (raw(100), b'{"n":1}')


async def test_only_days_that_are_over_go(store: PostgresStore, driver: Any) -> None:
    """Up to the last moment of the next day, that one stays, and all that come after it."""
    days = sorted(await days_of(driver, "events"), key=lambda day: day.end)
    await store.drop_days(days[0].until_ms + DAY_MS - 1)
    assert sorted(await days_of(driver, "events"), key=lambda day: day.end) == days[1:]


async def test_one_process_at_a_time_drops(store: PostgresStore, driver: Any) -> None:
    """Whoever finds another at it leaves it to that one, and does not wait."""
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1)]))
    end_ms = min(day.until_ms for day in await days_of(driver, "events"))
    await driver.execute("SELECT pg_advisory_lock($1)", _LOCK)
    await store.drop_days(end_ms)
    assert await count_events(store) == 1
    await driver.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    await store.drop_days(end_ms)
    assert await count_events(store) == 0


async def test_what_is_due_later_outlives_its_day(store: PostgresStore, driver: Any) -> None:
    """Of an event that was published ahead, the day goes and the event stays, with its times, data and key."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    due = NOW + 29 * DAY_MS
    row = timed_event_row(100, key="k", deliver=due, expires=due + 9)
    await store.write(lambda connection: store.hot.insert_events(connection, [row]))
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(101)]))
    later = delivery_row(10, 100, endpoint, due=due)
    await store.write(lambda connection: store.hot.insert_deliveries(connection, [later]))
    (first, *_) = sorted(await days_of(driver, "events"), key=lambda day: day.end)
    await store.drop_days(first.until_ms + DAY_MS)
    found = await driver.fetch("SELECT id, deliver_ms, expires_ms, data FROM events_default")
    assert [tuple(one) for one in found] == [(raw(100), due, due + 9, b'{"n":1}')]
    assert await store.read(lambda connection: known_by_keys(connection, [("default", "k")]))


async def test_what_was_kept_goes_when_it_is_finished(store: PostgresStore, driver: Any) -> None:
    """A pending delivery that outlived its day is pruned with its event, attempts and key once it has ended."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=1, until=NOW + 9)])
    await driver.execute("INSERT INTO idempotency_keys VALUES ('default', 'k', $1)", raw(100))
    end_ms = min(day.until_ms for day in await days_of(driver, "events"))

    class Later:
        def now_ms(self) -> int:
            return end_ms + 2 * DAY_MS

    pruner = Pruner(store, Later(), Telemetry(), 1, 1, 400)
    await pruner.prune()
    assert (await count_events(store), await count_attempts(store)) == (1, 0)
    assert await driver.fetchval("SELECT count(*) FROM idempotency_keys") == 1
    await store.write(lambda connection: store.hot.record(connection, [outcome(10, 1)], [attempt_row(10)]))
    assert await count_attempts(store) == 1
    await pruner.prune()
    assert (await count_events(store), await count_attempts(store)) == (0, 0)
    assert await driver.fetchval("SELECT count(*) FROM idempotency_keys") == 0


async def test_keys_go_with_their_events(store: PostgresStore, driver: Any) -> None:
    """When its event is dropped, an idempotency key is free again."""
    await store.write(
        lambda connection: store.hot.insert_events(connection, [event_row(1, key="k"), event_row(2, key="l")])
    )
    assert await driver.fetchval("SELECT count(*) FROM idempotency_keys") == 2
    await store.drop_days(min(day.until_ms for day in await days_of(driver, "events")))
    assert await driver.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    assert await count_events(store) == 0


async def test_a_database_from_before_keeps_its_rows(tmp_path: Path) -> None:
    """What was stored before there were partitions is there afterwards, and its idempotency keys still count."""
    url = empty_database_in(tmp_path)
    engine = pool_of(url, 1)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, "0003")
        for number, key in ((1, "k"), (2, None)):
            columns = event_row(number, key=key)._asdict()
            await connection.execute(insert(event_table).values(columns))
    await engine.dispose()
    store = PostgresStore(url, Vault(KEY))
    await store.open()
    assert await count_events(store) == 2
    (found,) = await store.read(lambda connection: known_by_keys(connection, [("default", "k")]))
    assert found.id == raw(1)
    await store.close()
