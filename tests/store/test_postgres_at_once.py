"""A transaction in one statement: all of it or nothing, and the usual way where something is not as it was believed."""

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.postgres import database_in
from tests.proxy import Proxy

from tellwire.errors import InvalidInputError, StoreUnavailableError
from tellwire.model.delivery import State
from tellwire.signing.vault import Vault
from tellwire.store.group_commit import BatchedWrite
from tellwire.store.postgres import PostgresStore
from tellwire.store.store import Store

from .backends import KEY, POSTGRES, Backend, Listener, opened
from .rows import (
    NOW,
    add_endpoint,
    attempt_row,
    count_attempts,
    count_events,
    delivery_row,
    event_row,
    outcome,
    raw,
    stored_deliveries,
    until,
)

Item = tuple[Any, "asyncio.Future[Any]"]


class Writer:
    """A stage that writes what it is told to, under the name of one that may write at once."""

    def __init__(self, store: PostgresStore, stage: str) -> None:
        self.runs = 0
        self._write: BatchedWrite = store.batched(self._run, self._done, max_weight=50, stage=stage)

    async def write(self, *changes: Any) -> list[Any]:
        futures = [asyncio.get_running_loop().create_future() for _ in changes]
        for change, future in zip(changes, futures, strict=True):
            self._write.submit((change, future))
        return await asyncio.gather(*futures)

    def _run(self, connection: Connection, items: list[Item]) -> list[Any]:
        self.runs += 1
        return [change(connection) for change, _ in items]

    def _done(self, items: list[Item], outcomes: list[Any]) -> None:
        for (_, future), result in zip(items, outcomes, strict=True):
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


@pytest.fixture
async def unheard(store: PostgresStore, second: Store) -> Store:
    """Another process, which has just made an endpoint; the first one hears nothing any more."""
    await store._news.close()
    await add_endpoint(second, Vault(KEY), 1)
    return second


@pytest.fixture
async def statements(store: PostgresStore) -> Counter[str]:
    """What the writer's connection sends, by its first word."""
    counted: Counter[str] = Counter()

    def count(query: Any) -> None:
        counted[query.query.split()[0]] += 1

    for writer in (store._writer, store._publish_writer):
        (await writer.driver()).add_query_logger(count)
    return counted


async def test_an_event_and_its_result_are_one_statement_each(
    store: PostgresStore, statements: Counter[str]
) -> None:
    """What is published, and what came of it, costs a round trip each: no BEGIN, no COMMIT, no question before."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    publishing, recording = Writer(store, "publish"), Writer(store, "record")

    async def live(number: int) -> None:
        def publish(connection: Connection) -> None:
            assert store.roster_in(connection).revision == store.roster.revision
            row = delivery_row(number, number, endpoint, token=7, until=NOW + 60_000)
            store.hot.insert_events(connection, [event_row(number)])
            store.hot.insert_deliveries(connection, [row])

        def record(connection: Connection) -> set[bytes]:
            held = store.hot.record(connection, [outcome(number, 7)], [attempt_row(number)])
            store.hot.append_tallies(connection, b"[]")
            return held

        await publishing.write(publish)
        assert await recording.write(record) == [{raw(number)}]

    await live(1)  # for the first time the driver asks about types
    statements.clear()
    await live(2)
    assert statements == {"WITH": 2}
    assert (await count_events(store), await count_attempts(store)) == (2, 2)
    assert len(await stored_deliveries(store)) == 2


async def test_what_was_believed_of_the_control_plane_is_checked(
    store: PostgresStore, unheard: Store
) -> None:
    """An endpoint that another process has just made gets the next event, though nobody has told this one yet."""
    publishing, before = Writer(store, "publish"), store.roster.revision
    seen: list[int] = []

    def publish(connection: Connection) -> None:
        seen.append(store.roster_in(connection).revision)
        store.hot.insert_events(connection, [event_row(1)])

    await publishing.write(publish)
    assert seen[0] == before
    assert seen[-1] == unheard.roster.revision > before
    assert store.roster.revision == unheard.roster.revision
    assert await count_events(store) == 1


async def test_a_lease_that_was_lost_is_left_alone(store: PostgresStore) -> None:
    """Of two results one is stale: it is dropped and leaves no attempt, and the other is written."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    recording = Writer(store, "record")
    rows = [delivery_row(n, n, endpoint, token=7, until=NOW + 60_000) for n in (1, 2)]
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1), event_row(2)]))
    await store.write(lambda connection: store.hot.insert_deliveries(connection, rows))

    def record(connection: Connection) -> set[bytes]:
        return store.hot.record(connection, [outcome(1, 7), outcome(2, 6)], [attempt_row(1), attempt_row(2)])

    assert await recording.write(record) == [{raw(1)}]
    assert recording.runs == 2
    assert await count_attempts(store) == 1


async def test_a_key_that_is_taken_leads_to_the_usual_way(store: PostgresStore) -> None:
    """Two processes that publish under one key: the statement fails as a whole, and the stage looks again."""
    publishing = Writer(store, "publish")
    await store.write(lambda connection: store.hot.insert_events(connection, [event_row(1, key="k")]))

    def publish(connection: Connection) -> None:
        if publishing.runs == 1:
            store.hot.insert_events(connection, [event_row(2), event_row(3, key="k")])

    await publishing.write(publish)
    assert publishing.runs == 2
    assert await count_events(store) == 1


async def test_what_wants_to_read_is_written_in_the_usual_way(store: PostgresStore) -> None:
    """A stage that has to ask first gets a real transaction, and nothing of its first try remains."""
    publishing = Writer(store, "publish")

    def publish(connection: Connection) -> int:
        store.hot.insert_events(connection, [event_row(1)])
        return len(store.hot.ready_lanes(connection))

    assert await publishing.write(publish) == [0]
    assert publishing.runs == 2
    assert await count_events(store) == 1


async def test_a_refusal_is_never_by_what_was_only_believed(store: PostgresStore, unheard: Store) -> None:
    """What was published is refused for good only after a look at the control plane as it is now."""
    publishing, before = Writer(store, "publish"), store.roster.revision

    def publish(connection: Connection) -> InvalidInputError | None:
        if store.roster_in(connection).revision == before:
            return InvalidInputError.at(msg="there is nobody")
        store.hot.insert_events(connection, [event_row(1)])
        return None

    await publishing.write(publish)
    assert await count_events(store) == 1


async def test_others_hear_of_what_is_left_to_them(store: PostgresStore, listener: Listener) -> None:
    """The notification goes with the statement."""
    endpoint = await add_endpoint(store, Vault(KEY), 1)
    publishing, recording = Writer(store, "publish"), Writer(store, "record")

    def publish(connection: Connection) -> None:
        store.hot.insert_events(connection, [event_row(1)])
        store.hot.insert_deliveries(connection, [delivery_row(1, 1, endpoint, token=7, until=NOW + 60_000)])

    await publishing.write(publish)
    due = NOW + 5_000
    await recording.write(
        lambda connection: store.hot.record(connection, [outcome(1, 7, State.PENDING, due=due)], [])
    )
    assert recording.runs == 1
    await until(lambda: due in listener.told)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_statement_without_an_answer_is_told_to_be_unknown(
    tmp_path: Path, store: PostgresStore, stored: bool
) -> None:
    """It commits by itself: whether it was carried out or not is not known, and it is not written once more."""
    async with Proxy(database_in(tmp_path)) as proxy, opened(proxy.url) as writer:
        publishing = Writer(writer, "publish")

        def publish(number: int, connection: Connection) -> None:
            writer.hot.insert_events(connection, [event_row(number)])

        await publishing.write(partial(publish, 1))  # it is prepared: from now on values are sent
        assert publishing.runs == 1
        if stored:
            proxy.after_server = lambda link, _: raw(2) not in link.sent
        else:
            proxy.before_server = lambda _, piece: raw(2) not in piece
        with pytest.raises(StoreUnavailableError) as caught:
            await publishing.write(partial(publish, 2))
        assert caught.value.outcome_unknown
        assert publishing.runs == 2
        proxy.before_server = proxy.after_server = lambda *_: True
        await publishing.write(partial(publish, 3))
        assert await count_events(store) == 2 + stored


@pytest.mark.parametrize("stage", ["publish", "change"])
async def test_a_connection_that_lets_nothing_through_is_given_up(tmp_path: Path, stage: str) -> None:
    """Not closed, and dead all the same: whoever waited for it in vain hears of it, and the next one has another."""
    async with Proxy(database_in(tmp_path)) as proxy, opened(proxy.url, write_within_s=0.5) as store:
        writing = Writer(store, stage)

        def write(number: int, connection: Connection) -> None:
            store.hot.insert_events(connection, [event_row(number)])

        await writing.write(partial(write, 1))
        proxy.stall()
        proxy.stalling = False  # new connections are good
        with pytest.raises(StoreUnavailableError):
            await writing.write(partial(write, 2))
        await writing.write(partial(write, 3))


async def test_what_is_in_vain_is_tried_ever_less(store: PostgresStore) -> None:
    """Events that always have to look first are not routed twice for ever; one that need not is tried again in time."""
    publishing = Writer(store, "publish")

    def look(connection: Connection) -> None:
        store.hot.ready_lanes(connection)

    for _ in range(100):
        await publishing.write(look)
    assert publishing.runs == 100 + 6  # in vain the 1st, 3rd, 7th, 15th, 31st and 63rd time
    for number in range(100):
        await publishing.write(lambda c, n=number: store.hot.insert_events(c, [event_row(n)]))
    assert publishing.runs == 200 + 6
    await publishing.write(look)
    assert publishing.runs == 202 + 6
