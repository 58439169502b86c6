"""The claimer at odd hours: clocks that are set back, backlogs that never end, releases that come late."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tellwire import Options, Tellwire
from tellwire.clock import SystemClock
from tellwire.deliver import claimer
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds
from tellwire.model.delivery import State
from tellwire.policy.retry import RetrySchedule

from .embedded import KEY, LOOPBACK, all_are, locked, tellwire_at
from .receivers import WAIT_S, HeldReceiver


class ShiftedClock:
    """The machine's clock, which somebody may set."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.shift_ms


async def test_a_clock_that_is_set_back_stops_nothing(tmp_path: Path) -> None:
    """After the clock went back by an hour, what other processes publish is still found and delivered."""
    clock = ShiftedClock()
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(schedule=RetrySchedule((10, 10))))
    async with (
        HeldReceiver() as receiver,
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire,
    ):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        assert await tellwire.drained()
        clock.shift_ms = -3_600_000
        publisher = Tellwire(
            f"sqlite:///{tmp_path / 'tellwire.db'}",
            Options(secret_key=KEY, egress=LOOPBACK, deliver=False),
            clock=clock,
        )
        async with publisher:
            await publisher.publish("order.paid", {"n": 2})
            await receiver.met(2)


async def test_a_busy_process_still_looks_what_others_have_published(tmp_path: Path) -> None:
    """While a backlog keeps the claimer at work without a pause, events of other processes do not wait for its end."""
    bounds = LaneBounds(per_endpoint=1, per_process=10, held=2)
    async with (
        HeldReceiver() as busy,
        HeldReceiver() as other,
        tellwire_at(tmp_path, deliver=False) as publisher,
        tellwire_at(tmp_path, bounds=bounds) as tellwire,
    ):
        await publisher.endpoints.create(busy.url, events=["busy.*"])
        await publisher.endpoints.create(other.url, events=["other.*"])
        busy_on = asyncio.create_task(_keep_busy(tellwire))
        await busy.met(100)
        receipt = await publisher.publish("other.thing", {"n": 1})
        await asyncio.wait_for(other.met(1), WAIT_S)
        assert other.ids == [receipt.id]
        assert await tellwire.deliveries.count_due() > 500  # the backlog has not ended meanwhile
        busy_on.cancel()


async def _keep_busy(tellwire: Tellwire) -> None:
    """Publish for the busy endpoint without end, faster than it receives."""
    events = [{"type": "busy.bee", "data": {"n": n}} for n in range(500)]
    while True:
        if await tellwire.deliveries.count_due() < 1_500:
            await tellwire.publish_many(events)


async def test_what_is_pending_at_a_deleted_endpoint_is_cancelled(tmp_path: Path) -> None:
    """A publish that did not see yet that an endpoint was deleted leaves a delivery that ends as cancelled."""
    async with tellwire_at(tmp_path, deliver=False) as publisher:
        endpoint, _ = await publisher.endpoints.create("https://example.com/", events=["*"])
        await publisher.publish("order.paid", {"n": 1})
        await publisher.endpoints.delete(endpoint.id)
        # What another process leaves behind that read the control plane before the deletion and committed after it.
        database = await locked(tmp_path / "tellwire.db")
        database.execute("UPDATE deliveries SET state = 0, due_ms = created_ms, finished_ms = NULL")
        database.execute("COMMIT")
        database.close()
    async with tellwire_at(tmp_path) as tellwire:
        await all_are(tellwire, State.CANCELLED, 1)


class SlowClock(SystemClock):
    """As if whatever happens between two looks at it had taken a second, from some time on."""

    late_ms = 0
    apart_ms = 0

    def now_ms(self) -> int:
        self.late_ms += self.apart_ms
        return super().now_ms() + self.late_ms


async def test_a_pass_that_takes_long_leaves_lanes_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where claiming in one lane takes long, the others are claimed in by the passes that follow, and all is sent."""
    monkeypatch.setattr(claimer, "_SURVEY_EVERY_MS", 1_000_000_000)  # no survey finds what was left out
    claim, passes = claimer.Claimer._claim_in, list[Any]()

    def claim_in(self: claimer.Claimer, connection: Any, endpoint: Any, found: Any, in_order: Any) -> None:
        passes.append(found)
        claim(self, connection, endpoint, found, in_order)

    monkeypatch.setattr(claimer.Claimer, "_claim_in", claim_in)
    clock = SlowClock()
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(schedule=RetrySchedule((10, 10))))
    async with HeldReceiver() as receiver, tellwire_at(tmp_path, deliver=False) as publisher:
        for _ in range(5):
            await publisher.endpoints.create(receiver.url, events=["*"])
        await publisher.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(10)])
        clock.apart_ms = 50
        async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire:
            await receiver.met(50)
            await all_are(tellwire, State.SUCCEEDED, 50)
    assert len({id(one) for one in passes}) == len(passes) >= 5  # one lane each


async def test_a_long_backlog_leaves_room_in_each_pass_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits at an endpoint that has room for it: a hundred of them are claimed in a pass, which is one
    transaction, and the next goes on."""
    claim, taken = claimer.Claimer._claim_in, list[int]()

    def claim_in(self: claimer.Claimer, connection: Any, endpoint: Any, found: Any, in_order: Any) -> None:
        before = len(found.claims)
        claim(self, connection, endpoint, found, in_order)
        taken.append(len(found.claims) - before)

    monkeypatch.setattr(claimer.Claimer, "_claim_in", claim_in)
    async with HeldReceiver() as receiver:
        async with tellwire_at(tmp_path, deliver=False) as publisher:
            await publisher.endpoints.create(receiver.url, events=["*"])
            await publisher.publish_many({"type": "order.paid", "data": {"n": n}} for n in range(250))
        async with tellwire_at(tmp_path, bounds=LaneBounds(per_endpoint=300)):
            await receiver.met(250)
    assert [some for some in taken if some] == [100, 100, 50]
