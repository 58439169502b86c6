"""A change of order where much waits: page after page takes its place, and the lane is held until all has."""

from functools import partial

import pytest
from sqlalchemy import Connection
from sqlalchemy import update as update_rows

from tellwire.ids import DELIVERY, ENDPOINT, encode
from tellwire.model.delivery import State, WaitingFor
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, endpoints, rearranging
from tellwire.store.postgres import PostgresStore
from tellwire.store.rearranging import Mark, Moved
from tellwire.store.store import Store
from tellwire.store.tables import deliveries as delivery_table

from .rows import NOW, add_endpoint, delivery, raw
from .test_order import add, in_order


async def change(
    store: Store, vault: Vault, order: str, *, at_once: int = 2, changed: bool = True, now: int = NOW
) -> bool:
    """Give endpoint 1 another order, and have what waits there take its place, or begin to."""

    def run(connection: Connection) -> bool:
        settings = EndpointSettings(order=order)  # type: ignore[arg-type]
        endpoints.change(connection, vault, encode(ENDPOINT, raw(1)), {"settings": settings}, now_ms=NOW)
        return rearranging.change(connection, raw(1), order, changed=changed, now_ms=now, at_once=at_once)

    return await store.write(run)


async def move(store: Store, order: str | None, after: bytes, most: int = 2) -> Moved | None:
    """One page; None where somebody else has the mark."""

    def run(connection: Connection) -> Moved | None:
        mark = rearranging.take(connection, raw(1))
        if mark is None:
            return None
        return rearranging.move_page(connection, mark, order, after=after, most=most)

    return await store.write(run)


async def move_all(store: Store, order: str | None, most: int = 2) -> list[Moved]:
    pages = [await move(store, order, await store.read(partial(rearranging.first, endpoint_id=raw(1))), most)]
    while (page := pages[-1]) is not None and not page.ended:
        pages.append(await move(store, order, page.up_to, most))
    return [page for page in pages if page is not None]


async def sequences(store: Store, numbers: range) -> list[str | None]:
    return [(await delivery(store, number))["sequence"] for number in numbers]


async def marks(store: Store) -> list[Mark]:
    return await store.read(rearranging.under_way)


async def fill(store: Store, vault: Vault, count: int = 7) -> range:
    """So many deliveries without an order at endpoint 1, every other of an event with a key; and one elsewhere."""
    endpoint, other = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    numbers = range(10, 10 + count)
    await add(store, [in_order(n, endpoint, None) for n in numbers], {n: "k" for n in numbers if n % 2})
    await add(store, [in_order(99, other, None)])
    return numbers


async def test_little_takes_its_place_at_once(store: Store, vault: Vault) -> None:
    """Up to the bound, what is pending stands in the new order when the change is made, and no mark is left."""
    numbers = await fill(store, vault, 2)
    assert not await change(store, vault, "endpoint")
    assert await sequences(store, numbers) == ["*", "*"]
    assert await marks(store) == []
    assert store.roster.endpoints[raw(1)].rearranging is None


@pytest.mark.parametrize("most", [1, 2, 7, 100])
async def test_much_takes_its_place_in_pages(store: Store, vault: Vault, most: int) -> None:
    """From any order to any other, in pages of any size; nothing at other endpoints is touched."""
    numbers = await fill(store, vault)
    whole, none = ["*"] * 7, [None] * 7
    keyed = ["=k" if n % 2 else None for n in numbers]
    changes = (("endpoint", whole), ("key", keyed), ("none", none), ("key", keyed), ("endpoint", whole))
    for order, expected in changes:
        before = await sequences(store, numbers)
        assert await change(store, vault, order)
        assert await sequences(store, numbers) == before
        pages = await move_all(store, None if order == "none" else order, most)
        assert await sequences(store, numbers) == expected
        assert sum(page.moved for page in pages) == sum(a != b for a, b in zip(before, expected, strict=True))
        assert max(page.moved for page in pages) <= most
        assert await store.write(partial(rearranging.finish, endpoint_id=raw(1), up_to=pages[-1].up_to))
        assert await marks(store) == []
    assert (await delivery(store, 99))["sequence"] is None


async def test_a_lane_rests_until_all_has_its_place(store: Store, vault: Vault) -> None:
    """Every process sees that it is to rest, and that it may go on; what waits says so. Without an order it goes on."""
    await fill(store, vault)
    await change(store, vault, "key")
    assert store.roster.endpoints[raw(1)].rearranging == raw(16)
    for number, expected in ((10, WaitingFor.ORDER), (99, None)):
        get = partial(deliveries.get, id=encode(DELIVERY, raw(number)), now_ms=NOW)
        assert (await store.read(get)).waiting_for is expected
    pages = await move_all(store, "key")
    await store.write(partial(rearranging.finish, endpoint_id=raw(1), up_to=pages[-1].up_to))
    assert store.roster.endpoints[raw(1)].rearranging is None
    await change(store, vault, "none")
    assert store.roster.endpoints[raw(1)].rearranging is None
    assert len(await marks(store)) == 1


async def test_what_is_published_meanwhile_stands_behind(store: Store, vault: Vault) -> None:
    """Whoever's clock it is: what was there, up to a second ahead, comes first; and what is due later does not."""
    numbers = await fill(store, vault)
    await add(
        store, [in_order(n, raw(1), None)._replace(id=id) for n, id in ((50, ahead(900)), (51, ahead(5_000)))]
    )
    await change(store, vault, "endpoint")
    endpoint = store.roster.endpoints[raw(1)]
    assert endpoint.place_of(raw(numbers[0])) > ahead(900)
    assert endpoint.place_of(ahead(901)) == ahead(901)


def ahead(ms: int) -> bytes:
    return (NOW + ms).to_bytes(6, "big") + bytes(9) + b"\1"


async def test_a_second_change_begins_anew(store: Store, vault: Vault) -> None:
    """Whatever has moved already, and although little is left: the last order holds, and only it can be finished."""
    numbers = await fill(store, vault)
    await change(store, vault, "endpoint")
    first = await move(store, "endpoint", raw(9), most=4)
    assert first is not None
    assert await change(store, vault, "key", at_once=100)
    assert not await store.write(partial(rearranging.finish, endpoint_id=raw(1), up_to=first.up_to))
    assert [mark.up_to for mark in await marks(store)] == [None]
    await move_all(store, "key")
    assert await sequences(store, numbers) == ["=k" if n % 2 else None for n in numbers]


async def test_what_blocks_steps_aside(store: Store, vault: Vault) -> None:
    """Also what stands before all that waits, and where only what to do about it has changed; what has ended stays."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(store, [in_order(n, endpoint) for n in range(10, 16)])

    async def put(number: int, state: int) -> None:
        ended = update_rows(delivery_table).where(delivery_table.c.id == raw(number)).values(state=state)
        await store.write(lambda one: one.execute(ended))

    for number, state in ((10, 2), (11, 1), (12, 2), (13, 2)):
        await put(number, state)
    assert await change(store, vault, "endpoint", changed=False)
    await move_all(store, "endpoint")
    assert await sequences(store, range(10, 16)) == [None, "*", None, None, "*", "*"]


async def test_what_somebody_holds_is_not_waited_for(store: Store, second: Store, vault: Vault) -> None:
    """A page ends before it, and the next one begins there. On SQLite nobody holds anything."""
    numbers = await fill(store, vault)
    await change(store, vault, "endpoint")
    pages: list[Moved | None] = []
    if isinstance(second, PostgresStore):
        driver = await second._writer.driver()
        async with driver.transaction():
            await driver.execute("SELECT id FROM deliveries WHERE id = $1 FOR UPDATE", raw(12))
            pages.append(await move(store, "endpoint", raw(9), most=100))
        assert pages[0] is not None
        assert not pages[0].ended
        assert pages[0].up_to < raw(12)
        pages.append(await move(store, "endpoint", pages[0].up_to, most=100))
    else:
        pages.append(await move(store, "endpoint", raw(9), most=100))
    assert pages[-1] is not None
    assert pages[-1].ended
    assert await sequences(store, numbers) == ["*"] * 7


async def test_nothing_is_left_of_a_deleted_endpoint(store: Store, vault: Vault) -> None:
    """With an endpoint goes its mark, and what waited is cancelled."""
    numbers = await fill(store, vault)
    await change(store, vault, "endpoint")
    await store.write(partial(endpoints.delete, id=encode(ENDPOINT, raw(1)), now_ms=NOW))
    assert await marks(store) == []
    get = partial(deliveries.get, id=encode(DELIVERY, raw(numbers[0])), now_ms=NOW)
    assert (await store.read(get)).state is State.CANCELLED
