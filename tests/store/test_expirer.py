"""What has expired ends, and is counted; where its lease has passed to somebody else, nothing is done."""

import pytest

from tellwire.clock import SystemClock
from tellwire.deliver.expirer import Expirer
from tellwire.ids import IdMaker
from tellwire.model.claim import Claim
from tellwire.model.delivery import State
from tellwire.model.stats import Span
from tellwire.signing.vault import Vault
from tellwire.store import rollups
from tellwire.store.announcer import Announcer
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES
from tellwire.telemetry import Telemetry

from .rows import NOW, add_deliveries, add_endpoint, delivery, delivery_row, raw


@pytest.mark.parametrize("holds", [True, False])
async def test_what_expires_is_exhausted_and_counted(store: Store, vault: Vault, holds: bool) -> None:
    """By who holds it: statistics have it among the exhausted, without an attempt."""
    id = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 5, id, token=7, until=NOW + 60_000)])
    clock = SystemClock()
    announcer = Announcer(store, clock, IdMaker(clock.now_ms), lambda lanes, paged: None)
    expirer = Expirer(store, clock, Telemetry(), lambda claim: None, announcer)
    endpoint = await store.read(lambda c: store.roster_in(c).endpoints[id])
    claim = Claim(raw(10), raw(5), id, "evt_1", "order.paid", b"{}", 7 if holds else 8, NOW + 60_000)
    assert await store.write(lambda c: expirer._run(c, [(claim, endpoint)])) == [holds]
    row = await delivery(store, 10)
    assert row["state"] == STATE_CODES[State.EXHAUSTED if holds else State.PENDING]
    assert row["attempt_count"] == 0
    found = await store.read(
        lambda c: rollups.read(
            c, tenant="default", endpoint_id=id, span=Span.DAY, since_ms=0, until_ms=clock.now_ms() + 1
        )
    )
    assert [(one.exhausted, one.attempts_failed) for one in found] == [(1, 0)] * holds
