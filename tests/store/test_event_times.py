"""Events with times of their own, in both stores: kept, claimed, ended, cancelled, never pruned too early."""

from functools import partial

import pytest
from sqlalchemy import Connection, select

from tellwire.deliver.pruner import Pruner
from tellwire.errors import ConflictError
from tellwire.ids import DELIVERY, EVENT, encode
from tellwire.model.delivery import State
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, events
from tellwire.store.deliveries import cancel_event
from tellwire.store.rows import ClaimedRow, DeliveryRow, EventRow, TimedEventRow
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES, fanout_pages
from tellwire.store.tables import events as event_table
from tellwire.telemetry import Telemetry

from .rows import (
    NOW,
    add_endpoint,
    count_events,
    delivery,
    delivery_row,
    event_row,
    outcome,
    raw,
    timed_event_row,
)

DAY_MS = 86_400_000


async def add(store: Store, event: EventRow | TimedEventRow, *rows: DeliveryRow) -> None:
    def insert(connection: Connection) -> None:
        store.hot.insert_events(connection, [event])  # type: ignore[arg-type] # of one kind
        store.hot.insert_deliveries(connection, rows)

    await store.write(insert)


async def claimed(store: Store, endpoint: bytes, now: int) -> list[ClaimedRow]:
    return await store.write(
        lambda connection: store.hot.claim(
            connection, endpoint, now_ms=now, until_ms=now + 60_000, token=7, limit=10
        )
    )


async def test_times_come_back_with_the_event_and_with_a_claim(store: Store, vault: Vault) -> None:
    """A delivery is claimed when it is due, not before, and tells both times of its event; others have none."""
    endpoint = await add_endpoint(store, vault, 1)
    row = timed_event_row(100, deliver=NOW + 500, expires=NOW + 900)
    await add(store, row, delivery_row(10, 100, endpoint, due=NOW + 500))
    await add(store, event_row(101), delivery_row(11, 101, endpoint, due=NOW + 600))
    event = await store.read(partial(events.get, id=encode(EVENT, raw(100))))
    assert event.deliver_at is not None
    assert event.expires_at is not None
    assert (event.expires_at - event.deliver_at).total_seconds() == 0.4
    assert await claimed(store, endpoint, NOW + 499) == []
    timed, plain = await claimed(store, endpoint, NOW + 600)
    assert (timed.deliver_ms, timed.expires_ms, timed.due_ms) == (NOW + 500, NOW + 900, NOW + 500)
    assert (plain.deliver_ms, plain.expires_ms) == (None, None)


async def test_only_who_holds_the_lease_can_end_what_has_expired(store: Store, vault: Vault) -> None:
    """It ends as exhausted and says why; attempts and the last status stay; with another lease nothing changes."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(
        store,
        timed_event_row(100, expires=NOW + 5),
        delivery_row(10, 100, endpoint, token=7, until=NOW + 9),
    )
    await store.write(
        lambda connection: store.hot.record(connection, [outcome(10, 7, State.PENDING, due=NOW + 3)], [])
    )
    await claimed(store, endpoint, NOW + 3)

    async def expire(token: int) -> set[bytes]:
        return await store.write(lambda connection: store.hot.expire(connection, [(raw(10), token)], NOW + 6))

    assert await expire(8) == set()
    assert (await delivery(store, 10))["state"] == STATE_CODES[State.PENDING]
    assert await expire(7) == {raw(10)}
    row = await delivery(store, 10)
    assert (row["state"], row["last_error"], row["finished_ms"]) == (
        STATE_CODES[State.EXHAUSTED],
        "expired",
        NOW + 6,
    )
    assert (row["attempt_count"], row["last_status_code"], row["due_ms"], row["lease_token"]) == (
        1,
        200,
        None,
        None,
    )
    assert await expire(7) == set()
    with pytest.raises(ConflictError, match="its event has expired"):
        await store.write(
            partial(deliveries.retry, roster=store.roster, id=encode(DELIVERY, raw(10)), now_ms=NOW + 6)
        )


async def test_cancelling_an_event_ends_what_is_pending_of_it(store: Store, vault: Vault) -> None:
    """Ended deliveries stay as they are, other events too; pages that are not fanned out go, and are not counted."""
    endpoint = await add_endpoint(store, vault, 1)
    await add(
        store,
        event_row(100)._replace(deliveries=5),
        delivery_row(10, 100, endpoint, token=7, until=NOW + 9),
        delivery_row(11, 100, endpoint, token=7, until=NOW + 9),
    )
    await add(store, event_row(101), delivery_row(12, 101, endpoint))
    id = encode(EVENT, raw(100))

    def change(connection: Connection) -> int:
        store.hot.record(connection, [outcome(10, 7)], [])
        connection.execute(
            fanout_pages.insert().values(event_id=raw(100), number=0, targets=3, endpoint_ids=endpoint * 3)
        )
        return cancel_event(connection, id, now_ms=NOW)

    assert await store.write(change) == 4
    states = [STATE_CODES[State.SUCCEEDED], STATE_CODES[State.CANCELLED], STATE_CODES[State.PENDING]]
    assert [(await delivery(store, n))["state"] for n in (10, 11, 12)] == states
    event = await store.read(partial(events.get, id=id))
    assert (event.deliveries, event.fanned_out) == (2, 2)
    assert await store.write(lambda c: store.hot.record(c, [outcome(11, 7)], [])) == set()
    with pytest.raises(ConflictError, match="no pending delivery"):
        await store.write(partial(cancel_event, id=id, now_ms=NOW))


async def test_what_is_to_be_delivered_later_outlives_the_retention(store: Store, vault: Vault) -> None:
    """An event that is due in 29 days keeps its row and data through a retention of a day, and goes when it is done."""
    endpoint = await add_endpoint(store, vault, 1)
    due = NOW + 29 * DAY_MS
    row = timed_event_row(100, key="k", deliver=due, expires=due + DAY_MS)
    await add(store, row, delivery_row(10, 100, endpoint, due=due))
    await add(store, event_row(101), delivery_row(11, 101, endpoint, token=7, until=NOW + 9))
    await store.write(lambda connection: store.hot.record(connection, [outcome(11, 7)], []))

    class Calendar:
        ms = due

        def now_ms(self) -> int:
            return self.ms

    pruner = Pruner(store, Calendar(), Telemetry(), 1, 1, 400)
    await pruner.prune()
    await pruner.expire_payloads()
    left = await store.read(lambda c: c.execute(select(event_table.c.id)).scalars().all())
    assert list(left) == [raw(100)]
    event = await store.read(partial(events.get, id=encode(EVENT, raw(100))))
    assert (event.data, event.idempotency_key) == (b'{"n":1}', "k")
    assert event.deliver_at is not None
    (claim,) = await claimed(store, endpoint, due)
    assert (claim.data, claim.deliver_ms, claim.expires_ms) == (b'{"n":1}', due, due + DAY_MS)
    await store.write(lambda connection: store.hot.record(connection, [outcome(10, 7)], []))
    await pruner.prune()
    assert await count_events(store) == 0
