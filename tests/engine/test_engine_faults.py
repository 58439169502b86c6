"""Faults of our own and changes of mind: an agent that fails begins anew, what was cancelled is not sent."""

from pathlib import Path

import msgspec
from sqlalchemy import Connection
from tests.engine.embedded import all_are, deliveries, tellwire_at, until
from tests.engine.receivers import HeldReceiver

from tellwire.deliver.lanes import LaneBounds
from tellwire.model.delivery import State
from tellwire.telemetry import EngineFaulted, Fact


async def test_an_agent_that_fails_begins_anew(tmp_path: Path) -> None:
    """A fault in the claimer is told, and what another process publishes afterwards is delivered all the same."""
    facts: list[Fact] = []
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        tellwire.telemetry.subscribe(facts.append)
        await tellwire.endpoints.create(receiver.url, events=["*"])
        hot = tellwire._store.hot
        look, fails = hot.ready_lanes, iter([True])

        def fail_once(connection: Connection) -> list[tuple[bytes, int]]:
            if next(fails, False):
                raise RuntimeError("a fault of our own")
            return look(connection)

        hot.ready_lanes = fail_once  # type: ignore[method-assign]
        async with tellwire_at(tmp_path, deliver=False) as other:
            await other.publish("order.paid", {})
        await all_are(tellwire, State.SUCCEEDED, 1)
    faults = [fact for fact in facts if isinstance(fact, EngineFaulted)]
    assert [fault.where for fault in faults] == ["claimer"]
    assert "a fault of our own" in faults[0].error


async def test_what_was_cancelled_while_it_waited_is_not_sent(tmp_path: Path) -> None:
    """A claim that waits in memory for a slot is not sent once its delivery is cancelled."""
    async with (
        HeldReceiver() as receiver,
        tellwire_at(tmp_path, bounds=LaneBounds(per_endpoint=1)) as tellwire,
    ):
        receiver.hold()
        await tellwire.endpoints.create(receiver.url, events=["*"])
        for number in range(3):
            await tellwire.publish("order.paid", {"number": number})
        await receiver.met(1)
        first, second, third = await deliveries(tellwire)
        await tellwire.deliveries.cancel(second.id)
        receiver.let_go()

        async def both_are_through() -> bool:
            return len(await deliveries(tellwire, State.SUCCEEDED)) == 2

        await until(both_are_through)
        sent = [msgspec.json.decode(body)["data"]["number"] for body in receiver.bodies]
        assert sent == [0, 2]
        states = {one.id: one.state for one in await deliveries(tellwire)}
        assert states == {first.id: State.SUCCEEDED, second.id: State.CANCELLED, third.id: State.SUCCEEDED}


async def test_paused_endpoints_hold_nothing_in_memory(tmp_path: Path) -> None:
    """Deliveries of a paused endpoint stay in the store, without a lease, until it is resumed."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.endpoints.pause(endpoint.id)
        for _ in range(5):
            await tellwire.publish("order.paid", {})
        assert tellwire.engine is not None
        assert tellwire.engine.held == 0
        await tellwire.endpoints.resume(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, 5)
