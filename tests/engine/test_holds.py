"""The holds of one process: what it is told it writes down, what others were told it keeps to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tellwire.clock import SystemClock
from tellwire.deliver.holds import Holds
from tellwire.deliver.lane import Lane
from tellwire.deliver.lanes import LaneBounds, Lanes
from tellwire.ending import end
from tellwire.signing.vault import Vault
from tellwire.store.holds import held
from tellwire.store.sqlite import SqliteStore
from tellwire.store.store import Store
from tellwire.telemetry import Telemetry

from .embedded import KEY, until

LONG_MS = 600_000


class Process:
    """The holds of a process, and the lanes that it has let go."""

    def __init__(self, store: Store) -> None:
        self.clock = SystemClock()
        self.lanes = Lanes(LaneBounds(), lambda lane, claim: None, self.clock)
        self.gone_on: list[tuple[bytes, int]] = []
        self.holds = Holds(store, self.lanes, self.clock, Telemetry(), self._let_go)

    def is_held(self, number: int) -> bool:
        return self.lane(number).limit.allowed == 0

    def lane(self, number: int) -> Lane:
        return self.lanes[id_of(number)]

    def _let_go(self, lane: Lane) -> None:
        self.gone_on.append((lane.endpoint_id, self.clock.now_ms()))


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = SqliteStore(tmp_path / "tellwire.db", Vault.from_setting(KEY))
    await store.open()
    yield store
    await store.close()


async def test_many_holds_are_few_writes(store: Store) -> None:
    """1,200 endpoints that all refuse at once are three writes, however often they say so meanwhile."""
    process = Process(store)
    end_ms = process.clock.now_ms() + LONG_MS
    for more in range(20):
        for number in range(1_200):
            process.holds.hold(process.lane(number), end_ms + more)
    agent = asyncio.create_task(process.holds.run())

    async def all_are_there() -> bool:
        return len(await store.read(lambda connection: held(connection, 0))) == 1_200

    await until(all_are_there)
    assert process.holds.writes == 3
    assert set((await store.read(lambda connection: held(connection, 0))).values()) == {end_ms + 19}
    await end([agent])


async def test_what_others_were_told_holds_here(store: Store) -> None:
    """Also in a lane that this process has not seen yet; a longer hold replaces a shorter one, and only so."""
    one, other = Process(store), Process(store)
    now_ms = one.clock.now_ms()
    one.holds.hold(one.lane(1), now_ms + LONG_MS)
    await one.holds.write()
    await other.holds.look()
    assert other.is_held(1)
    other.holds.hold(other.lane(1), now_ms + LONG_MS // 2)
    await other.holds.write()
    assert other.holds.writes == 0, "nothing that would not be there already"
    other.holds.hold(other.lane(1), now_ms + 2 * LONG_MS)
    await other.holds.write()
    assert await store.read(lambda connection: held(connection, now_ms)) == {id_of(1): now_ms + 2 * LONG_MS}


async def test_who_was_not_told_goes_on_a_moment_later(store: Store) -> None:
    """So that the one that was told tries first, and the others hear what came of it."""
    one, other = Process(store), Process(store)
    end_ms = one.clock.now_ms() + 300
    one.holds.hold(one.lane(1), end_ms)
    other.holds.heard({id_of(1): end_ms}, end_ms - 300, 0)

    async def both_have_gone_on() -> bool:
        return len(one.gone_on) == len(other.gone_on) == 1

    await until(both_have_gone_on)
    assert one.gone_on[0][1] >= end_ms
    assert other.gone_on[0][1] >= end_ms + 500
    assert one.lane(1).limit.allowed == other.lane(1).limit.allowed == 1, "a single attempt goes first"


async def test_a_hold_that_is_gone_from_the_store_is_over(store: Store) -> None:
    """Somebody has lifted it; but a look that began before it was written says nothing of it."""
    process = Process(store)
    now_ms = process.clock.now_ms()
    before = process.holds.writes
    process.holds.hold(process.lane(1), now_ms + LONG_MS)
    process.holds.heard({}, now_ms, before)
    assert process.is_held(1)
    await process.holds.write()
    process.holds.heard({}, now_ms, before)
    assert process.is_held(1)
    process.holds.heard({}, now_ms, process.holds.writes, lifts=False)
    assert process.is_held(1)
    process.holds.heard({}, now_ms, process.holds.writes)
    assert not process.is_held(1)
    assert [id for id, _ in process.gone_on] == [id_of(1)]


async def test_a_stop_ends_no_hold(store: Store) -> None:
    """What is told in the last moments is written all the same, and nothing goes on by itself."""
    process = Process(store)
    process.holds.stop()
    process.holds.hold(process.lane(1), process.clock.now_ms() + LONG_MS)
    await process.holds.write()
    assert list(await store.read(lambda connection: held(connection, 0))) == [id_of(1)]
    assert process.gone_on == []
