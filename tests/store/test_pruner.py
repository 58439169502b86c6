"""The pruner over days: rows and payloads go when their time has come, what was pending then goes later."""

from functools import partial

import pytest

from tellwire.deliver import pruner as pruner_module
from tellwire.deliver.pruner import Pruner
from tellwire.ids import EVENT, encode
from tellwire.signing.vault import Vault
from tellwire.store import events
from tellwire.store.store import Store
from tellwire.telemetry import Telemetry

from .rows import (
    NOW,
    add_deliveries,
    add_endpoint,
    count_events,
    delivery_row,
    event_row,
    outcome,
    raw,
    stored_events,
)

DAY_MS = 86_400_000


class Calendar:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        return self.ms


async def without_data(store: Store) -> list[bool]:
    found = [await store.read(partial(events.get, id=encode(EVENT, raw(100 + n)))) for n in range(2)]
    return [event.data_expired for event in found]


async def test_payloads_go_first_and_events_later(store: Store, vault: Vault) -> None:
    """With two days for payloads and five for events, a pending event keeps all until it is finished."""
    endpoint = await add_endpoint(store, vault, 1)
    rows = [delivery_row(10 + n, 100 + n, endpoint, token=1, until=NOW + 9) for n in range(2)]
    await add_deliveries(store, rows)
    await store.write(lambda connection: store.hot.record(connection, [outcome(10, 1)], []))
    calendar = Calendar()
    pruner = Pruner(store, calendar, Telemetry(), 5, 2, 400)
    await pruner.expire_payloads()
    assert await without_data(store) == [False, False]
    calendar.ms += 2 * DAY_MS + 60_000
    await pruner.expire_payloads()
    assert await without_data(store) == [True, False]
    await store.write(lambda connection: store.hot.record(connection, [outcome(11, 1)], []))
    calendar.ms += DAY_MS
    await pruner.expire_payloads()
    assert await without_data(store) == [True, True]
    assert await pruner.prune() == 0
    calendar.ms += 3 * DAY_MS  # on PostgreSQL it is whole days that go
    assert await pruner.prune() == 2
    assert await count_events(store) == 0


async def test_many_go_in_small_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are too old, all of them go in one turn, a few in each transaction; their data likewise."""
    monkeypatch.setattr(pruner_module, "_AT_A_TIME", 3)
    monkeypatch.setattr(pruner_module, "_PAYLOADS_AT_A_TIME", 3)
    rows = [event_row(100 + n) for n in range(7)]
    await store.write(lambda connection: store.hot.insert_events(connection, rows))
    calendar = Calendar()
    pruner = Pruner(store, calendar, Telemetry(), 5, 2, 400)
    calendar.ms += 3 * DAY_MS
    await pruner.expire_payloads()
    assert [bool(row["data"]) for row in await stored_events(store)] == [False] * 7
    calendar.ms += 3 * DAY_MS
    assert await pruner.prune() == 7
    assert await count_events(store) == 0
