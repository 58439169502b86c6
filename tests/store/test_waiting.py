"""What a pending delivery waits for, as it is shown, by what is written down of its endpoint and of its lane."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from tellwire.ids import DELIVERY, encode
from tellwire.model.delivery import Delivery, State, WaitingFor
from tellwire.policy.circuit import Circuit
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, holds, lanes
from tellwire.store.store import Store

from .rows import NOW, add_deliveries, add_endpoint, attempt_row, delivery_row, outcome, raw

OWNER = 7
OPEN = Circuit(opened_ms=NOW - 60_000, probe_ms=NOW + 30_000)


async def shown(store: Store, now_ms: int = NOW) -> tuple[WaitingFor | None, int | None]:
    """What the delivery waits for, and until when in milliseconds from ``NOW``, where that is known."""
    id = encode(DELIVERY, raw(10))
    found: Delivery = await store.read(lambda one: deliveries.get(one, id, now_ms=now_ms))
    until = found.waiting_until
    return found.waiting_for, None if until is None else round(until.timestamp() * 1000) - NOW


async def add(store: Store, vault: Vault, *, due: int = NOW) -> None:
    await add_deliveries(store, [delivery_row(10, 5, await add_endpoint(store, vault, 1), due=due)])


def rate(connection: Connection) -> None:
    lanes.take(connection, raw(1), OWNER, now_ms=NOW, until_ms=NOW + 60_000)
    lanes.tell(connection, [raw(1)], OWNER, WaitingFor.RATE)


def circuit(connection: Connection) -> None:
    lanes.take(connection, raw(1), OWNER, now_ms=NOW, until_ms=NOW + 60_000)
    lanes.tell(connection, [raw(1)], OWNER, WaitingFor.CIRCUIT, OPEN)


def note(connection: Connection) -> None:
    lanes.note(connection, [raw(1)], OWNER, WaitingFor.CIRCUIT, now_ms=NOW, until_ms=NOW + 60_000)


def hold(connection: Connection) -> None:
    holds.hold(connection, {raw(1): NOW + 60_000}, now_ms=NOW)


HOW: dict[Callable[[Connection], None], tuple[WaitingFor, int | None]] = {
    rate: (WaitingFor.RATE, None),
    circuit: (WaitingFor.CIRCUIT, 30_000),
    note: (WaitingFor.CIRCUIT, None),
    hold: (WaitingFor.RATE, 60_000),
}


@pytest.mark.parametrize("told", HOW)
async def test_why_it_waits_is_believed_for_as_long_as_it_was_said_for(
    store: Store, vault: Vault, told: Callable[[Connection], None]
) -> None:
    """When the lease of whoever knows has ended, or the hold is over, it waits for nothing that is known."""
    await add(store, vault)
    assert await shown(store) == (None, None)
    await store.write(told)
    assert await shown(store) == HOW[told]
    assert (await shown(store, NOW + 59_999))[0] is HOW[told][0]
    assert await shown(store, NOW + 60_000) == (None, None)


async def test_when_a_probe_has_come_nothing_is_told_of_the_past(store: Store, vault: Vault) -> None:
    """It still waits for the circuit, and nobody knows for how long."""
    await add(store, vault)
    await store.write(circuit)
    assert await shown(store, NOW + 29_999) == (WaitingFor.CIRCUIT, 30_000)
    assert await shown(store, NOW + 30_000) == (WaitingFor.CIRCUIT, None)


@pytest.mark.parametrize("told", HOW)
async def test_what_is_not_due_yet_waits_for_its_time_alone(
    store: Store, vault: Vault, told: Callable[[Connection], None]
) -> None:
    """Its lane may be open again by then; once it is due, it shows what it waits for."""
    await add(store, vault, due=NOW + 1_000)
    await store.write(told)
    assert await shown(store) == (None, None)
    assert (await shown(store, NOW + 1_000))[0] is HOW[told][0]


@pytest.mark.parametrize("told", HOW)
async def test_what_has_ended_waits_for_nothing(
    store: Store, vault: Vault, told: Callable[[Connection], None]
) -> None:
    """Whatever holds its lane back."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 5, endpoint, token=3, until=NOW + 1_000)])
    await store.write(told)
    ended = [outcome(10, 3, State.EXHAUSTED)]
    await store.write(lambda one: store.hot.record(one, ended, [attempt_row(10)]))
    assert await shown(store) == (None, None)
