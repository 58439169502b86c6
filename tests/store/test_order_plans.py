"""What a claim in order costs does not grow with what stands in line: the databases' plans, and the work they did."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection
from tests.postgres import database_in

from tellwire.signing.vault import Vault
from tellwire.store import postgres_order
from tellwire.store.order import Further, Place, Run
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_connections import connect
from tellwire.store.rows import Head, OrderedDeliveryRow
from tellwire.store.sqlite import SqliteStore

from . import test_plans
from .backends import KEY, sqlite_path
from .rows import NOW, add_deliveries, add_endpoint, delivery_row, raw
from .test_plans import FEW, LATER, MANY, nodes, rows_seen, steps_of

LANES = 20
KEYS = 10
FIRST = raw(1_000)
"""The head of the first sequence of the first lane."""
STATEMENTS = {
    "lanes": (postgres_order._LANES, "", ()),
    "heads": (postgres_order._HEADS, "bytea, text, integer", (raw(1), "", 50)),
    "run": (
        postgres_order._RUN,
        "bytea, text[], bytea[], bytea[], integer[]",
        (raw(1), ["=0"], [FIRST], None, [16]),
    ),
    "lock held": (postgres_order._LOCK_HELD, "bytea, text[], bigint", (raw(1), ["=0"], 7)),
    "held": (postgres_order._HELD, "bytea, text[], bytea[], bigint", (raw(1), ["=0"], [FIRST], 7)),
    "last": (postgres_order.last_statement(), "bytea[], text[], bytea[]", ([raw(1)], ["=0"], [raw(2**60)])),
}


def rows(first: int, count: int, lanes: int) -> list[OrderedDeliveryRow]:
    """So many deliveries, by turns in some lanes, in each of them by turns in ten sequences."""
    return [
        OrderedDeliveryRow(
            *delivery_row(first + n, 1_000, raw(1 + n % lanes)), sequence=f"={n // lanes % KEYS}"
        )
        for n in range(count)
    ]


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[tuple[PostgresStore, "asyncpg.Connection[Any]"]]:
    """Twenty lanes with some deliveries each, in ten sequences each, and the statistics of the server."""
    store, vault = PostgresStore(database_in(tmp_path), Vault(KEY)), Vault(KEY)
    await store.open()
    for number in range(LANES):
        await add_endpoint(store, vault, number + 1)
    await add_deliveries(store, [delivery_row(1 + n, 1_000 + n, raw(1)) for n in range(900)])
    connection = await connect(database_in(tmp_path), writes=True)
    await pile_up(store, connection, rows(1_000, 4_000, LANES))
    yield store, connection
    await connection.close()
    await store.close()


async def pile_up(
    store: PostgresStore, connection: "asyncpg.Connection[Any]", more: list[OrderedDeliveryRow]
) -> None:
    await store.write(lambda one: store.hot.insert_deliveries(one, more))
    await connection.execute("VACUUM ANALYZE deliveries")


async def plan_of(
    connection: "asyncpg.Connection[Any]", name: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setattr(test_plans, "STATEMENTS", STATEMENTS)
    return await test_plans.plan_of(connection, name)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_postgres_reads_as_little_of_a_long_line_as_of_a_short_one(
    postgres: tuple[PostgresStore, "asyncpg.Connection[Any]"], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many times as much behind each head, each statement sees about as many rows and pages, by the index."""
    store, connection = postgres
    await pile_up(store, connection, rows(10_000, FEW, 1))
    before = await plan_of(connection, name, monkeypatch)
    await pile_up(store, connection, rows(20_000, MANY, 1))
    plan = await plan_of(connection, name, monkeypatch)
    assert rows_seen(plan) <= rows_seen(before) + 100 < 1_000
    pages = [one["Shared Hit Blocks"] + one["Shared Read Blocks"] for one in (plan, before)]
    assert pages[0] <= pages[1] * 1.5 + 50
    for node in nodes(plan):
        executed = node["Actual Loops"] > 0
        assert not executed or node["Node Type"] not in ("Seq Scan", "Hash Join")
    assert "deliveries_in_order" in {node.get("Index Name") for node in nodes(plan)}


async def test_sqlite_works_as_little_on_a_long_line_as_on_a_short_one(tmp_path: Path) -> None:
    """With many times as much behind each head, finding heads, claiming and queueing up are as many instructions."""
    store, vault = SqliteStore(sqlite_path(tmp_path), Vault(KEY)), Vault(KEY)
    await store.open()
    for number in range(LANES):
        await add_endpoint(store, vault, number + 1)
    await add_deliveries(store, [delivery_row(1, 1_000, raw(1))])
    order = store.in_order

    def claim(connection: Connection) -> object:
        runs = [Run(Head("=0", FIRST, NOW, 0, None), 16)]
        return order.claim(connection, raw(1), runs, now_ms=NOW + 5, until_ms=LATER, token=7)

    def further(connection: Connection) -> object:
        wanted = [Further("=0", FIRST, 16)]
        return order.claim_further(connection, raw(1), wanted, now_ms=NOW + 5, until_ms=LATER, token=7)

    async def all_steps() -> dict[str, int]:
        place = Place(raw(1), "=0", raw(2**60))
        return {
            "lanes": await steps_of(store, order.lanes),
            "heads": await steps_of(store, lambda one: order.heads(one, raw(1), after="", most=50)),
            "claim": await steps_of(store, claim),
            "further": await steps_of(store, further),
            "last": await steps_of(store, lambda one: order.last(one, [place])),
        }

    few = [*rows(1_000, 4_000, LANES), *rows(10_000, FEW, 1)]
    await store.write(lambda one: store.hot.insert_deliveries(one, few))
    before = await all_steps()
    assert all(0 < steps < 5_000 for steps in before.values())
    more = rows(20_000, MANY, 1)
    await store.write(lambda one: store.hot.insert_deliveries(one, more))
    assert await all_steps() == before
    await store.close()
