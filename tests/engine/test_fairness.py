"""Who is sick keeps nobody waiting: full backlogs and hanging endpoints beside the events of others."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds

from .embedded import KEY, LOOPBACK
from .receivers import HeldReceiver

SICK = 6
BACKLOG = 400
BOUNDS = LaneBounds(per_endpoint=4, per_process=SICK * 6, held=500)
"""Less room in memory than there is backlog, and hardly more slots for a tenant than the sick ones fill."""
TIGHT = LaneBounds(per_endpoint=4, per_process=SICK * 3, held=500)
"""Fewer slots than the sick ones would fill."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tellwire.db'}" if request.param == "sqlite" else database_in(tmp_path)


async def test_backlogs_of_one_tenant_keep_no_other_waiting(url: str) -> None:
    """Six endpoints of a tenant hang with 400 due deliveries each: all events of another arrive while they do, and
    so do those for a healthy endpoint of the same tenant. When they recover, nothing of theirs is lost."""
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(bounds=BOUNDS, grace_s=1))
    async with AsyncExitStack() as stack:
        sick = [await stack.enter_async_context(HeldReceiver(held=True)) for _ in range(SICK)]
        well = await stack.enter_async_context(HeldReceiver())
        quiet = await stack.enter_async_context(HeldReceiver())
        tellwire = await stack.enter_async_context(Tellwire(url, options))
        for tenant in ("noisy", "quiet"):
            await tellwire.tenants.create(tenant)
        for receiver in sick:
            await tellwire.endpoints.create(receiver.url, tenant="noisy", events=["flood.*"])
        await tellwire.endpoints.create(well.url, tenant="noisy", events=["order.*"])
        await tellwire.endpoints.create(quiet.url, tenant="quiet", events=["*"])
        for _ in range(BACKLOG // 100):
            await tellwire.publish_many([{"type": "flood.came", "data": {}}] * 100, tenant="noisy")
        await asyncio.gather(*(receiver.met(BOUNDS.per_endpoint) for receiver in sick))
        for number in range(100):
            for tenant in ("noisy", "quiet"):
                await tellwire.publish("order.paid", {"n": number}, tenant=tenant)
        await asyncio.gather(quiet.met(100), well.met(100))
        assert [len(receiver.bodies) for receiver in sick] == [BOUNDS.per_endpoint] * SICK
        for receiver in sick:
            receiver.let_go()
        assert await tellwire.drained()
        assert [len(set(receiver.ids)) for receiver in sick] == [BACKLOG] * SICK


async def test_what_hangs_at_one_tenant_leaves_slots_to_others(url: str) -> None:
    """Six endpoints of a tenant would fill more slots than the process has: another's events go out all the same."""
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(bounds=TIGHT, grace_s=1))
    async with AsyncExitStack() as stack:
        sick = await stack.enter_async_context(HeldReceiver(held=True))
        quiet = await stack.enter_async_context(HeldReceiver())
        tellwire = await stack.enter_async_context(Tellwire(url, options))
        for tenant in ("noisy", "quiet"):
            await tellwire.tenants.create(tenant)
        for _ in range(SICK):
            await tellwire.endpoints.create(sick.url, tenant="noisy", events=["*"])
        await tellwire.endpoints.create(quiet.url, tenant="quiet", events=["*"])
        await tellwire.publish_many([{"type": "flood.came", "data": {}}] * 20, tenant="noisy")
        part = TIGHT.per_process * 3 // 4
        await sick.met(part)
        for number in range(50):
            await tellwire.publish("order.paid", {"n": number}, tenant="quiet")
        await quiet.met(50)
        assert len(sick.bodies) == part
        sick.let_go()
        assert await tellwire.drained()
        assert len(sick.bodies) == 20 * SICK


async def test_another_process_comes_to_help_with_a_backlog(url: str) -> None:
    """Who has more than its slots take is not left alone with it until the others look by themselves."""
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(bounds=BOUNDS, grace_s=1))
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(HeldReceiver(held=True))
        first = await stack.enter_async_context(Tellwire(url, options))
        await first.endpoints.create(held.url, events=["*"])
        await stack.enter_async_context(Tellwire(url, options))
        await first.publish_many([{"type": "flood.came", "data": {}}] * BACKLOG)
        async with asyncio.timeout(5):
            await held.met(2 * BOUNDS.per_endpoint)
        held.let_go()
        assert await first.drained()
        assert len(set(held.ids)) == BACKLOG
