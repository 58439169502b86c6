"""The publish transaction on a real store: idempotency keys, and calls that share a transaction."""

import asyncio
from collections.abc import Iterable

import pytest

from tellwire.clock import SystemClock
from tellwire.errors import ConflictError, InvalidInputError
from tellwire.ids import IdMaker
from tellwire.model.claim import Claim
from tellwire.model.event import NewEvent, Receipt
from tellwire.publish.fanout import Lease
from tellwire.publish.publisher import Publisher
from tellwire.signing.vault import Vault
from tellwire.store.store import Store
from tellwire.telemetry import EventsPublished, Fact, Telemetry

from .rows import add_endpoint, count_events


def publisher(
    store: Store, offered: list[Claim] | None = None, telemetry: Telemetry | None = None
) -> Publisher:
    clock = SystemClock()
    lease = None if offered is None else (lambda now_ms: Lease(5, now_ms + 60_000, lambda endpoint: True))
    return Publisher(
        store,
        clock,
        IdMaker(clock.now_ms),
        telemetry or Telemetry(),
        lease=lease,
        offer=None if offered is None else offered.extend,
    )


def paid(number: int = 1, *, key: str | None = None, tenant: str = "default") -> NewEvent:
    return NewEvent("order.paid", b'{"n":%d}' % number, tenant, key)


async def publish(publisher: Publisher, events: Iterable[NewEvent]) -> list[Receipt]:
    return await publisher.publish(list(events), listed=True)


async def test_one_key_published_by_many_at_once_is_one_event(
    store: Store, second: Store, vault: Vault
) -> None:
    """However many tasks and processes publish the same event under one key, it is stored and delivered once."""
    await add_endpoint(store, vault, 1)
    claims: list[Claim] = []
    publishers = [publisher(store, claims), publisher(second, claims)]
    calls = [publish(publishers[n % 2], [paid(key="k")]) for n in range(60)]
    receipts = [receipt for found in await asyncio.gather(*calls) for receipt in found]
    assert len({receipt.id for receipt in receipts}) == 1
    assert [receipt.duplicate for receipt in receipts].count(False) == 1
    assert {receipt.deliveries for receipt in receipts} == {1}
    assert await count_events(store) == 1
    assert len(claims) == 1


async def test_one_key_with_two_contents_conflicts(store: Store) -> None:
    """Of two different events under one key, published at once or one after the other, exactly one is accepted."""
    one = publisher(store)
    found = await asyncio.gather(
        publish(one, [paid(1, key="k")]), publish(one, [paid(2, key="k")]), return_exceptions=True
    )
    assert [type(result) for result in found] == [list, ConflictError]
    with pytest.raises(ConflictError):
        await publish(one, [paid(3, key="k")])
    assert await count_events(store) == 1


async def test_a_key_counts_within_its_tenant(store: Store) -> None:
    """The same key in another tenant is another key."""
    from tellwire.store import tenants

    await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=1))
    receipts = await publish(publisher(store), [paid(1, key="k"), paid(2, key="k", tenant="acme")])
    assert [receipt.duplicate for receipt in receipts] == [False, False]


async def test_one_key_twice_in_one_batch(store: Store) -> None:
    """Within a batch, the same event under the same key is one event; another event under it refuses the batch."""
    one = publisher(store)
    first, again = await publish(one, [paid(1, key="k"), paid(1, key="k")])
    assert (first.id, first.duplicate, again.duplicate) == (again.id, False, True)
    with pytest.raises(ConflictError) as caught:
        await publish(one, [paid(7), paid(1, key="other"), paid(2, key="other")])
    assert caught.value.index == 2
    assert await count_events(store) == 1


async def test_keys_by_the_hundred_are_found_again(store: Store) -> None:
    """A batch of many keys, some known and some new, gives each its own receipt."""
    one = publisher(store)
    before = await publish(one, [paid(n, key=f"k{n}") for n in range(0, 450, 2)])
    after = await publish(one, [paid(n, key=f"k{n}") for n in range(450)])
    assert [receipt.id for receipt in after[::2]] == [receipt.id for receipt in before]
    assert [receipt.duplicate for receipt in after] == [True, False] * 225


async def test_a_refused_call_takes_nobody_with_it(store: Store) -> None:
    """Calls share transactions, but not their errors."""
    one = publisher(store)
    calls = [publish(one, [paid(n, tenant="nobody" if n % 5 == 0 else "default")]) for n in range(20)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, InvalidInputError) for result in found] == [n % 5 == 0 for n in range(20)]
    assert await count_events(store) == 16


async def test_a_poisonous_event_fails_alone(store: Store, vault: Vault) -> None:
    """An event that the database cannot store fails its own call, stores nothing and claims nothing."""
    await add_endpoint(store, vault, 1)
    claims: list[Claim] = []
    one = publisher(store, claims)
    poison = NewEvent("order.paid", b"{}", "default", "\ud800")
    found = await asyncio.gather(
        *[publish(one, [paid(n)]) for n in range(5)], publish(one, [paid(9), poison]), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in found] == [False] * 5 + [True]
    assert await count_events(store) == 5
    assert len(claims) == 5


async def test_each_commit_is_told_once(store: Store) -> None:
    """The facts of all commits together count each event and each duplicate once."""
    telemetry = Telemetry()
    facts: list[Fact] = []
    telemetry.subscribe(facts.append)
    one = publisher(store, telemetry=telemetry)
    await asyncio.gather(*[publish(one, [paid(n % 10, key=f"k{n % 10}")]) for n in range(30)])
    published = [fact for fact in facts if isinstance(fact, EventsPublished)]
    assert sum(fact.events for fact in published) == 10
    assert sum(fact.duplicates for fact in published) == 20
