"""What a result does, and that it does nothing where its lease has passed to somebody else."""

import msgspec
import pytest
from sqlalchemy import Connection, select

from tellwire.clock import SystemClock
from tellwire.deliver.recorder import Recorder, Result
from tellwire.ids import IdMaker
from tellwire.model.attempt import Evidence
from tellwire.model.claim import Claim
from tellwire.model.delivery import Move, State
from tellwire.model.stats import Span
from tellwire.policy.outcome import Verdict
from tellwire.signing.vault import Vault
from tellwire.store import rollups
from tellwire.store.announcer import Announcer
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES, endpoints
from tellwire.telemetry import Telemetry

from .rows import NOW, add_deliveries, add_endpoint, count_attempts, delivery, delivery_row, raw

GONE = Verdict(Move.EXHAUST, disable_endpoint=True)


@pytest.mark.parametrize("holds", [True, False])
async def test_who_has_lost_its_lease_changes_nothing(store: Store, vault: Vault, holds: bool) -> None:
    """Neither the delivery nor its endpoint nor statistics; who holds it, all of them."""
    id = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 5, id, token=7, until=NOW + 60_000)])
    clock = SystemClock()
    new_id = IdMaker(clock.now_ms)
    announcer = Announcer(store, clock, new_id, lambda lanes, paged: None)
    recorder = Recorder(store, clock, new_id, Telemetry(), lambda result: None, lambda: None, announcer)
    endpoint = await store.read(lambda c: store.roster_in(c).endpoints[id])
    claim = Claim(raw(10), raw(5), id, "evt_1", "order.paid", b"{}", 7 if holds else 8, NOW + 60_000)
    evidence = Evidence(status_code=410, duration_ms=5)
    result = Result(claim, endpoint, evidence, GONE, NOW, NOW + 5)

    def record(connection: Connection) -> list[bool]:
        return recorder._run(connection, [result])

    def counted(connection: Connection) -> int:
        found = rollups.read(
            connection, tenant="default", endpoint_id=id, span=Span.DAY, since_ms=0, until_ms=2 * NOW
        )
        return sum(tally.exhausted + tally.attempts_failed for tally in found)

    assert await store.write(record) == [holds]
    row = await delivery(store, 10)
    assert row["state"] == STATE_CODES[State.EXHAUSTED if holds else State.PENDING]
    state = await store.read(lambda c: c.execute(select(endpoints.c.state)).scalar_one())
    assert state == ("disabled" if holds else "enabled")
    assert await count_attempts(store) == holds
    assert await store.read(counted) == 2 * holds
    late = msgspec.structs.replace(result)
    assert await store.write(lambda c: recorder._run(c, [late])) == [False], "once is enough"
