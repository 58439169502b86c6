"""Leases of what a process holds: extended again and again while it lives; what another has taken is given up."""

import asyncio

from tellwire.clock import SystemClock
from tellwire.deliver.leases import LeaseKeeper
from tellwire.model.claim import Claim
from tellwire.signing.vault import Vault
from tellwire.store.store import Store
from tellwire.telemetry import Telemetry

from .rows import add_deliveries, add_endpoint, delivery, delivery_row, raw

WAIT_S = 30.0
LEASE_MS = 600
LONG_MS = 3_600_000


async def is_extended(claim: Claim) -> int:
    """Wait for it; gives until when it held before."""
    before_ms = claim.lease_until_ms
    async with asyncio.timeout(WAIT_S):
        while claim.lease_until_ms == before_ms:  # noqa: ASYNC110 - a lease that is extended sets no event
            await asyncio.sleep(0.01)
    return before_ms


async def test_what_is_held_stays_held(store: Store, vault: Vault) -> None:
    """A lease that runs low is extended in good time, each time; one that is long enough is left alone, and one that
    another process has taken over is given up."""
    endpoint = await add_endpoint(store, vault, 1)
    now_ms = SystemClock().now_ms()
    untils = [now_ms + LEASE_MS // 2, now_ms + LONG_MS, now_ms + LEASE_MS // 2]
    rows = [delivery_row(n, 100 + n, endpoint, token=7, until=until_ms) for n, until_ms in enumerate(untils)]
    rows[2] = delivery_row(2, 102, endpoint, token=8, until=now_ms + LONG_MS)
    await add_deliveries(store, rows)
    held = [
        Claim(raw(n), raw(100 + n), endpoint, "", "order.paid", b"", 7, until_ms)
        for n, until_ms in enumerate(untils)
    ]
    keeper = LeaseKeeper(store, SystemClock(), Telemetry(), LEASE_MS, lambda: held)
    keeping = asyncio.create_task(keeper.run())
    for _ in range(3):
        before_ms = await is_extended(held[0])
        assert (await delivery(store, 0))["lease_until_ms"] > before_ms
    assert held[0].lease_until_ms >= now_ms + LEASE_MS
    keeping.cancel()
    assert held[2].lease_until_ms == 0
    assert (await delivery(store, 1))["lease_until_ms"] == held[1].lease_until_ms == untils[1]
    assert (await delivery(store, 2))["lease_until_ms"] == now_ms + LONG_MS
