"""Holds: what one process is told of an overloaded receiver, all others find."""

from sqlalchemy import select

from tellwire.ids import ENDPOINT, encode
from tellwire.signing.vault import Vault
from tellwire.store import endpoints, holds
from tellwire.store.store import Store
from tellwire.store.tables import holds as table

from .rows import NOW, add_endpoint, raw


async def hold(store: Store, until_ms: dict[bytes, int], now_ms: int = NOW) -> None:
    await store.write(lambda connection: holds.hold(connection, until_ms, now_ms=now_ms))


async def held(store: Store, now_ms: int = NOW) -> dict[bytes, int]:
    return await store.read(lambda connection: holds.held(connection, now_ms))


async def test_another_process_finds_what_one_was_told(store: Store, second: Store) -> None:
    """Until its end, and not any more from then on."""
    await hold(store, {raw(1): NOW + 5_000, raw(2): NOW + 9_000})
    assert await held(second) == {raw(1): NOW + 5_000, raw(2): NOW + 9_000}
    assert await held(second, NOW + 5_000) == {raw(2): NOW + 9_000}


async def test_the_longest_hold_counts(store: Store, second: Store) -> None:
    """Whoever tells it: a longer one replaces a shorter one, and never the other way round."""
    await hold(store, {raw(1): NOW + 5_000})
    await hold(second, {raw(1): NOW + 7_000})
    await hold(store, {raw(1): NOW + 6_000})
    assert await held(store) == {raw(1): NOW + 7_000}


async def test_a_hold_is_lifted(store: Store, second: Store) -> None:
    """One endpoint's, and a new one may begin."""
    await hold(store, {raw(1): NOW + 5_000, raw(2): NOW + 5_000})
    await second.write(lambda connection: holds.lift(connection, raw(1)))
    assert await held(store) == {raw(2): NOW + 5_000}
    await hold(store, {raw(1): NOW + 1_000})
    assert await held(second) == {raw(1): NOW + 1_000, raw(2): NOW + 5_000}


async def test_what_is_over_for_long_is_forgotten(store: Store) -> None:
    """With the next hold, so that the table is as small as the trouble; but what has just ended is still there."""
    await hold(store, {raw(1): NOW + 1_000, raw(2): NOW + 40_000})
    await hold(store, {raw(3): NOW + 90_000}, NOW + 61_000)
    left = await store.read(lambda connection: set(connection.execute(select(table.c.endpoint_id)).scalars()))
    assert left == {raw(2), raw(3)}


async def test_a_deleted_endpoint_is_not_held(store: Store, vault: Vault) -> None:
    """Nothing is left of it."""
    await add_endpoint(store, vault, 1)
    await hold(store, {raw(1): NOW + 5_000})
    await store.write(lambda c: endpoints.delete(c, encode(ENDPOINT, raw(1)), now_ms=NOW))
    assert await held(store) == {}


async def test_what_is_written_after_the_end_of_an_endpoint_holds_nothing(store: Store, vault: Vault) -> None:
    """Its receiver may have asked for it while it was being deleted."""
    await add_endpoint(store, vault, 1)
    await store.write(lambda c: endpoints.delete(c, encode(ENDPOINT, raw(1)), now_ms=NOW))
    await hold(store, {raw(1): NOW + 5_000, raw(2): NOW + 5_000})
    assert await held(store) == {raw(2): NOW + 5_000}
