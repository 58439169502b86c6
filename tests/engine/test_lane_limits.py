"""What an endpoint can take holds across processes: here two engines on one database, and one that dies."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import Lanes
from tellwire.model.claim import Claim
from tellwire.model.delivery import State, WaitingFor

from .embedded import KEY, LOOPBACK, all_are, deliveries, tellwire_at, until
from .receivers import HeldReceiver

EVENTS = 60


def on(url: str, *, deliver: bool = True) -> Tellwire:
    engine = EngineOptions(grace_s=1)
    return Tellwire(url, Options(deliver=deliver, secret_key=KEY, egress=LOOPBACK, engine=engine))


async def test_two_processes_together_keep_to_the_slots(tmp_path: Path) -> None:
    """With both publishing and delivering, never more requests are in the air than the endpoint takes."""
    url = database_in(tmp_path)
    async with (
        HeldReceiver(held=True) as receiver,
        HeldReceiver() as other,
        on(url) as one,
        on(url) as two,
    ):
        await one.endpoints.create(receiver.url, events=["order.*"], settings={"max_in_flight": 3})
        await one.endpoints.create(other.url, events=["other"])
        await asyncio.gather(*[(one, two)[n % 2].publish("order.paid", {"n": n}) for n in range(EVENTS)])
        await receiver.met(3)
        for n in range(20):  # by the time that these have come, more than three would have come too
            await (one, two)[n % 2].publish("other", {})
            await other.met(n + 1)
        receiver.let_go()
        await all_are(one, State.SUCCEEDED, EVENTS + 20)
        assert receiver.most_waiting <= 3
        assert len(receiver.ids) == len(set(receiver.ids)) == EVENTS


async def test_a_lane_that_is_forgotten_while_somebody_publishes_keeps_to_its_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A survey drops idle lanes; one that comes between the look at the lane and the commit takes no limit with it."""
    take = Lanes.take

    def forget_and_take(self: Lanes, claim: Claim) -> None:
        self.forget_idle(lambda _: False)
        take(self, claim)

    monkeypatch.setattr(Lanes, "take", forget_and_take)
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"max_in_flight": 2})
        await tellwire.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(10)])
        await receiver.met(2)
        await asyncio.sleep(0.2)
        assert len(receiver.bodies) == 2
        receiver.let_go()
        await all_are(tellwire, State.SUCCEEDED, 10)
    assert receiver.most_waiting == 2


async def test_two_processes_together_keep_to_the_rate(tmp_path: Path) -> None:
    """In no stretch of time do more arrive than the rate and the burst allow, though both publish at once."""
    url = database_in(tmp_path)
    begun: list[float] = []

    def answer(_: int) -> tuple[int, dict[str, str]]:
        begun.append(time.monotonic())
        return 200, {}

    limit = {"limit": 50, "per": "second", "burst": 5}
    async with HeldReceiver(answer) as receiver, on(url) as one, on(url) as two:
        await one.endpoints.create(receiver.url, events=["*"], settings={"rate_limit": limit})
        await asyncio.gather(*[(one, two)[n % 2].publish("order.paid", {"n": n}) for n in range(EVENTS)])
        await all_are(one, State.SUCCEEDED, EVENTS)
    assert len(begun) == EVENTS
    jitter_s = 0.1  # between beginning an attempt and its arrival, on a busy machine
    for first in range(EVENTS):
        for last in range(first, EVENTS):
            window_s = begun[last] - begun[first] + jitter_s
            assert last - first + 1 <= 5 + 50 * window_s


async def test_a_lane_goes_to_another_when_its_owner_stops(tmp_path: Path) -> None:
    """What the one that stops leaves, the other sends, still within the slots."""
    url = database_in(tmp_path)
    async with HeldReceiver(held=True) as receiver, on(url) as stays:
        async with on(url) as goes:
            await goes.endpoints.create(receiver.url, events=["*"], settings={"max_in_flight": 1})
            for n in range(5):
                await goes.publish("order.paid", {"n": n})
            await receiver.met(1)
            receiver.let_go()
        await all_are(stays, State.SUCCEEDED, 5)
        assert receiver.most_waiting == 1


@pytest.mark.parametrize("settings", [{"max_in_flight": 1}, {"rate_limit": {"limit": 1000}}])
async def test_the_first_event_of_a_lane_is_sent_at_once(tmp_path: Path, settings: dict[str, object]) -> None:
    """Nobody owns its lane yet: the claimer is told to take it, and need not search."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        begun = time.monotonic()
        await tellwire.publish("order.paid", {})
        await receiver.met(1)
        assert time.monotonic() - begun < 5  # the next search of all lanes is ten seconds away


async def test_a_limit_is_set_and_taken_back_while_events_flow(tmp_path: Path) -> None:
    """Nothing is lost or sent twice on the way."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        for n in range(EVENTS):
            await tellwire.publish("order.paid", {"n": n})
            if n % 10 == 5:
                limit = 2 if n % 20 == 5 else None
                await tellwire.endpoints.update(endpoint.id, {"max_in_flight": limit})
        await all_are(tellwire, State.SUCCEEDED, EVENTS)
        assert sorted(receiver.ids) == sorted(set(receiver.ids))


async def test_what_waits_for_a_slot_shows_why(tmp_path: Path) -> None:
    """So it does where the endpoint limits how many may be in the air; once they have landed, nothing waits."""
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"max_in_flight": 1})
        for n in range(3):
            await tellwire.publish("order.paid", {"n": n})

        async def shown() -> bool:
            return {one.waiting_for for one in await deliveries(tellwire)} == {WaitingFor.RATE}

        await until(shown)
        receiver.let_go()
        await all_are(tellwire, State.SUCCEEDED, 3)
        assert {one.waiting_for for one in await deliveries(tellwire)} == {None}


async def test_what_is_held_back_shows_why_and_keeps_its_attempts(tmp_path: Path) -> None:
    """By the rate, by a pause, by being disabled; one that has ended or is sent waits for nothing."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        settings = {"rate_limit": {"limit": 1, "per": "minute", "burst": 1}}
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        for n in range(3):
            await tellwire.publish("order.paid", {"n": n})

        async def shown() -> bool:
            found = await deliveries(tellwire)
            waits = [one.waiting_for for one in found if one.state is State.PENDING]
            return waits == [WaitingFor.RATE] * 2

        await until(shown)
        found = await deliveries(tellwire)
        assert [(one.attempt_count, one.waiting_for) for one in found if one.state is State.SUCCEEDED] == [
            (1, None)
        ]
        assert {one.attempt_count for one in found if one.state is State.PENDING} == {0}
        await tellwire.endpoints.pause(endpoint.id)
        found = await deliveries(tellwire, State.PENDING)
        assert {one.waiting_for for one in found} == {WaitingFor.PAUSED}
        await tellwire.endpoints.disable(endpoint.id)
        found = await deliveries(tellwire, State.PENDING)
        assert {one.waiting_for for one in found} == {WaitingFor.DISABLED}
        await tellwire.endpoints.update(endpoint.id, {"rate_limit": None})
        await tellwire.endpoints.enable(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, 3)


async def test_a_rate_that_is_taken_back_frees_what_waited(tmp_path: Path) -> None:
    """Though nothing else moves in the lane, and its next token is a minute away."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        settings = {"rate_limit": {"limit": 1, "per": "minute", "burst": 1}}
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        for n in range(3):
            await tellwire.publish("order.paid", {"n": n})
        await receiver.met(1)
        await tellwire.endpoints.update(endpoint.id, {"rate_limit": None})
        await all_are(tellwire, State.SUCCEEDED, 3)
