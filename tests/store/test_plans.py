"""What claiming costs does not grow with what waits: the databases' own plans, and the work that they did."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection
from tests.postgres import database_in

from tellwire.signing.vault import Vault
from tellwire.store import postgres_hot
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_connections import connect
from tellwire.store.sqlite import SqliteStore

from .backends import KEY, sqlite_path
from .rows import NOW, add_deliveries, add_endpoint, delivery_row, raw

LANES = 20
FEW, MANY = 1_000, 30_000
LATER = NOW + 60_000
CLAIM = (raw(1), NOW + 5, 16, 7, LATER)
"""Of the lane with the backlog, 16: the parameters of the statement in PostgreSQL's dialect."""
STATEMENTS = {
    "claim": (postgres_hot._CLAIM, "bytea, bigint, bigint, bigint, bigint", CLAIM),
    "claim elsewhere": (postgres_hot._CLAIM, "bytea, bigint, bigint, bigint, bigint", (raw(2), *CLAIM[1:])),
    "survey": (postgres_hot._READY_LANES, "", ()),
    "next of some lanes": (postgres_hot._LANES_READY, "bytea[]", ([raw(n + 1) for n in range(LANES)],)),
}


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Twenty lanes with some deliveries each, and many events."""
    store, vault = PostgresStore(database_in(tmp_path), Vault(KEY)), Vault(KEY)
    await store.open()
    for number in range(LANES):
        await add_endpoint(store, vault, number + 1)
    await add_deliveries(
        store, [delivery_row(1_000 + n, 1_000 + n, raw(1 + n % LANES)) for n in range(2_000)]
    )
    connection = await connect(database_in(tmp_path), writes=True)
    yield connection
    await connection.close()
    await store.close()


async def pile_up(connection: "asyncpg.Connection[Any]", first: int, deliveries: int) -> None:
    """Due deliveries of the first lane, all of one instant, as after a pause; and the statistics of the server."""
    await connection.execute(
        "INSERT INTO deliveries (id, event_id, endpoint_id, state, attempt_count, schedule_step, trigger, due_ms,"
        " created_ms) SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), $1, $2, 0, 0, 0, 'schedule', $3, $3"
        " FROM generate_series($4::int, $5::int) AS n",
        raw(1_000), raw(1), NOW, first, first + deliveries - 1,
    )  # fmt: skip
    await connection.execute("VACUUM ANALYZE deliveries")


async def plan_of(connection: "asyncpg.Connection[Any]", name: str) -> dict[str, Any]:
    """The plan that serves any parameters, as it was executed; then all is as before."""
    statement, types, values = STATEMENTS[name]
    arguments = ", ".join(map(_literal, values))
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE one {f'({types})' if types else ''} AS {statement}")
        told = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE one {f'({arguments})' if values else ''}"
        )
        await connection.execute("DEALLOCATE one")
    finally:
        await transaction.rollback()
    plan: dict[str, Any] = json.loads(told)[0]["Plan"]
    return plan


def _literal(value: object) -> str:
    match value:
        case None:
            return "ARRAY[NULL]::bytea[]"
        case str():
            return f"'{value}'"
        case bytes():
            return f"'\\x{value.hex()}'::bytea"
        case list():
            return f"ARRAY[{', '.join(map(_literal, value))}]"
        case _:
            return str(value)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def rows_seen(plan: dict[str, Any]) -> int:
    """How many rows all steps of a plan gave or threw away."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes(plan)
    )


async def test_postgres_reads_as_little_of_a_long_lane_as_of_a_short_one(
    postgres: "asyncpg.Connection[Any]",
) -> None:
    """With thirty times as many due deliveries in one lane, each statement sees about as many rows and
    pages, in that lane and elsewhere; it never reads or sorts a whole table or lane."""
    await pile_up(postgres, 1, FEW)
    before = {name: await plan_of(postgres, name) for name in STATEMENTS}
    await pile_up(postgres, 1 + FEW, MANY)
    for name in STATEMENTS:
        plan = await plan_of(postgres, name)
        assert rows_seen(plan) <= rows_seen(before[name]) + 100 < 1_000, name
        pages = [one["Shared Hit Blocks"] + one["Shared Read Blocks"] for one in (plan, before[name])]
        assert pages[0] <= pages[1] * 1.5 + 50, name
        for node in nodes(plan):
            executed = node["Actual Loops"] > 0
            assert not executed or node["Node Type"] not in ("Seq Scan", "Incremental Sort", "Hash Join"), (
                name
            )
        assert "deliveries_ready" in {node.get("Index Name") for node in nodes(plan)}, name


async def test_postgres_plans_a_claim_once(postgres: "asyncpg.Connection[Any]") -> None:
    """After some executions the server keeps one plan for whatever lane is claimed in, since no other is cheaper."""
    await pile_up(postgres, 1, FEW)
    for number in range(12):
        await postgres.fetch(postgres_hot._CLAIM, raw(1 + number % LANES), NOW + 5, 16, 7, LATER)
    generic = await postgres.fetchval(
        "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1", postgres_hot._CLAIM
    )
    assert generic > 0


async def test_postgres_plans_the_recording_of_a_result_once(postgres: "asyncpg.Connection[Any]") -> None:
    """Of one result as of many: to plan it takes the server longer than to do it."""
    for number in range(12):
        count = 1 if number % 3 else 50
        arrays = [[value] * count for value in (raw(7), 1, 1, 1, 1, None, 200, None, NOW)]
        await postgres.fetch(postgres_hot._RECORD, *arrays)
    generic, custom = await postgres.fetchrow(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1",
        postgres_hot._RECORD,
    )
    assert (generic, custom) == (7, 5)  # the server compares after five


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Twenty lanes with some deliveries each."""
    store, vault = SqliteStore(sqlite_path(tmp_path), Vault(KEY)), Vault(KEY)
    await store.open()
    for number in range(LANES):
        await add_endpoint(store, vault, number + 1)
    await add_deliveries(
        store, [delivery_row(100_000 + n, 1_000 + n, raw(1 + n % LANES)) for n in range(2_000)]
    )
    yield store
    await store.close()


async def pile(store: SqliteStore, first: int, deliveries: int) -> None:
    """Due deliveries of the first lane, all of one instant."""
    rows = [delivery_row(first + n, 1_000, raw(1)) for n in range(deliveries)]
    await store.write(lambda connection: store.hot.insert_deliveries(connection, rows))


async def steps_of(store: SqliteStore, run: Callable[[Connection], object]) -> int:
    """How many instructions SQLite executes for it; then all is as before."""

    def count(connection: Connection) -> int:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        driver.execute("SAVEPOINT before")
        driver.set_progress_handler(step, 1)
        run(connection)
        driver.set_progress_handler(None, 1)
        driver.execute("ROLLBACK TO before")
        driver.execute("RELEASE before")
        return steps

    return await store.write(count)


async def test_sqlite_works_as_little_on_a_long_lane_as_on_a_short_one(sqlite: SqliteStore) -> None:
    """With thirty times as many due deliveries in one lane, a claim and a survey are as many instructions."""

    def claim(lane: bytes) -> Callable[[Connection], object]:
        return lambda connection: sqlite.hot.claim(
            connection, lane, now_ms=NOW + 5, until_ms=LATER, token=7, limit=16
        )

    async def all_steps() -> dict[str, int]:
        some = [raw(n + 1) for n in range(LANES)]
        return {
            "claim": await steps_of(sqlite, claim(raw(1))),
            "claim elsewhere": await steps_of(sqlite, claim(raw(2))),
            "survey": await steps_of(sqlite, sqlite.hot.ready_lanes),
            "next of some lanes": await steps_of(sqlite, lambda one: sqlite.hot.lanes_ready(one, some)),
        }

    await pile(sqlite, 200_000, FEW)
    before = await all_steps()
    assert all(0 < steps < 5_000 for steps in before.values())
    await pile(sqlite, 300_000, MANY)
    assert await all_steps() == before
