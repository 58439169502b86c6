"""Deliveries in sequences: only heads can be claimed, and what has to wait for them waits."""

from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import Connection, update

from tellwire.ids import DELIVERY, ENDPOINT, encode, time_ms
from tellwire.model.delivery import State, WaitingFor
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, endpoints, order
from tellwire.store.order import Further, Place, Run
from tellwire.store.rows import ClaimedRow, Head, OrderedDeliveryRow, TimedEventRow
from tellwire.store.store import Store
from tellwire.store.tables import deliveries as delivery_table

from .rows import NOW, add_endpoint, attempt_row, delivery, delivery_row, event_row, outcome, raw

LEASE = 60_000


def in_order(
    number: int, endpoint: bytes, sequence: str | None = "*", *, due: int = NOW
) -> OrderedDeliveryRow:
    return OrderedDeliveryRow(*delivery_row(number, number, endpoint, due=due), sequence)


async def add(store: Store, rows: Sequence[OrderedDeliveryRow], keys: dict[int, str] | None = None) -> None:
    """Store deliveries in sequences, each of an event of its own, which may have a key."""
    by_id = {raw(number): key for number, key in (keys or {}).items()}
    event_rows = [
        TimedEventRow(*event_row(0)._replace(id=row.event_id), ordering_key=by_id.get(row.event_id))
        for row in rows
    ]

    def insert(connection: Connection) -> None:
        store.hot.insert_events(connection, event_rows)
        store.hot.insert_deliveries(connection, rows)

    await store.write(insert)


async def heads(store: Store, endpoint: bytes, *, after: str = "", most: int = 50) -> list[Head]:
    return await store.read(lambda one: store.in_order.heads(one, endpoint, after=after, most=most))


async def claim(
    store: Store, endpoint: bytes, *, most: int = 10, now: int = NOW, token: int = 7
) -> list[list[ClaimedRow]]:
    """Claim runs from all heads on that are due."""

    def run(connection: Connection) -> list[list[ClaimedRow]]:
        found = store.in_order.heads(connection, endpoint, after="", most=50)
        runs = [Run(head, most) for head in found if head.ready_ms <= now and not head.is_blocked]
        return store.in_order.claim(connection, endpoint, runs, now_ms=now, until_ms=now + LEASE, token=token)

    return await store.write(run)


async def claimed(store: Store, endpoint: bytes, *, most: int = 10, now: int = NOW) -> list[list[int]]:
    """The same; gives numbers."""
    runs = await claim(store, endpoint, most=most, now=now)
    return [[int.from_bytes(row.id, "big") - NOW * 2**80 for row in run] for run in runs]


async def record(
    store: Store, number: int, state: State = State.SUCCEEDED, *, due: int | None = None, token: int = 7
) -> None:
    row = outcome(number, token, state, due=due)
    await store.write(lambda one: store.hot.record(one, [row], [attempt_row(number)]))


async def waiting_for(store: Store, number: int) -> WaitingFor | None:
    id = encode(DELIVERY, raw(number))
    found = await store.read(lambda one: deliveries.get(one, id, now_ms=NOW))
    return found.waiting_for


async def test_only_the_first_of_a_sequence_can_be_claimed(store: Store, vault: Vault) -> None:
    """One after the other, in the order of ids, as each is recorded; until then nothing more of it."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(n, endpoint) for n in (12, 10, 11)])
    for number in (10, 11, 12):
        assert await claimed(store, endpoint, most=1) == [[number]]
        assert await claimed(store, endpoint, most=1) == []
        await record(store, number)
    assert await heads(store, endpoint) == []


async def test_a_run_gives_all_that_is_needed_to_send(store: Store, vault: Vault) -> None:
    """Rows of a run carry their event, their counts and their sequence, and hold one lease."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10, endpoint, "=k"), in_order(11, endpoint, "=k")])
    [run] = await claim(store, endpoint)
    more = (False, None, None, None, None, "=k")
    assert run == [
        ClaimedRow(raw(n), raw(n), 0, 0, "schedule", "order.paid", b'{"n":1}', NOW, NOW, *more)
        for n in (10, 11)
    ]
    row = await delivery(store, 11)
    assert (row["lease_token"], row["lease_until_ms"]) == (7, NOW + LEASE)


async def test_sequences_do_not_wait_for_one_another(store: Store, vault: Vault) -> None:
    """Each key has a head of its own, whatever is the matter with others; runs end at their bound."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10 + n, endpoint, f"={'abc'[n % 3]}") for n in range(9)])
    assert await claimed(store, endpoint, most=2) == [[10, 13], [11, 14], [12, 15]]
    await record(store, 10, State.PENDING, due=NOW + 500)
    await record(store, 11)
    await record(store, 14)
    assert await claimed(store, endpoint, most=2) == [[17]]


async def test_a_head_that_waits_holds_up_what_stands_behind_it(store: Store, vault: Vault) -> None:
    """Not due yet, or held under a lease: nothing behind is claimed, and it is claimed again when its time comes."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10, endpoint), in_order(11, endpoint)])
    assert await claimed(store, endpoint, most=1) == [[10]]
    await record(store, 10, State.PENDING, due=NOW + 500)
    assert await claimed(store, endpoint, now=NOW + 499) == []
    assert [head.ready_ms for head in await heads(store, endpoint)] == [NOW + 500]
    assert await claimed(store, endpoint, now=NOW + 500) == [[10, 11]]
    assert await claimed(store, endpoint, now=NOW + 500 + LEASE - 1) == []
    [rescued] = await claim(store, endpoint, now=NOW + 500 + LEASE)
    assert [(row.id, row.rescued) for row in rescued] == [(raw(10), True), (raw(11), True)]


async def test_a_run_ends_before_what_is_not_due(store: Store, vault: Vault) -> None:
    """What is delayed within a sequence ends the run; what stands behind that waits for it."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10, endpoint), in_order(11, endpoint, due=NOW + 5), in_order(12, endpoint)])
    assert await claimed(store, endpoint) == [[10]]


async def test_lanes_and_claims_without_order_do_not_see_sequences(store: Store, vault: Vault) -> None:
    """What stands in sequences is told apart from what does not, in both directions."""
    one, two = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await add(store, [in_order(10, one), in_order(11, two, None), in_order(12, two)])

    def look(connection: Connection) -> tuple[list[tuple[bytes, int]], list[bytes], int]:
        found = store.hot.claim(connection, one, now_ms=NOW, until_ms=NOW + 1, token=1, limit=9)
        return store.hot.ready_lanes(connection), store.in_order.lanes(connection), len(found)

    assert await store.write(look) == ([(two, NOW)], [one, two], 0)
    glances = await store.read(lambda connection: order.glances(store.in_order, connection))
    assert [(glance.ready_ms, glance.whole) for glance in glances] == [(NOW, True), (NOW, True)]


async def test_heads_come_by_name_and_go_on_after_one(store: Store, vault: Vault) -> None:
    """Pages of heads follow each other without a gap, whatever the keys are made of."""
    endpoint = await add_endpoint(store, vault, 1)
    names = sorted(
        ["*", "=", "=a", "=a b", "=Z", "=zz", "=é", "=日本", "=😀", "=" + "x" * 128], key=str.encode
    )
    await add(store, [in_order(10 + n, endpoint, name) for n, name in enumerate(names)])
    found: list[str] = []
    while page := await heads(store, endpoint, after=found[-1] if found else "", most=3):
        found += [head.sequence for head in page]
    assert found == names


async def test_one_that_is_exhausted_blocks_as_long_as_it_stands_there(store: Store, vault: Vault) -> None:
    """What stands behind it is not claimed; what stands before it is, but no run goes past it. Cancelled, retried or
    told to step aside, it blocks nothing."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(n, endpoint) for n in (10, 11, 12)])
    assert await claimed(store, endpoint) == [[10, 11, 12]]
    await store.write(lambda one: store.hot.release(one, [(raw(10), 7), (raw(12), 7)]))
    await record(store, 11, State.EXHAUSTED)
    assert await claimed(store, endpoint) == [[10]]
    await record(store, 10)
    assert [head.is_blocked for head in await heads(store, endpoint)] == [True]
    assert await waiting_for(store, 12) is WaitingFor.ORDER
    [glance] = await store.read(lambda one: order.glances(store.in_order, one))
    assert glance.ready_ms is None
    await store.write(partial(deliveries.cancel, id=encode(DELIVERY, raw(11)), now_ms=NOW))
    assert await waiting_for(store, 12) is None
    assert await claimed(store, endpoint) == [[12]]


async def test_one_that_steps_aside_blocks_nothing(store: Store, vault: Vault) -> None:
    """It stays exhausted, and what stands behind it goes on; what is pending cannot step aside."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10, endpoint), in_order(11, endpoint)])
    await claimed(store, endpoint, most=1)
    await record(store, 10, State.EXHAUSTED)
    await store.write(lambda one: order.step_aside(one, [raw(10), raw(11)]))
    assert await claimed(store, endpoint) == [[11]]
    assert (await delivery(store, 10))["state"] == 2


async def test_what_waits_for_its_turn_says_so(store: Store, vault: Vault) -> None:
    """All but the first of a sequence wait for ``order``; those of other keys or without one do not."""
    endpoint = await add_endpoint(store, vault, 1)
    rows = [in_order(10, endpoint, "=a"), in_order(11, endpoint, "=a"), in_order(12, endpoint, "=b")]
    await add(store, [*rows, in_order(13, endpoint, None)])
    found = [await waiting_for(store, number) for number in (10, 11, 12, 13)]
    assert found == [None, WaitingFor.ORDER, None, None]


async def configure(store: Store, vault: Vault, settings: EndpointSettings) -> None:
    def change(connection: Connection) -> None:
        id = encode(ENDPOINT, raw(1))
        endpoints.change(connection, vault, id, {"settings": settings}, now_ms=NOW)

    await store.write(change)


@pytest.mark.parametrize(("setting", "sequence"), [("none", None), ("endpoint", "*"), ("key", "=k")])
async def test_a_retry_by_hand_takes_the_old_place(
    store: Store, vault: Vault, setting: str, sequence: str | None
) -> None:
    """What has ended is pending again in the sequence that it has by now, before what was published after it."""
    endpoint = await add_endpoint(store, vault, 1)
    await configure(store, vault, EndpointSettings(order=setting))  # type: ignore[arg-type]
    await add(store, [in_order(10, endpoint, None), in_order(11, endpoint, sequence)], {10: "k", 11: "k"})
    ended = update(delivery_table).where(delivery_table.c.id == raw(10)).values(state=2)
    await store.write(lambda one: one.execute(ended))
    retry = partial(deliveries.retry, id=encode(DELIVERY, raw(10)), roster=store.roster, now_ms=NOW)
    await store.write(retry)
    assert (await delivery(store, 10))["sequence"] == sequence
    if sequence is not None:
        assert await claimed(store, endpoint, most=1) == [[10]]


async def test_pending_deliveries_are_rearranged(store: Store, vault: Vault) -> None:
    """Under another order each takes its place by its id; what has ended stays as it is."""
    endpoint, other = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    rows = [in_order(10, endpoint, None), in_order(11, endpoint), in_order(12, endpoint, "=k")]
    await add(store, [*rows, in_order(13, endpoint, None), in_order(14, other, None)], {10: "a", 12: "k"})

    async def rearranged(setting: str) -> list[str | None]:
        await store.write(lambda one: order.rearrange(one, endpoint, setting))
        return [(await delivery(store, number))["sequence"] for number in (10, 11, 12, 13, 14)]

    assert await rearranged("endpoint") == ["*", "*", "*", "*", None]
    assert await rearranged("key") == ["=a", None, "=k", None, None]
    assert await rearranged("none") == [None] * 5


async def test_what_blocks_can_be_unblocked(store: Store, vault: Vault) -> None:
    """All that is exhausted at an endpoint steps aside, and nothing at others."""
    one, two = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await add(store, [in_order(10, one), in_order(11, one), in_order(12, two)])
    for endpoint, number in ((one, 10), (two, 12)):
        await claimed(store, endpoint, most=1)
        await record(store, number, State.EXHAUSTED)
    await store.write(lambda connection: order.unblock(connection, one))
    assert [(await delivery(store, number))["sequence"] for number in (10, 12)] == [None, "*"]
    assert await claimed(store, one) == [[11]]


async def test_new_deliveries_come_after_those_before(store: Store, vault: Vault) -> None:
    """Whatever the clock of whoever publishes says: ids are raised past what is pending in the sequence."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(900, endpoint), in_order(901, endpoint, "=k")])
    rows = [
        in_order(10, endpoint),
        in_order(11, endpoint),
        in_order(12, endpoint, "=k"),
        in_order(13, endpoint, "=new"),
    ]

    def place(connection: Connection) -> list[OrderedDeliveryRow]:
        return order.put_in_line(store.in_order, connection, rows)

    found = await store.write(place)
    assert raw(900) < found[0].id < found[1].id
    assert raw(901) < found[2].id
    assert found[3] == rows[3]
    assert {time_ms(row.id) for row in found} == {NOW}


@pytest.mark.parametrize(("ahead_ms", "comes_after"), [(1, True), (999, True), (1_000, False)])
async def test_who_published_with_a_clock_that_is_ahead_was_first(
    store: Store, vault: Vault, ahead_ms: int, comes_after: bool
) -> None:
    """What is published here after that was acknowledged comes after it, as long as the clocks are less than a second
    apart."""
    endpoint = await add_endpoint(store, vault, 1)
    ahead = in_order(1, endpoint)._replace(id=(NOW + ahead_ms).to_bytes(6, "big") + raw(1)[6:])
    await add(store, [ahead])
    rows = [in_order(10, endpoint)]
    (found,) = await store.write(lambda one: order.put_in_line(store.in_order, one, rows))
    assert (found.id > ahead.id) == comes_after


async def test_nothing_waits_for_what_is_delayed(store: Store, vault: Vault) -> None:
    """What is due much later stands later, and new deliveries do not come after it."""
    endpoint = await add_endpoint(store, vault, 1)
    later = OrderedDeliveryRow(*in_order(1, endpoint, due=NOW + 99_000))._replace(
        id=(NOW + 99_000).to_bytes(6, "big") + raw(1)[6:]
    )
    await add(store, [later])

    def place(connection: Connection) -> list[OrderedDeliveryRow]:
        return order.put_in_line(store.in_order, connection, [in_order(10, endpoint)])

    assert await store.write(place) == [in_order(10, endpoint)]


async def test_last_answers_for_each_place(store: Store, vault: Vault) -> None:
    """The pending delivery before each place, in the order of the places; None where there is none."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(n, endpoint, "=k") for n in (10, 11, 12)])
    places = [
        Place(endpoint, "=k", raw(12)),
        Place(endpoint, "=none", raw(12)),
        Place(endpoint, "=k", raw(99)),
        Place(endpoint, "=k", raw(10)),
    ]
    found = await store.read(lambda connection: store.in_order.last(connection, places))
    assert found == [raw(11), None, raw(12), None]
    assert await store.read(lambda connection: store.in_order.last(connection, [])) == []


async def test_two_processes_do_not_share_a_sequence(store: Store, second: Store, vault: Vault) -> None:
    """While one holds the head of a sequence, another gets nothing of it, and of the others what is free."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10 + n, endpoint, f"={'ab'[n % 2]}") for n in range(6)])
    runs = await claim(store, endpoint, most=2)
    assert await claim(second, endpoint, token=8) == []
    assert [row.id for row in runs[0]] == [raw(10), raw(12)]
    await store.write(lambda one: store.hot.release(one, [(row.id, 7) for row in runs[0]]))
    again = await claim(second, endpoint, token=8)
    assert [[row.id for row in run] for run in again] == [[raw(10), raw(12), raw(14)]]


async def claimed_further(
    store: Store, endpoint: bytes, last: int, *, sequence: str = "*", most: int = 2, token: int = 7
) -> list[bytes]:
    """Claim behind ``last``, and behind what is not there."""

    def run(connection: Connection) -> list[list[ClaimedRow]]:
        wanted = [Further("=none", raw(last), most), Further(sequence, raw(last), most)]
        return store.in_order.claim_further(
            connection, endpoint, wanted, now_ms=NOW, until_ms=NOW + LEASE, token=token
        )

    nothing, rows = await store.write(run)
    assert nothing == []
    return [row.id for row in rows]


async def test_who_holds_a_sequence_claims_further(store: Store, second: Store, vault: Vault) -> None:
    """Behind the last that its token holds, as many as it asks for; whoever has another token gets nothing."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10 + n, endpoint, f"={'ab'[n % 2]}") for n in range(12)])
    await claim(store, endpoint, most=2)
    assert await claimed_further(second, endpoint, 12, sequence="=a", token=8) == []
    assert await claimed_further(store, endpoint, 10, sequence="=a") == []  # that is not the last
    assert await claimed_further(store, endpoint, 12, sequence="=a") == [raw(14), raw(16)]
    row = await delivery(store, 16)
    assert (row["lease_token"], row["lease_until_ms"]) == (7, NOW + LEASE)
    await record(store, 10)
    assert await claimed_further(store, endpoint, 16, sequence="=a", most=9) == [raw(18), raw(20)]
    assert await claimed_further(store, endpoint, 20, sequence="=a") == []
    assert await claim(second, endpoint, token=8) == []


async def test_nothing_is_claimed_further_past_what_waits(store: Store, vault: Vault) -> None:
    """What comes back to its old place by hand is to be sent first; what was given back ends what is held."""
    endpoint = await add_endpoint(store, vault, 1)
    await configure(store, vault, EndpointSettings(order="endpoint"))
    await add(store, [in_order(10 + n, endpoint) for n in range(6)])
    await claim(store, endpoint, most=3)
    await record(store, 10)
    id = encode(DELIVERY, raw(10))
    await store.write(partial(deliveries.retry, id=id, roster=store.roster, now_ms=NOW))
    assert await claimed_further(store, endpoint, 12) == []
    await store.write(partial(deliveries.cancel, id=id, now_ms=NOW))
    assert await claimed_further(store, endpoint, 12) == [raw(13), raw(14)]
    await store.write(lambda one: store.hot.release(one, [(raw(14), 7)]))
    assert await claimed_further(store, endpoint, 14) == []


@pytest.mark.parametrize(("state", "due"), [(State.PENDING, NOW + 500), (State.EXHAUSTED, None)])
async def test_nothing_is_claimed_further_past_what_failed(
    store: Store, vault: Vault, state: State, due: int | None
) -> None:
    """What waits for a retry, and what blocks, hold up whoever had claimed what stands behind it."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(10 + n, endpoint) for n in range(6)])
    await claim(store, endpoint, most=3)
    await record(store, 10, state, due=due)
    assert await claimed_further(store, endpoint, 12) == []
