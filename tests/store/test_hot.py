"""The statements of the hot path: claims, leases and results."""

import pytest
from sqlalchemy import Connection

from tellwire.model.delivery import State
from tellwire.signing.vault import Vault
from tellwire.store.rows import ClaimedRow
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES

from .rows import (
    NOW,
    add_deliveries,
    add_endpoint,
    attempt_row,
    count_attempts,
    delivery,
    delivery_row,
    outcome,
    raw,
)

LEASE = 60_000


async def claim(
    store: Store, endpoint: bytes, *, now: int = NOW, token: int = 7, limit: int = 100
) -> list[ClaimedRow]:
    return await store.write(
        lambda connection: store.hot.claim(
            connection, endpoint, now_ms=now, until_ms=now + LEASE, token=token, limit=limit
        )
    )


async def record(store: Store, number: int, token: int, state: State = State.SUCCEEDED) -> bool:
    due = NOW + 9_000 if state is State.PENDING else None

    def write(connection: Connection) -> set[bytes]:
        return store.hot.record(connection, [outcome(number, token, state, due=due)], [attempt_row(number)])

    return raw(number) in await store.write(write)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 246, 1_357])
async def test_any_number_of_rows_is_stored_claimed_and_recorded(
    store: Store, vault: Vault, count: int
) -> None:
    """Statements take whatever number of rows a batch has, and lose and double none."""
    endpoint = await add_endpoint(store, vault, 1)
    numbers = range(10, 10 + count)
    await add_deliveries(store, [delivery_row(n, 5_000 + n, endpoint) for n in numbers])
    claimed = await claim(store, endpoint, limit=5_000)
    assert [row.id for row in claimed] == [raw(n) for n in numbers]

    def write(connection: Connection) -> set[bytes]:
        leases = [(raw(n), 7) for n in numbers]
        assert store.hot.extend(connection, leases, NOW + 99_000) == {raw(n) for n in numbers}
        return store.hot.record(
            connection, [outcome(n, 7) for n in numbers], [attempt_row(n) for n in numbers]
        )

    assert await store.write(write) == {raw(n) for n in numbers}
    assert await count_attempts(store) == count


async def test_no_rows_are_no_work(store: Store) -> None:
    """Empty batches are allowed everywhere."""

    def write(connection: Connection) -> None:
        store.hot.insert_events(connection, [])
        store.hot.insert_deliveries(connection, [])
        assert store.hot.record(connection, [], []) == set()
        assert store.hot.extend(connection, [], NOW) == set()
        assert store.hot.seal(connection, [], b"b" * 16, NOW) == set()
        store.hot.release(connection, [])
        assert store.hot.ready_lanes(connection) == []
        assert store.hot.lanes_ready(connection, []) == []

    await store.write(write)


async def test_a_claim_gives_what_is_needed_to_send(store: Store, vault: Vault) -> None:
    """A claimed row carries its event's type, data and time, its counts, and that nobody held it before."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 11, endpoint)])
    assert await claim(store, endpoint) == [
        ClaimedRow(
            raw(10), raw(11), 0, 0, "schedule", "order.paid", b'{"n":1}', NOW, NOW, False, None, None, None
        )
    ]
    row = await delivery(store, 10)
    assert (row["lease_token"], row["lease_until_ms"]) == (7, NOW + LEASE)


async def test_claims_come_oldest_first_and_no_more_than_asked_for(store: Store, vault: Vault) -> None:
    """A claim takes what has been ready for longest, up to its limit; the next claim goes on from there."""
    endpoint = await add_endpoint(store, vault, 1)
    rows = [delivery_row(10 + n, 100 + n, endpoint, due=NOW - 10 * n) for n in range(7)]
    await add_deliveries(store, rows)
    first = await claim(store, endpoint, limit=3)
    second = await claim(store, endpoint, limit=30)
    assert [row.id for row in first] == [raw(16), raw(15), raw(14)]
    assert [row.id for row in second] == [raw(13), raw(12), raw(11), raw(10)]


async def test_what_is_due_at_the_same_time_is_claimed_in_the_order_of_publishing(
    store: Store, vault: Vault
) -> None:
    """Deliveries of one instant come in the order of their ids."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(n, 100 + n, endpoint) for n in (15, 12, 19, 11)])
    assert [row.id for row in await claim(store, endpoint)] == [raw(n) for n in (11, 12, 15, 19)]


async def test_only_what_is_due_in_the_lane_is_claimed(store: Store, vault: Vault) -> None:
    """Deliveries of other lanes, of the future, under a live lease and in an end state are left alone."""
    mine, other = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await add_deliveries(
        store,
        [
            delivery_row(10, 100, mine),
            delivery_row(11, 100, other),
            delivery_row(12, 101, mine, due=NOW + 1),
            delivery_row(13, 102, mine, token=3, until=NOW + 1),
            delivery_row(14, 103, mine, token=4, until=NOW + LEASE),
        ],
    )
    assert await record(store, 14, token=4)
    assert [row.id for row in await claim(store, mine)] == [raw(10)]
    assert [row.id for row in await claim(store, mine, now=NOW + 1)] == [raw(12), raw(13)]


async def test_an_expired_lease_can_be_claimed_again(store: Store, vault: Vault) -> None:
    """From the very end of its lease on, a delivery is claimed like a due one and marked as rescued."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=3, until=NOW + LEASE)])
    assert await claim(store, endpoint, now=NOW + LEASE - 1) == []
    (rescued,) = await claim(store, endpoint, now=NOW + LEASE)
    assert rescued.rescued


async def test_what_is_due_and_what_a_lease_has_left_are_claimed_in_one_order(
    store: Store, vault: Vault
) -> None:
    """Whichever may be claimed first comes first, also where there is not room for all."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(
        store,
        [
            delivery_row(10, 100, endpoint, due=NOW - 9, token=3, until=NOW - 1),
            delivery_row(11, 101, endpoint, due=NOW - 2),
            delivery_row(12, 102, endpoint, due=NOW - 9, token=3, until=NOW - 3),
            delivery_row(13, 103, endpoint, due=NOW - 4),
            delivery_row(14, 104, endpoint, due=NOW - 9, token=3, until=NOW - 2),
        ],
    )
    first = await claim(store, endpoint, limit=3)
    assert [(row.id, row.rescued) for row in first] == [(raw(13), False), (raw(12), True), (raw(11), False)]
    assert [row.id for row in await claim(store, endpoint)] == [raw(14), raw(10)]


async def test_a_result_ends_the_lease(store: Store, vault: Vault) -> None:
    """A recorded result changes the state, gives up the lease and stores the attempt."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=3, until=NOW + LEASE)])
    assert await record(store, 10, token=3)
    row = await delivery(store, 10)
    assert row["state"] == STATE_CODES[State.SUCCEEDED]
    assert (row["lease_token"], row["lease_until_ms"], row["due_ms"]) == (None, None, None)
    assert (row["attempt_count"], row["schedule_step"], row["last_status_code"]) == (1, 1, 200)
    assert row["finished_ms"] == NOW + 5
    assert await count_attempts(store) == 1


async def test_a_result_to_be_retried_is_due_again(store: Store, vault: Vault) -> None:
    """A result that asks for a retry leaves the delivery pending and claimable from its due time on."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=3, until=NOW + LEASE)])
    assert await record(store, 10, token=3, state=State.PENDING)
    assert await claim(store, endpoint, now=NOW + 8_999) == []
    (again,) = await claim(store, endpoint, now=NOW + 9_000)
    assert (again.attempt_count, again.schedule_step, again.rescued) == (1, 1, False)


async def test_a_stale_result_changes_nothing(store: Store, vault: Vault) -> None:
    """A result under a lease that has passed to somebody else writes neither state nor attempt."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=3, until=NOW)])
    await claim(store, endpoint, token=7)
    before = await delivery(store, 10)
    assert not await record(store, 10, token=3)
    assert await delivery(store, 10) == before
    assert await count_attempts(store) == 0
    assert await record(store, 10, token=7)


async def test_a_result_is_written_once(store: Store, vault: Vault) -> None:
    """Recording the same result again, as after a commit of unknown outcome, changes nothing more."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=3, until=NOW + LEASE)])
    assert await record(store, 10, token=3)
    before = await delivery(store, 10)
    assert not await record(store, 10, token=3)
    assert await delivery(store, 10) == before
    assert await count_attempts(store) == 1


async def test_in_one_batch_each_result_is_judged_by_its_own_lease(store: Store, vault: Vault) -> None:
    """Of many results in one statement, those that hold are written and the others are not."""
    endpoint = await add_endpoint(store, vault, 1)
    numbers = range(10, 260)
    rows = [delivery_row(n, 1_000 + n, endpoint, token=n, until=NOW + LEASE) for n in numbers]
    await add_deliveries(store, rows)

    def write(connection: Connection) -> set[bytes]:
        outcomes = [outcome(n, n if n % 3 else n + 1) for n in numbers]
        return store.hot.record(connection, outcomes, [attempt_row(n) for n in numbers])

    held = await store.write(write)
    assert held == {raw(n) for n in numbers if n % 3}
    assert await count_attempts(store) == len(held)


async def test_only_a_live_lease_is_extended_and_released(store: Store, vault: Vault) -> None:
    """Extending and releasing look at the token: leases of others and ended deliveries stay as they are."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(
        store, [delivery_row(n, 100, endpoint, token=n, until=NOW + LEASE) for n in (10, 11, 12)]
    )
    assert await record(store, 12, token=12)
    leases = [(raw(10), 10), (raw(11), 99), (raw(12), 12), (raw(77), 1)]
    extended = await store.write(lambda connection: store.hot.extend(connection, leases, NOW + 2 * LEASE))
    assert extended == {raw(10)}
    assert (await delivery(store, 10))["lease_until_ms"] == NOW + 2 * LEASE
    assert (await delivery(store, 11))["lease_until_ms"] == NOW + LEASE
    before = dict(await delivery(store, 10))
    await store.write(lambda connection: store.hot.release(connection, leases))
    without = {"lease_token": None, "lease_until_ms": None}
    assert dict(await delivery(store, 10)) == before | without, "neither an attempt nor its time is lost"
    assert (await delivery(store, 11))["lease_token"] == 11
    assert [row.id for row in await claim(store, endpoint)] == [raw(10)]


async def test_ready_lanes_names_each_lane_once_with_its_first_time(store: Store, vault: Vault) -> None:
    """Of each lane with pending deliveries, and of no other, the earliest due time or end of lease is given."""
    one, two, three, idle = [await add_endpoint(store, vault, n) for n in (1, 2, 3, 4)]
    await add_deliveries(
        store,
        [
            delivery_row(10, 100, one, due=NOW + 50),
            delivery_row(11, 101, one, due=NOW + 20),
            delivery_row(12, 100, two, due=NOW - 5, token=1, until=NOW + 70),
            delivery_row(13, 101, two, due=NOW + 90),
            *[delivery_row(200 + n, 300 + n, three, due=NOW - n) for n in range(150)],
            delivery_row(14, 100, idle, token=9, until=NOW + LEASE),
        ],
    )
    assert await record(store, 14, token=9)
    lanes = await store.read(store.hot.ready_lanes)
    assert lanes == [(one, NOW + 20), (two, NOW + 70), (three, NOW - 149)]
    some = await store.read(lambda connection: store.hot.lanes_ready(connection, [three, idle, one]))
    assert sorted(some) == sorted([(three, NOW - 149), (one, NOW + 20)])
