"""Ownership of lanes: one owner at a time, until its lease ends or it gives up."""

from sqlalchemy import Connection

from tellwire.store import lanes
from tellwire.store.store import Store

from .rows import NOW, raw

A, B = 2**62 + 1, 7


async def take(store: Store, number: int, owner: int, now_ms: int, lease_ms: int = 60_000) -> lanes.Taken:
    def run(connection: Connection) -> lanes.Taken:
        return lanes.take(connection, raw(number), owner, now_ms=now_ms, until_ms=now_ms + lease_ms)

    return await store.write(run)


async def test_a_lane_has_one_owner_until_its_lease_ends(store: Store) -> None:
    """Who comes second learns when to come again; then the lane was idle since the end of the lease."""
    assert await take(store, 1, A, NOW) == lanes.Taken(True, NOW + 60_000, None)
    assert await take(store, 1, B, NOW + 59_999) == lanes.Taken(False, NOW + 60_000)
    assert await take(store, 2, B, NOW) == lanes.Taken(True, NOW + 60_000, None)
    assert await take(store, 1, B, NOW + 60_000) == lanes.Taken(True, NOW + 120_000, NOW + 60_000)
    assert not (await take(store, 1, A, NOW + 60_001)).mine


async def test_the_owner_renews_and_gives_up(store: Store) -> None:
    """Renewing tells which lanes are still its own; what is given up is anybody's at once."""
    await take(store, 1, A, NOW)
    await take(store, 2, B, NOW)
    ids = [raw(1), raw(2), raw(3)]
    assert await store.write(lambda c: lanes.renew(c, ids, A, until_ms=NOW + 90_000)) == {raw(1)}
    assert not (await take(store, 1, B, NOW + 70_000)).mine
    await store.write(lambda c: lanes.give_up(c, A, now_ms=NOW + 70_000))
    assert await take(store, 1, B, NOW + 70_000) == lanes.Taken(True, NOW + 130_000, NOW + 70_000)
    assert await store.write(lambda c: lanes.renew(c, ids, A, until_ms=NOW + 90_000)) == set()
