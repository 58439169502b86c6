"""Answers that are kept for idempotency keys: one request takes a key, whoever else comes is told what is known."""

import asyncio
from functools import partial

from tellwire.store.answers import (
    IN_DOUBT,
    KEPT_MS,
    LEASE_MS,
    KeptAnswer,
    begin,
    finish,
    forget_answers,
    release,
)
from tellwire.store.store import Store

from .rows import NOW

ID, OTHER, PRINT = b"i" * 32, b"o" * 32, b"f" * 32


async def take(store: Store, now_ms: int = NOW, id: bytes = ID) -> KeptAnswer | None:
    return await store.write(partial(begin, id=id, fingerprint=PRINT, now_ms=now_ms))


async def test_one_of_many_takes_a_key(store: Store, second: Store) -> None:
    """Of requests that come at once to two processes, one begins; the others see that it has."""
    found = await asyncio.gather(*(take(one) for one in [store, second] * 10))
    assert found.count(None) == 1
    assert {one for one in found if one} == {KeptAnswer(PRINT, NOW, None, None)}


async def test_answer_is_kept_for_a_day(store: Store) -> None:
    """Then the key is free; one that was given back is free at once, and an answer cannot be given back."""
    assert await take(store) is None
    await store.write(partial(release, id=ID, started_ms=NOW))
    assert await take(store) is None
    await store.write(partial(finish, id=ID, started_ms=NOW, status=201, sealed=b"s"))
    await store.write(partial(release, id=ID, started_ms=NOW))
    assert await take(store, NOW + KEPT_MS - 1) == KeptAnswer(PRINT, NOW, 201, b"s")
    assert await take(store, NOW + KEPT_MS) is None


async def test_key_is_taken_over(store: Store, second: Store) -> None:
    """When its request has died, by one of many; what the dead one writes late changes nothing. Not when in doubt."""
    late = NOW + LEASE_MS
    assert await take(store) is None
    assert await take(store, late - 1) is not None
    assert await store.write(partial(begin, id=ID, fingerprint=OTHER, now_ms=late)) is not None
    found = await asyncio.gather(*(take(one, late) for one in [store, second] * 10))
    assert found.count(None) == 1
    await store.write(partial(release, id=ID, started_ms=NOW))
    await store.write(partial(finish, id=ID, started_ms=NOW, status=201, sealed=b"s"))
    assert await take(store, late) == KeptAnswer(PRINT, late, None, None)
    await store.write(partial(finish, id=ID, started_ms=late, status=IN_DOUBT, sealed=None))
    assert await take(store, late + LEASE_MS) == KeptAnswer(PRINT, late, IN_DOUBT, None)


async def test_old_answers_are_forgotten(store: Store) -> None:
    """Some at a time, finished or not; young ones stay."""
    for number in range(5):
        assert await take(store, NOW + number, bytes([number]) * 32) is None
    for expected in (2, 1, 0):
        assert await store.write(partial(forget_answers, before_ms=NOW + 3, limit=2)) == expected
    assert await take(store, NOW, bytes([3]) * 32) is not None
    assert await take(store, NOW, bytes([2]) * 32) is None
