"""An overloaded receiver that says for how long is left alone for so long, by everything that is for it."""

import asyncio
from pathlib import Path

from tellwire import Tellwire
from tellwire.model.delivery import State, WaitingFor

from .conftest import Received, Receiver, Reply
from .embedded import all_are, deliveries, tellwire_at, until


async def test_retry_after_holds_the_whole_lane_back(tmp_path: Path, receiver: Receiver) -> None:
    """Nothing more is sent to it before the time, no attempts are burned, and others are served; then all arrives."""
    times: list[float] = []
    loop = asyncio.get_running_loop()

    def respond(request: Received) -> Reply:
        if request.path == "/busy":
            times.append(loop.time())
        if len(times) == 1 and request.path == "/busy":
            return Reply(503, headers=[("Retry-After", "4")])
        return Reply()

    receiver.respond = respond
    async with tellwire_at(tmp_path, delays_ms=(1,)) as tellwire:
        busy = receiver.url.replace("/hook", "/busy")
        await tellwire.endpoints.create(busy, events=["first.one", "order.*"])
        await tellwire.endpoints.create(receiver.url, events=["order.*"])
        await tellwire.publish("first.one", {})
        await receiver.met(1)

        async def is_recorded() -> bool:
            (first,) = await deliveries(tellwire)
            return first.attempt_count == 1

        await until(is_recorded)
        for number in range(20):
            await tellwire.publish("order.paid", {"n": number})

        async def others_are_done() -> bool:
            return len(await deliveries(tellwire, State.SUCCEEDED)) == 20

        await until(others_are_done)
        assert len(times) == 1
        await all_are(tellwire, State.SUCCEEDED, 41)
        assert times[1] - times[0] >= 3.99
        counts = sorted(one.attempt_count for one in await deliveries(tellwire))
        assert counts == [1] * 40 + [2]


async def test_a_hold_outlives_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    """Stopping does not wait for a lane that is held back; what waits is given back, and sent when it is lifted."""
    receiver.respond = lambda _: Reply(429, headers=[("Retry-After", "3000")])
    async with tellwire_at(tmp_path, delays_ms=(1,), grace_s=1) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 0})
        await until(lambda: _one_tried(tellwire))
        await tellwire.publish("order.paid", {"n": 1})
        await until(lambda: _one_waits(tellwire))
    receiver.respond = lambda _: Reply()
    async with tellwire_at(tmp_path) as tellwire:
        assert await _one_waits(tellwire)
        assert tellwire.engine is not None
        late = [await tellwire.deliveries.lag_ms(), tellwire.engine.load().waiting_ms]
        assert late == [0, 0], "what waits because its receiver says so is not late"
        await tellwire.endpoints.update(endpoint.id, {"description": "of the large plan"})
        assert await _one_waits(tellwire), "that mends nothing"
        await tellwire.endpoints.update(endpoint.id, {"headers": {"x-plan": "large"}})
        await until(lambda: _one_succeeded(tellwire))


async def _one_succeeded(tellwire: Tellwire) -> bool:
    return len(await deliveries(tellwire, State.SUCCEEDED)) == 1


async def _one_tried(tellwire: Tellwire) -> bool:
    return sum(one.attempt_count for one in await deliveries(tellwire)) == 1


async def _one_waits(tellwire: Tellwire) -> bool:
    found = await deliveries(tellwire, State.PENDING)
    return [one.waiting_for for one in found if not one.attempt_count] == [WaitingFor.RATE]
