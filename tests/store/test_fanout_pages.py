"""Wide events: stored with pages of endpoints, which become deliveries in the background, once each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Connection, select

from tellwire.clock import SystemClock
from tellwire.deliver.admission import Admission
from tellwire.deliver.fanner import Fanner
from tellwire.deliver.lanes import LaneBounds, Lanes
from tellwire.deliver.leases import Claiming
from tellwire.ids import ENDPOINT, EVENT, IdMaker, decode, encode
from tellwire.model.claim import Claim
from tellwire.model.event import NewEvent, Receipt, StoredEvent
from tellwire.publish.fanout import Lease
from tellwire.publish.publisher import Publisher
from tellwire.signing.vault import Vault
from tellwire.store import endpoints, events, fanouts
from tellwire.store.pruning import prune
from tellwire.store.store import Store
from tellwire.store.tables import deliveries
from tellwire.telemetry import Fact, PageFannedOut, Telemetry

from .rows import NOW, add_endpoint

AT_ONCE = 3
WIDE = 10
LOOKS = 2_000


async def add_endpoints(store: Store, vault: Vault) -> list[bytes]:
    return [await add_endpoint(store, vault, number) for number in range(1, WIDE + 1)]


async def publish(store: Store, key: str | None = None, claims: list[Claim] | None = None) -> Receipt:
    """Publish one event for all endpoints; it is wide where they are more than three."""
    clock = SystemClock()
    publisher = Publisher(
        store,
        clock,
        IdMaker(clock.now_ms),
        Telemetry(),
        lease=lambda now_ms: Lease(5, now_ms + 60_000, lambda endpoint: True),
        offer=None if claims is None else claims.extend,
        at_once=AT_ONCE,
    )
    return (await publisher.publish([NewEvent("order.paid", b"{}", "default", key)], listed=False))[0]


@asynccontextmanager
async def fanning(
    store: Store, claims: list[Claim], facts: list[Fact] | None = None
) -> AsyncIterator[Callable[[], None]]:
    """A running fanner; gives what wakes it."""
    telemetry, clock = Telemetry(), SystemClock()
    if facts is not None:
        telemetry.subscribe(facts.append)
    lanes = Lanes(LaneBounds(), lambda lane, claim: None, clock)
    fanner = Fanner(
        store,
        lanes,
        clock,
        telemetry,
        new_id=IdMaker(clock.now_ms),
        claiming=Claiming(
            lambda: 7, 60_000, claims.extend, lambda: Admission(lanes, lambda id: False), lambda ids: None
        ),
        expect=lambda _: None,
    )
    task = asyncio.create_task(fanner.run())
    try:
        yield fanner.wake
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_fanned_out(store: Store) -> None:
    for _ in range(LOOKS):
        if not await store.read(fanouts.any_left):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("pages are left")


async def stored(store: Store, receipt: Receipt) -> StoredEvent:
    return await store.read(lambda connection: events.get(connection, receipt.id))


async def reached(store: Store, receipt: Receipt) -> list[bytes]:
    """The endpoints that have a delivery of an event, in their order."""
    query = select(deliveries.c.endpoint_id).where(deliveries.c.event_id == decode(EVENT, receipt.id))
    return sorted(await store.read(lambda connection: connection.execute(query).scalars().all()))


async def test_a_wide_event_is_acknowledged_before_it_is_fanned_out(store: Store, vault: Vault) -> None:
    """The receipt tells all targets, and the stored event for how many of them the fan-out is done."""
    targets = await add_endpoints(store, vault)
    receipt = await publish(store)
    assert receipt.deliveries == WIDE
    assert ((found := await stored(store, receipt)).deliveries, found.fanned_out) == (WIDE, 0)
    claims: list[Claim] = []
    facts: list[Fact] = []
    async with fanning(store, claims, facts) as wake:
        wake()
        await all_fanned_out(store)
    assert (await stored(store, receipt)).fanned_out == WIDE
    assert await reached(store, receipt) == targets
    assert sorted(claim.endpoint_id for claim in claims) == targets
    assert {claim.event_text_id for claim in claims} == {receipt.id}
    told = [fact for fact in facts if isinstance(fact, PageFannedOut)]
    assert [(fact.deliveries, fact.left) for fact in told] == [(3, 7), (3, 4), (3, 1), (1, 0)]


async def test_an_event_at_the_threshold_is_fanned_out_at_once(store: Store, vault: Vault) -> None:
    """With as many targets as a page has, deliveries are made and claimed in the publish transaction."""
    targets = [await add_endpoint(store, vault, number) for number in range(1, AT_ONCE + 1)]
    claims: list[Claim] = []
    receipt = await publish(store, claims=claims)
    assert await reached(store, receipt) == targets
    assert len(claims) == AT_ONCE
    assert (await stored(store, receipt)).fanned_out == AT_ONCE


async def test_several_processes_share_the_pages(store: Store, second: Store, vault: Vault) -> None:
    """Two processes that fan out the same events at once make each delivery once."""
    targets = await add_endpoints(store, vault)
    receipts = [await publish(store) for _ in range(8)]
    claims: list[Claim] = []
    async with fanning(store, claims) as wake, fanning(second, claims) as wake_second:
        wake()
        wake_second()
        await all_fanned_out(store)
    for receipt in receipts:
        assert await reached(store, receipt) == targets
    assert len({claim.delivery_id for claim in claims}) == len(claims) == 8 * WIDE


async def test_a_page_that_fails_is_fanned_out_again(store: Store, vault: Vault) -> None:
    """A transaction that dies after it has taken a page leaves the page, and nothing else."""
    targets = await add_endpoints(store, vault)
    receipt = await publish(store)

    def die(connection: Connection) -> None:
        assert fanouts.take_page(connection) is not None
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(die)
    assert (await stored(store, receipt)).fanned_out == 0
    async with fanning(store, []) as wake:
        wake()
        await all_fanned_out(store)
    assert await reached(store, receipt) == targets


async def test_changes_of_endpoints_meanwhile(store: Store, vault: Vault) -> None:
    """Between publish and fan-out: who is new gets nothing, who is deleted gets nothing, who is disabled keeps it."""
    first, gone, off, *rest = await add_endpoints(store, vault)
    receipt = await publish(store)
    await add_endpoint(store, vault, 50)
    await store.write(lambda c: endpoints.delete(c, encode(ENDPOINT, gone), now_ms=NOW))
    await store.write(
        lambda c: endpoints.change(c, vault, encode(ENDPOINT, off), {"state": "disabled"}, now_ms=NOW)
    )
    claims: list[Claim] = []
    facts: list[Fact] = []
    async with fanning(store, claims, facts) as wake:
        wake()
        await all_fanned_out(store)
    assert await reached(store, receipt) == [first, off, *rest]
    assert sorted(claim.endpoint_id for claim in claims) == [first, *rest]
    assert sum(fact.deleted for fact in facts if isinstance(fact, PageFannedOut)) == 1
    assert (await stored(store, receipt)).fanned_out == WIDE


async def test_the_same_key_again_is_the_same_wide_event(store: Store, vault: Vault) -> None:
    """A retried publish of a wide event is a duplicate, before and after its fan-out, and adds no page."""
    targets = await add_endpoints(store, vault)
    receipt = await publish(store, "k")
    before = await publish(store, "k")
    async with fanning(store, []) as wake:
        wake()
        await all_fanned_out(store)
    after = await publish(store, "k")
    assert (before.id, before.duplicate, before.deliveries) == (receipt.id, True, WIDE)
    assert (after.id, after.duplicate, after.deliveries) == (receipt.id, True, WIDE)
    assert await reached(store, receipt) == targets
    assert not await store.read(fanouts.any_left)


async def test_events_take_turns(store: Store, vault: Vault) -> None:
    """The first pages of all events come before the second page of any."""
    await add_endpoints(store, vault)
    ids = sorted([(await publish(store)).id for _ in range(3)])

    def take(connection: Connection) -> bytes:
        page = fanouts.take_page(connection)
        assert page is not None
        return page.event_id

    taken = [encode(EVENT, await store.write(take)) for _ in range(4)]
    assert taken == [*ids, ids[0]]


async def test_progress_is_told_event_by_event(store: Store, vault: Vault) -> None:
    """What is left of one event is told with its pages, whatever is left of others."""
    await add_endpoints(store, vault)
    ids = [(await publish(store)).id for _ in range(2)]
    facts: list[Fact] = []
    async with fanning(store, [], facts) as wake:
        wake()
        await all_fanned_out(store)
    told = [fact for fact in facts if isinstance(fact, PageFannedOut)]
    for id in ids:
        assert [fact.left for fact in told if fact.event_id == id] == [7, 4, 1, 0]


async def test_what_is_not_wholly_fanned_out_is_not_pruned(store: Store, vault: Vault) -> None:
    """An event that still has pages stays, however old it is."""
    await add_endpoints(store, vault)
    receipt = await publish(store)
    later_ms = receipt.created_ms + 1
    assert await store.write(lambda connection: prune(connection, before_ms=later_ms, limit=10)) == 0
    assert (await stored(store, receipt)).deliveries == WIDE
