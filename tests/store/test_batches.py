"""Deliveries of one batch: sealed together, found together, until they leave it."""

from collections import Counter
from functools import partial

import msgspec
import pytest
from sqlalchemy import Connection

from tellwire.deliver.claimer import claim_of
from tellwire.deliver.rejoining import rejoined
from tellwire.ids import DELIVERY, encode
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.model.delivery import State
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.replay import Again
from tellwire.signing.vault import Vault
from tellwire.store import batches, deliveries, replay_pages
from tellwire.store.rows import ClaimedRow
from tellwire.store.store import Store

from .rows import NOW, add_deliveries, add_endpoint, delivery, delivery_row, outcome, raw, timed_event_row
from .test_order import add, claim, in_order, record
from .test_order import claimed as claimed_in_line

FIRST, SECOND = b"a" * 16, b"b" * 16
LEASE = NOW + 60_000


async def seal(store: Store, numbers: list[int], batch: bytes, *, token: int = 7) -> set[bytes]:
    leases = [(raw(n), token) for n in numbers]
    held = await store.write(lambda c: store.hot.seal(c, leases, batch, LEASE))
    assert {found for _, found in held} <= {token}
    return {id for id, _ in held}


async def rest(store: Store, endpoint: bytes, *ids: bytes, now: int) -> list[tuple[bytes, ClaimedRow]]:
    return await store.write(
        lambda c: batches.claim_rest(c, endpoint, ids, now_ms=now, until_ms=now + 60_000, token=9)
    )


async def claimed(store: Store, vault: Vault, count: int) -> bytes:
    """An endpoint with so many deliveries, from number 10 on, which token 7 holds."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(
        store, [delivery_row(n, 5_000 + n, endpoint, token=7, until=LEASE - n) for n in _of(count)]
    )
    return endpoint


def _of(count: int) -> list[int]:
    return list(range(10, 10 + count))


@pytest.mark.parametrize("count", [1, 3, 101, 1_000])
async def test_a_batch_is_sealed_and_found(store: Store, vault: Vault, count: int) -> None:
    """Whatever its size; the leases of all end at the same time from then on."""
    await claimed(store, vault, count)
    ids = {raw(n) for n in _of(count)}
    assert await seal(store, _of(count), FIRST) == ids
    assert await store.read(lambda c: batches.batch_ids(c, [*ids, raw(9)])) == dict.fromkeys(ids, FIRST)
    ends = {(await delivery(store, n))["lease_until_ms"] for n in _of(count)[:5]}
    assert ends == {LEASE}


async def test_who_has_lost_its_lease_seals_nothing(store: Store, vault: Vault) -> None:
    """What was cancelled or is another's stays out."""
    await claimed(store, vault, 3)
    await store.write(partial(deliveries.cancel, id=encode(DELIVERY, raw(11)), now_ms=NOW))
    assert await seal(store, [10], SECOND, token=8) == set()
    both = [(raw(12), token) for token in (8, 7)]
    assert await store.write(lambda c: store.hot.seal(c, both, FIRST, LEASE)) == {(raw(12), 7)}
    assert await seal(store, _of(3), FIRST) == {raw(10), raw(12)}
    assert await store.read(lambda c: batches.batch_ids(c, [raw(n) for n in _of(3)])) == {
        raw(10): FIRST,
        raw(12): FIRST,
    }


async def test_the_rest_of_a_batch_is_claimed(store: Store, vault: Vault) -> None:
    """What is due of these batches, of this endpoint, and nobody holds; with all that is needed to send it."""
    endpoint = await claimed(store, vault, 6)
    other = await add_endpoint(store, vault, 2)
    await add_deliveries(store, [delivery_row(90, 5_090, other, token=7, until=LEASE)])
    await seal(store, [10, 11, 90], FIRST)
    await seal(store, [12, 13], SECOND)
    await seal(store, [14], b"c" * 16)
    assert await rest(store, endpoint, FIRST, now=LEASE - 1) == []
    later = outcome(11, 7, State.PENDING, due=LEASE + 500)
    await store.write(lambda c: store.hot.record(c, [later], []))
    found = await rest(store, endpoint, FIRST, SECOND, now=LEASE)
    assert {(batch, row.id) for batch, row in found} == {
        (FIRST, raw(10)),
        (SECOND, raw(12)),
        (SECOND, raw(13)),
    }
    assert {(row.type, row.data, row.rescued) for _, row in found} == {("order.paid", b'{"n":1}', True)}
    row = await delivery(store, 10)
    assert (row["lease_token"], row["lease_until_ms"]) == (9, LEASE + 60_000)
    ((_, row_later),) = await rest(store, endpoint, FIRST, now=LEASE + 500)
    assert (row_later.id, row_later.attempt_count, row_later.schedule_step, row_later.rescued) == (
        raw(11),
        1,
        1,
        False,
    )


async def test_who_claims_one_of_a_batch_gets_all_that_are_due(store: Store, vault: Vault) -> None:
    """They go along with it, so that it is sent as it was before; what was sent in no batch is left alone."""
    endpoint_id = await claimed(store, vault, 4)
    await seal(store, [10, 11, 12], FIRST)
    endpoint = await store.read(lambda c: store.roster_in(c).endpoints[endpoint_id])
    endpoint = msgspec.structs.replace(endpoint, settings=EndpointSettings(batch=BatchSettings(max_events=3)))

    def claim_one(connection: Connection) -> tuple[list[Claim], int]:
        rows = store.hot.claim(connection, endpoint_id, now_ms=LEASE, until_ms=2 * LEASE, token=9, limit=4)
        make = partial(claim_of, endpoint=endpoint, token=9, until_ms=2 * LEASE)
        (one,) = [make(row) for row in rows if row.id == raw(11)]
        store.hot.release(connection, [(row.id, 9) for row in rows if row.id != raw(11)])
        return rejoined(connection, endpoint, [one], make, now_ms=LEASE, until_ms=2 * LEASE, token=9)

    (first,), _ = await store.write(claim_one)
    assert {first.delivery_id, *(one.delivery_id for one in first.along)} == {raw(n) for n in (10, 11, 12)}
    assert (await delivery(store, 13))["lease_token"] is None


async def test_the_rest_of_a_batch_keeps_its_traces(store: Store, vault: Vault) -> None:
    """Each event's own."""
    endpoint = await add_endpoint(store, vault, 1)
    contexts = {raw(n): f"00-{n:032x}-{n:016x}-01" for n in (10, 11)}
    rows = [timed_event_row(5_000 + n)._replace(traceparent=contexts[raw(n)]) for n in (10, 11)]
    await store.write(lambda c: store.hot.insert_events(c, rows))
    of_them = [delivery_row(n, 5_000 + n, endpoint, token=7, until=LEASE) for n in (10, 11)]
    await store.write(lambda c: store.hot.insert_deliveries(c, of_them))
    await seal(store, [10, 11], FIRST)
    found = await rest(store, endpoint, FIRST, now=LEASE)
    assert {row.id: row.traceparent for _, row in found} == contexts


async def test_no_batches_are_no_work(store: Store, vault: Vault) -> None:
    """Empty lists are allowed."""
    endpoint = await claimed(store, vault, 1)
    assert await rest(store, endpoint, now=LEASE) == []
    assert await store.read(lambda c: batches.batch_ids(c, [])) == {}


async def test_a_retry_by_hand_leaves_the_batch(store: Store, vault: Vault) -> None:
    """And so does a replay; a result does not."""
    await claimed(store, vault, 4)
    await seal(store, _of(4), FIRST)

    def end(connection: Connection) -> None:
        store.hot.record(
            connection, [outcome(11, 7, State.EXHAUSTED), outcome(12, 7, State.PENDING, due=NOW)], []
        )
        deliveries.retry(connection, encode(DELIVERY, raw(10)), store.roster, now_ms=NOW)
        replay_pages.make_pending(
            connection, [raw(11)], [Again.EXHAUSTED], now_ms=NOW, lease=None, order=None
        )

    await store.write(end)
    left = await store.read(lambda c: batches.batch_ids(c, [raw(n) for n in _of(4)]))
    assert left == {raw(12): FIRST, raw(13): FIRST}


async def test_a_run_ends_where_a_batch_begins_or_ends(store: Store, vault: Vault) -> None:
    """What stands in line is claimed with those with which it was sent, and with no others."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(n, endpoint) for n in (10, 11, 12, 13)])
    await claim(store, endpoint)
    await seal(store, [11, 12], FIRST)
    later = LEASE + 60_000
    assert await claimed_in_line(store, endpoint, now=later) == [[10]]
    await record(store, 10)
    assert await claimed_in_line(store, endpoint, now=later) == [[11, 12]]
    for number in (11, 12):
        await record(store, number)
    assert await claimed_in_line(store, endpoint, now=later) == [[13]]


async def test_of_what_stands_in_line_only_what_is_due_is_counted(store: Store, vault: Vault) -> None:
    """What was published after a look began is due after it: it cannot be claimed in it, so it fills no batch."""
    endpoint, later = await add_endpoint(store, vault, 1), NOW + 5
    await add(
        store, [in_order(n, endpoint, name) for n, name in {10: "=a", 11: "=b", 12: "=a", 13: "=c"}.items()]
    )
    await add(store, [in_order(n, endpoint, "=a", due=later) for n in (14, 15)])

    async def counted(now_ms: int, most: int = 10) -> Counter[str]:
        lines = ["=a", "=c", "=x"]
        return await store.read(lambda c: batches.count_waiting(c, endpoint, lines, most, now_ms=now_ms))

    assert await counted(later - 1) == {"=a": 2, "=c": 1}
    assert await counted(later) == {"=a": 4, "=c": 1}
    assert (await counted(later, most=3)).total() == 3


async def test_a_batch_in_line_is_found_by_the_heads_that_it_has(store: Store, vault: Vault) -> None:
    """In all its lines, where nothing else stands before it."""
    endpoint = await add_endpoint(store, vault, 1)
    names = {10: "=a", 11: "=b", 12: "=a", 13: "=c", 14: "=c"}
    await add(store, [in_order(n, endpoint, name) for n, name in names.items()])
    await claim(store, endpoint)
    await seal(store, [10, 11, 12, 14], FIRST)
    found = await store.read(lambda c: batches.heads_of(c, endpoint, [FIRST, SECOND]))
    assert [(head.sequence, head.id, batch) for head, batch in found] == [
        ("=a", raw(10), FIRST),
        ("=b", raw(11), FIRST),
    ]
    assert await store.read(lambda c: batches.heads_of(c, endpoint, [])) == []
    assert await rest(store, endpoint, FIRST, now=LEASE + 60_000) == []  # it stands in line
