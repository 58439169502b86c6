"""Replays in the store: a page is a transaction, and one process at a time works on a replay."""

import pytest
from sqlalchemy import Connection, update

from tellwire.clock import SystemClock
from tellwire.deliver.admission import Admission
from tellwire.deliver.lanes import LaneBounds, Lanes
from tellwire.deliver.leases import Claiming
from tellwire.deliver.replay_choice import choose
from tellwire.deliver.replayer import Replayer
from tellwire.errors import NotFoundError
from tellwire.ids import ENDPOINT, EVENT, REPLAY, IdMaker, encode
from tellwire.model.claim import Claim
from tellwire.model.delivery import State
from tellwire.model.replay import Again, Criteria, Replay, ReplayState
from tellwire.signing.vault import Vault
from tellwire.store import replay_pages, replays
from tellwire.store.pruning import expire_payloads
from tellwire.store.replay_pages import Counts, TakenReplay
from tellwire.store.rows import PageRow
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES, deliveries
from tellwire.store.tables import replays as replays_table
from tellwire.telemetry import Telemetry

from .rows import NOW, add_deliveries, add_endpoint, delivery, delivery_row, event_row, raw

DAY_MS = 86_400_000
RANGE = Criteria(NOW - DAY_MS, NOW + DAY_MS)


async def start(store: Store, endpoint: bytes, criteria: Criteria = RANGE) -> bytes:
    id = IdMaker(SystemClock().now_ms)()
    await store.write(
        lambda c: replays.create(c, id, encode(ENDPOINT, endpoint), criteria, dry_run=False, now_ms=NOW)
    )
    return id


async def shown(store: Store, id: bytes) -> Replay:
    return await store.read(lambda c: replays.get(c, encode(REPLAY, id)))


async def failed(store: Store, endpoint: bytes, numbers: range) -> None:
    """Exhausted deliveries, one of each event."""
    await add_deliveries(store, [delivery_row(number, number, endpoint) for number in numbers])
    exhausted = {
        "state": STATE_CODES[State.EXHAUSTED],
        "due_ms": None,
        "attempt_count": 3,
        "finished_ms": NOW,
    }
    await store.write(lambda c: c.execute(update(deliveries).values(exhausted)))


def taken(connection: Connection, id: bytes) -> TakenReplay:
    found = replay_pages.take(connection, id)
    assert found is not None
    return found


def replayer(store: Store, claims: list[Claim], *, retention_days: int = 36_500) -> Replayer:
    clock = SystemClock()
    lanes = Lanes(LaneBounds(per_endpoint=8), lambda lane, claim: None, clock)
    return Replayer(
        store,
        lanes,
        clock,
        Telemetry(),
        new_id=IdMaker(clock.now_ms),
        claiming=Claiming(
            lambda: 7, 60_000, claims.extend, lambda: Admission(lanes, lambda id: False), lambda ids: None
        ),
        retention_days=retention_days,
    )


async def test_a_page_makes_half_of_the_slots_due(store: Store, vault: Vault) -> None:
    """A page takes the next few, claimed and with a whole schedule; the one after waits until they are tried."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 30))
    id, claims = await start(store, endpoint), list[Claim]()
    agent = replayer(store, claims)
    assert await agent._work_on(id, False)
    assert not await agent._work_on(id, False)
    assert [claim.delivery_id for claim in claims] == [raw(number) for number in range(10, 14)]
    assert {(claim.attempt_count, claim.schedule_step, claim.trigger) for claim in claims} == {
        (3, 0, "replay")
    }
    row = await delivery(store, 10)
    assert (row["state"], row["trigger"], row["lease_token"], row["finished_ms"]) == (0, "replay", 7, None)
    assert (await shown(store, id)).retried == 4


async def test_a_page_that_fails_is_taken_again(store: Store, vault: Vault) -> None:
    """A transaction that dies after it has made deliveries due leaves them, and the replay, as they were."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 12))
    id = await start(store, endpoint)

    def die(connection: Connection) -> None:
        replay_pages.make_pending(
            connection, [raw(10)], [Again.EXHAUSTED], now_ms=NOW, lease=None, order=None
        )
        replay_pages.move_on(connection, id, up_to=raw(10), counts=Counts(retried=1), now_ms=NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(die)
    assert (await delivery(store, 10))["state"] == STATE_CODES[State.EXHAUSTED]
    assert (await shown(store, id)).retried == 0


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "chosen"),
    [(NOW, NOW + 1, 2), (NOW - 1, NOW, 0), (NOW + 1, NOW + 2, 0), (NOW - 1, NOW + 2, 2)],
)
async def test_a_range_has_its_first_instant_and_not_its_last(
    store: Store, vault: Vault, since_ms: int, until_ms: int, chosen: int
) -> None:
    """To the millisecond, by when events were published."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 12))
    claims = list[Claim]()
    await start(store, endpoint, Criteria(since_ms, until_ms))
    agent = replayer(store, claims)
    for id, _ in await store.read(replay_pages.running):
        await agent._work_on(id, False)
    assert len(claims) == chosen


@pytest.mark.parametrize("lease", [None, (7, NOW + 60_000)])
async def test_what_becomes_pending_has_a_whole_schedule_before_it(
    store: Store, vault: Vault, lease: tuple[int, int] | None
) -> None:
    """Whether it is claimed at once or later; attempts are counted on, and the age of what is retried begins anew."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 11))
    await store.write(lambda c: c.execute(update(deliveries).values(schedule_step=3, batch_id=raw(99))))
    changed = await store.write(
        lambda c: replay_pages.make_pending(
            c, [raw(10)], [Again.EXHAUSTED], now_ms=NOW + 5, lease=lease, order=None
        )
    )
    row = await delivery(store, 10)
    assert changed == {raw(10)}
    assert (row["schedule_step"], row["attempt_count"], row["batch_id"]) == (0, 3, None)
    assert (row["due_ms"], row["again_ms"], row["trigger"]) == (NOW + 5, NOW + 5, "replay")


async def test_a_replay_that_another_holds_is_skipped(store: Store, second: Store, vault: Vault) -> None:
    """Two processes that take pages in turn send everything once; an ended replay cannot be taken."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 30))
    id, claims = await start(store, endpoint), list[Claim]()
    agents = [replayer(store, claims), replayer(second, claims)]
    tried = {"trigger": "schedule", "state": STATE_CODES[State.SUCCEEDED]}
    for turn in range(60):
        await agents[turn % 2]._work_on(id, False)
        await store.write(
            lambda c: c.execute(update(deliveries).where(deliveries.c.state == 0).values(tried))
        )
    assert [claim.delivery_id for claim in claims] == [raw(number) for number in range(10, 30)]
    assert (await shown(store, id)).state is ReplayState.SUCCEEDED
    assert await store.write(lambda c: replay_pages.take(c, id)) is None
    assert await store.read(replay_pages.running) == []


async def test_what_changed_meanwhile_is_left_alone(store: Store, vault: Vault) -> None:
    """A delivery that is not in an asked state any more is not made pending."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 12))

    def make(connection: Connection) -> set[bytes]:
        connection.execute(update(deliveries).where(deliveries.c.id == raw(10)).values(state=1))
        both = [raw(10), raw(11)]
        return replay_pages.make_pending(
            connection, both, [Again.EXHAUSTED], now_ms=NOW, lease=None, order=None
        )

    assert await store.write(make) == {raw(11)}


async def test_it_waits_for_the_fan_out(store: Store, vault: Vault) -> None:
    """An event that is not wholly fanned out is not looked at for missing deliveries, nor is what follows it."""
    endpoint = await add_endpoint(store, vault, 1)

    def publish(connection: Connection) -> None:
        store.hot.insert_events(connection, [event_row(number) for number in (10, 11, 12)])
        store.hot.insert_pages(connection, [PageRow(raw(11), 0, 1, endpoint)])

    await store.write(publish)
    id = await start(store, endpoint)

    def look(connection: Connection) -> tuple[list[bytes], bool]:
        rows, last = replay_pages.look(connection, taken(connection, id), 100)
        return [row.event_id for row in rows], last

    assert await store.write(look) == ([raw(10)], False)
    failed_only = await start(
        store, endpoint, Criteria(RANGE.since_ms, RANGE.until_ms, states=(Again.EXHAUSTED,))
    )
    id = failed_only
    assert await store.write(look) == ([raw(10), raw(11), raw(12)], True)


async def test_what_is_pruned_soon_is_counted(store: Store, vault: Vault) -> None:
    """Events at the end of their retention are not made pending: the pruner may have chosen them."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 13))
    id, claims = await start(store, endpoint), list[Claim]()
    assert await replayer(store, claims, retention_days=1)._work_on(id, False)
    found = await shown(store, id)
    assert (found.state, found.retried, found.expired, claims) == (ReplayState.SUCCEEDED, 0, 3, [])


async def test_what_has_lost_its_data_is_counted(store: Store, vault: Vault) -> None:
    """Events whose data has expired are passed over and counted; the others are sent, and keep theirs from then on."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 13))
    later_ms = NOW + DAY_MS

    def expire(connection: Connection) -> bytes | None:
        return expire_payloads(connection, after=b"", before_ms=later_ms, limit=2)

    await store.write(expire)
    id, claims = await start(store, endpoint), list[Claim]()
    assert await replayer(store, claims)._work_on(id, False)
    found = await shown(store, id)
    assert (found.state, found.retried, found.expired) == (ReplayState.SUCCEEDED, 1, 2)
    assert [claim.delivery_id for claim in claims] == [raw(12)]
    await store.write(lambda c: expire_payloads(c, after=raw(11), before_ms=later_ms, limit=2))
    kept = await store.write(lambda c: replay_pages.keep(c, [raw(10), raw(11), raw(12)], later_ms))
    assert kept == {raw(12): 0}


async def test_one_event_that_was_pruned_is_counted(store: Store, vault: Vault) -> None:
    """A replay of an event that goes before its turn ends, and counts it."""
    endpoint = await add_endpoint(store, vault, 1)
    await failed(store, endpoint, range(10, 11))
    text_id = encode(EVENT, raw(10))
    id = await start(store, endpoint, Criteria(0, 0, states=tuple(Again), event=text_id))

    def without_it(connection: Connection) -> tuple[int, bool]:
        connection.exec_driver_sql("DELETE FROM deliveries")
        connection.exec_driver_sql("DELETE FROM events")
        replay = taken(connection, id)
        found = choose(connection, replay, store.roster_in(connection).endpoints[endpoint], 10, 10, 0, NOW)
        return found.counts.expired, found.ended

    assert await store.write(without_it) == (1, True)
    with pytest.raises(NotFoundError):
        await start(store, endpoint, Criteria(0, 0, event=text_id))


async def test_ended_replays_are_forgotten(store: Store, vault: Vault) -> None:
    """The row of a replay goes when it has ended long ago; one that runs stays."""
    endpoint = await add_endpoint(store, vault, 1)
    ended, runs = await start(store, endpoint), await start(store, endpoint)
    await store.write(lambda c: replays.cancel(c, encode(REPLAY, ended), now_ms=NOW))
    await store.write(lambda c: replays.forget_ended(c, before_ms=NOW + 1))
    left = await store.read(lambda c: c.execute(replays_table.select()).all())
    assert [row.id for row in left] == [runs]


async def test_counting_what_is_untried_reads_its_own_index(store: Store, vault: Vault) -> None:
    """However many deliveries are pending, only those of replays are looked at."""
    query = "SELECT count(*) FROM deliveries WHERE endpoint_id = {} AND state = 0 AND trigger = 'replay'"

    def plan(connection: Connection) -> str:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + query.format("x'00'"))
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            rows = connection.exec_driver_sql("EXPLAIN " + query.format("'\\x00'::bytea"))
        return " ".join(str(row) for row in rows)

    assert "deliveries_replaying" in await store.write(plan)
