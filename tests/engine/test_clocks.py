"""Hosts whose clocks are wrong by half a minute change nothing on PostgreSQL: the server's clock rules."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.clock import SystemClock, to_ms
from tellwire.deliver.engine import EngineOptions
from tellwire.model.delivery import State
from tellwire.policy.retry import RetrySchedule

from .embedded import LOOPBACK, until
from .receivers import HeldReceiver

WRONG_MS = 30_000
NEAR_MS = 10_000
"""Far less than clocks are wrong by, far more than anything takes."""

both_ways = pytest.mark.parametrize("wrong_ms", [WRONG_MS, -WRONG_MS], ids=["fast", "slow"])


class HostClock:
    """The clock of a host that is wrong."""

    def __init__(self, wrong_ms: int) -> None:
        self.wrong_ms = wrong_ms

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.wrong_ms


def on(
    folder: Path, wrong: int | HostClock, *, deliver: bool = True, delays_ms: tuple[int, ...] = (300,)
) -> Tellwire:
    """A Tellwire on a host whose clock is wrong, by so many milliseconds."""
    engine = EngineOptions(schedule=RetrySchedule(delays_ms), timeout_s=5, lease_s=20)
    options = Options(secret_key="ab" * 32, egress=LOOPBACK, deliver=deliver, engine=engine)
    return Tellwire(database_in(folder), options, clock=HostClock(wrong) if isinstance(wrong, int) else wrong)


@both_ways
async def test_what_one_host_publishes_another_sends_at_once(tmp_path: Path, wrong_ms: int) -> None:
    """Neither does it look not yet due to a slow clock, nor is it signed with a wrong time."""
    async with (
        HeldReceiver() as receiver,
        on(tmp_path, -wrong_ms, deliver=False) as publisher,
        on(tmp_path, wrong_ms),
    ):
        await publisher.endpoints.create(receiver.url, events=["*"])
        await publisher.publish("order.paid", {})
        await asyncio.wait_for(receiver.met(1), NEAR_MS / 1000)
        (delivery,) = (await publisher.deliveries.list()).data
        assert abs(to_ms(delivery.created_at) - SystemClock().now_ms()) < NEAR_MS


@both_ways
async def test_no_lease_is_stolen(tmp_path: Path, wrong_ms: int) -> None:
    """What a process holds is its own until the lease ends by the server's clock: nothing is sent twice."""
    async with HeldReceiver(held=True) as receiver, AsyncExitStack() as stack:
        first = await stack.enter_async_context(on(tmp_path, -wrong_ms))
        await first.endpoints.create(receiver.url, events=["*"])
        await first.publish("order.paid", {"n": 1})
        await receiver.met(1)
        thief = await stack.enter_async_context(on(tmp_path, wrong_ms))
        assert thief.engine is not None
        thief.engine.expect(0)
        await thief.publish("order.paid", {"n": 2})  # the thief works: it sends what is its own
        await receiver.met(2)
        assert len(set(receiver.ids)) == 2
        receiver.let_go()
        assert await first.drained()
        assert await thief.drained()
        assert len(receiver.ids) == 2


@both_ways
async def test_a_retry_is_neither_early_nor_late(tmp_path: Path, wrong_ms: int) -> None:
    """What a host with a wrong clock has recorded for later is sent by another, with the other wrong clock, on time."""
    delay_ms = 1_000
    async with (
        HeldReceiver(lambda number: (500 if number == 1 else 200, {})) as receiver,
        on(tmp_path, -wrong_ms) as second,
    ):
        async with on(tmp_path, wrong_ms, delays_ms=(delay_ms,)) as first:
            await first.endpoints.create(receiver.url, events=["*"])
            await first.publish("order.paid", {})

            async def recorded() -> bool:
                (delivery,) = (await first.deliveries.list()).data
                return delivery.attempt_count == 1

            await until(recorded)

        async def succeeded() -> bool:
            (delivery,) = (await second.deliveries.list()).data
            return delivery.state is State.SUCCEEDED

        await until(succeeded)
        (found,) = (await second.deliveries.list()).data
        _, attempts = await second.deliveries.get(found.id)
        apart_ms = to_ms(attempts[1].started_at) - to_ms(attempts[0].started_at)
        assert delay_ms * 0.9 <= apart_ms < NEAR_MS


@both_ways
async def test_a_clock_that_is_set_while_it_works(tmp_path: Path, wrong_ms: int) -> None:
    """A host whose clock is set forwards or back goes on as if nothing had happened."""
    clock = HostClock(0)
    async with HeldReceiver() as receiver, on(tmp_path, clock) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        await receiver.met(1)
        clock.wrong_ms = wrong_ms
        await tellwire.publish("order.paid", {"n": 2})
        await asyncio.wait_for(receiver.met(2), NEAR_MS / 1000)
        assert await tellwire.drained()
