"""What one process is told of an overloaded receiver holds for all: two engines on one database, and real processes."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.holds import Holds
from tellwire.model.delivery import Delivery, State, WaitingFor
from tellwire.policy.retry import RetrySchedule
from tellwire.store.roster import Roster
from tellwire.store.store import Store

from .cli_process import Process
from .embedded import KEY, LOOPBACK, all_are, deliveries, until
from .receivers import Answer, HeldReceiver
from .workers import worker

MORE = 20


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    return database_in(tmp_path) if request.param == "postgres" else f"sqlite:///{tmp_path / 'tellwire.db'}"


def on(url: str, *, deliver: bool = True, grace_s: float = 1) -> Tellwire:
    engine = EngineOptions(schedule=RetrySchedule((1,) * 20), grace_s=grace_s)
    return Tellwire(url, Options(deliver=deliver, secret_key=KEY, egress=LOOPBACK, engine=engine))


def busy(seconds: int) -> HeldReceiver:
    """A receiver whose first answer says: not before so many seconds."""

    def answer(number: int) -> Answer:
        return (503, {"retry-after": str(seconds)}) if number == 1 else (200, {})

    return HeldReceiver(answer)


async def endpoints_for(tellwire: Tellwire, held: HeldReceiver, other: HeldReceiver) -> str:
    """One for each receiver, both for orders; the first one's id."""
    endpoint, _ = await tellwire.endpoints.create(held.url, events=["first.one", "order.*"])
    await tellwire.endpoints.create(other.url, events=["order.*"])
    return endpoint.id


async def has_heard(tellwire: Tellwire) -> bool:
    """Whether a lane of this process is held back."""
    assert tellwire.engine is not None
    return tellwire.engine.load().limited == 1


async def untried(tellwire: Tellwire, id: str) -> list[Delivery]:
    """What waits for an endpoint without any attempt."""
    pending = await deliveries(tellwire, State.PENDING)
    return [one for one in pending if one.endpoint_id == id and not one.attempt_count]


async def test_no_other_process_sends_either(url: str) -> None:
    """Whoever publishes: nothing more comes before a new URL lifts the hold; both show why it waits, and until when."""
    began = time.time()
    async with busy(3_000) as held, HeldReceiver() as other, on(url) as one, on(url) as two:
        id = await endpoints_for(one, held, other)
        await one.publish("first.one", {})
        await until(lambda: has_heard(one))
        await until(lambda: has_heard(two))
        for n in range(MORE):
            await (one, two)[n % 2].publish("order.paid", {"n": n})
        await other.met(MORE)
        for tellwire in (one, two):
            waiting = await untried(tellwire, id)
            assert len(waiting) == MORE
            assert {one.waiting_for for one in waiting} == {WaitingFor.RATE}
            (ends,) = {one.waiting_until for one in waiting}
            assert ends is not None
            assert ends.timestamp() >= began + 3_000
        assert len(held.bodies) == 1
        async with HeldReceiver() as well:
            await two.endpoints.update(id, {"url": well.url})
            await well.met(MORE)
        assert len(held.bodies) == 1


async def test_what_waits_is_not_sent_because_its_endpoint_was_deleted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold goes with the endpoint; a process that hears of the one before the other sends nothing between."""
    async with busy(3_000) as held, on(url) as one, on(url, deliver=False) as two:
        endpoint, _ = await one.endpoints.create(held.url, events=["*"], settings={"max_in_flight": 1})
        await one.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(3)])
        await until(lambda: has_heard(one))
        assert one.engine is not None
        assert one.engine.load().waiting == 2
        store, before = one._store, one._store.roster

        def late(self: Store) -> Roster:
            return before if self is store else self._roster  # type: ignore[attr-defined]

        with monkeypatch.context() as patch:
            patch.setattr(type(store), "roster", property(late))
            await two.endpoints.delete(endpoint.id)
            await one.engine._claimer._survey()
            await asyncio.sleep(0.3)
            assert len(held.bodies) == 1
        await until(lambda: is_empty(one))
        assert len(held.bodies) == 1


async def test_a_hold_that_is_written_late_goes_with_its_endpoint(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is deleted before what its receiver has asked for stands in the store: nothing waits for its end."""
    deleted, write = asyncio.Event(), Holds.write

    async def late(self: Holds) -> None:
        await deleted.wait()
        await write(self)

    monkeypatch.setattr(Holds, "write", late)
    async with busy(3_000) as held, on(url) as one, on(url, deliver=False) as two:
        endpoint, _ = await one.endpoints.create(held.url, events=["*"], settings={"max_in_flight": 1})
        await one.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(3)])
        await until(lambda: has_heard(one))
        await two.endpoints.delete(endpoint.id)
        deleted.set()
        await until(lambda: is_empty(one))
        assert len(held.bodies) == 1


async def is_empty(tellwire: Tellwire) -> bool:
    """Whether a process holds nothing to send any more."""
    assert tellwire.engine is not None
    return tellwire.engine.load().held == 0


async def test_all_go_on_when_it_is_over(url: str) -> None:
    """Not before the receiver said, and then everything arrives, whoever has it."""
    times: list[float] = []

    def answer(number: int) -> Answer:
        times.append(time.monotonic())
        return (429, {"retry-after": "3"}) if number == 1 else (200, {})

    async with HeldReceiver(answer) as held, HeldReceiver() as other, on(url) as one, on(url) as two:
        await endpoints_for(one, held, other)
        await one.publish("first.one", {})
        await until(lambda: has_heard(two))
        for n in range(MORE):
            await (one, two)[n % 2].publish("order.paid", {"n": n})
        await all_are(one, State.SUCCEEDED, 2 * MORE + 1)
    assert times[1] - times[0] >= 2.99


async def test_a_process_that_begins_knows_at_once(url: str) -> None:
    """All others have ended meanwhile, and the first thing that it does is to publish."""
    async with busy(3_000) as held, HeldReceiver() as other:
        async with on(url) as one:
            id = await endpoints_for(one, held, other)
            await one.publish("first.one", {})
            await until(lambda: has_heard(one))
        async with on(url) as two:
            await two.publish("order.paid", {})
            await other.met(1)
            assert [one.waiting_for for one in await untried(two, id)] == [WaitingFor.RATE]
        assert len(held.bodies) == 1


async def test_a_process_that_is_stopping_tells_the_others_at_once(url: str) -> None:
    """It waits for what it has sent; what one receiver answers meanwhile is not kept until the last has answered."""
    async with busy(3_000) as held, HeldReceiver() as slow, on(url) as two, on(url, grace_s=20) as one:
        id = await endpoints_for(one, held, slow)
        held.hold()
        slow.hold()
        await one.publish("order.paid", {"n": 1})
        await held.met(1)
        await slow.met(1)
        stopping = asyncio.create_task(one.close())
        await asyncio.sleep(0.2)
        held.let_go()
        await until(lambda: has_heard(two))
        assert not stopping.done()
        slow.let_go()
        await stopping
        await two.publish("first.one", {})
        assert [one.waiting_for for one in await untried(two, id)] == [WaitingFor.RATE]
        assert len(held.bodies) == 1


async def test_it_holds_when_those_who_know_are_killed(
    url: str, tmp_path: Path, workers: list[Process]
) -> None:
    """Two workers, of which one is told; both die, and a third one sends nothing to that receiver either."""
    async with busy(3_000) as held, HeldReceiver() as other, on(url, deliver=False) as tellwire:
        id = await endpoints_for(tellwire, held, other)
        await worker(workers, tmp_path, url)
        await worker(workers, tmp_path, url)
        await tellwire.publish("first.one", {})
        await held.met(1)

        published = 0

        async def one_waits() -> bool:
            nonlocal published
            published += 1
            await tellwire.publish("order.paid", {})
            await other.met(published)
            return WaitingFor.RATE in [one.waiting_for for one in await untried(tellwire, id)]

        await until(one_waits)
        for one in workers:
            one.process.kill()
            one.process.wait()
        await asyncio.sleep(0.2)
        requests = len(held.bodies)  # with one, perhaps, that the other sent before it heard
        for _ in range(MORE):
            await tellwire.publish("order.paid", {})
        await worker(workers, tmp_path, url)
        await other.met(published + MORE)
        assert len(held.bodies) == requests
        async with HeldReceiver() as well:
            await tellwire.endpoints.update(id, {"url": well.url})
            await well.met(MORE)
        assert len(held.bodies) == requests
