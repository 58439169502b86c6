"""Who moves the backlog of an endpoint to a new order is killed in the middle: another ends it, and order holds."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.postgres import database_in

from .evidence import check_all_succeeded, check_all_succeeded_on, database
from .processes import ReceiverProcess, Server, until
from .publishers import Book, Current, publish_on, send
from .standing import out_of_order
from .test_kill import FLAGS, TWO, children_of, has_two

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
BACKLOG = 4_000
AT_ONCE = 500
KEYS = [f"order {number}" for number in range(40)]
ORDERS = ("key", "endpoint") * 5
"""One change is enough, unless all has moved before anybody could be killed."""
KILLS = 3
PUBLISHERS = 3
TARGET = "/steady"
IN_THE_AIR = 32
"""At most, of one endpoint in two processes."""

Look = Callable[[], Awaitable[int | None]]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_a_move_to_a_new_order_outlives_whoever_makes_it(store: str, tmp_path: Path) -> None:
    """After kill -9 of both processes, again and again, the move ends: all arrives once, and in the new order.

    It takes a while: four thousand deliveries go in line.
    """
    print(f"CHAOS_SEED={SEED}")
    rng, book, stop = random.Random(SEED), Book(), asyncio.Event()
    where: Path | str = tmp_path / "tellwire.db" if store == "sqlite" else database_in(tmp_path)
    with (
        ReceiverProcess(tmp_path, SEED) as receiver,
        Server(where, tmp_path, *FLAGS, "--no-engine", name="front") as front,
    ):
        await receiver.started()
        await front.started()
        endpoint = await front.subscribe(receiver.url + TARGET)
        await _publish_a_backlog(front, book, rng)
        async with looking(where) as moved:
            kills, misses = 0, 0
            await _change_order(front, endpoint["id"], ORDERS[0])
            with Server(where, tmp_path, *FLAGS, *TWO) as server:
                current = Current(await server.started(), front)
                publishers = [
                    asyncio.create_task(publish_on(current, book, rng.random(), stop, KEYS))
                    for _ in range(PUBLISHERS)
                ]
                kills = await _kill_whoever_moves(server, moved)
                for order in ORDERS[1:]:
                    if kills:
                        break
                    misses += 1
                    await _switch(front, endpoint["id"], "pause")
                    await _publish_a_backlog(front, book, rng)
                    await _change_order(front, endpoint["id"], order)
                    await _switch(front, endpoint["id"], "resume")
                    kills = await _kill_whoever_moves(server, moved)
                assert kills, "nobody was killed while he moved: the test proves nothing"
                stop.set()
                await asyncio.gather(*publishers)
                await front.drained()
                assert await moved() is None
                for one in (server, front):
                    assert await one.terminate() == 0, one.tail()
        requests = receiver.verified({TARGET: endpoint["secret"]})
    ledger = book.settle(requests, [TARGET]) | {"killed": kills}
    assert ledger["lost"] == 0
    assert out_of_order(requests, book, {TARGET: "key"}) == 0
    # The lane rests while it is moved: what is killed then has nothing in the air.
    assert ledger["duplicates"] <= IN_THE_AIR * misses
    if isinstance(where, Path):
        with database(where) as connection:
            check_all_succeeded(connection)
    else:
        await check_all_succeeded_on(where)


async def _publish_a_backlog(front: Server, book: Book, rng: random.Random) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60, verify=False) as client:
        for _ in range(0, BACKLOG, AT_ONCE):
            entries = [
                book.open(rng, keyed=False, pad_bytes=0, ordering_key=rng.choice(KEYS))
                for _ in range(AT_ONCE)
            ]
            assert await send(client, front, book, entries)


async def _change_order(front: Server, endpoint: str, order: str) -> None:
    response = await front.ask("PATCH", f"/v1/endpoints/{endpoint}", {"order": order})
    assert response.status_code == 200, response.text


async def _switch(front: Server, endpoint: str, how: str) -> None:
    response = await front.ask("POST", f"/v1/endpoints/{endpoint}/{how}")
    assert response.status_code == 200, response.text


async def _kill_whoever_moves(server: Server, moved: Look) -> int:
    """Kill both processes whenever something more has moved, until all has; gives how often that was in the middle."""
    kills, before = 0, 0
    while (now := await moved()) is not None:
        if now > before and kills < KILLS:
            before = now
            for child in children_of(server):
                os.kill(child, signal.SIGKILL)
            kills += await moved() is not None
            await until(lambda: has_two(server), "who was killed has been replaced")
        await asyncio.sleep(0.002)
    return kills


@asynccontextmanager
async def looking(where: Path | str) -> AsyncIterator[Look]:
    """Asks the database how many deliveries have moved; None where all have, or nothing is to be moved."""
    query = "SELECT moved FROM rearrangements"
    if isinstance(where, Path):
        with database(where) as file:

            async def moved() -> int | None:
                row = file.execute(query).fetchone()
                return None if row is None else int(row[0])

            yield moved
        return
    connection = await asyncpg.connect(where)
    try:

        async def moved_there() -> int | None:
            found: int | None = await connection.fetchval(query)
            return found

        yield moved_there
    finally:
        await connection.close()
