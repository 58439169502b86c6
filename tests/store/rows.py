"""Rows to store: short names for what most tests do not care about."""

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import RowMapping

from tellwire.clock import to_datetime
from tellwire.ids import ENDPOINT, encode
from tellwire.model.delivery import State
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.subscription import Subscription
from tellwire.signing.vault import Vault
from tellwire.store import endpoints as endpoint_queries
from tellwire.store.rows import AttemptRow, DeliveryRow, EventRow, Outcome, TimedEventRow
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES, attempts, deliveries, events

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = 1_700_000_000_000
_WAIT_S = 30.0


def raw(number: int) -> bytes:
    """An id: the smaller the number, the older."""
    return (NOW * 2**80 + number).to_bytes(16, "big")


def event_row(
    number: int, *, tenant: str = "default", type: str = "order.paid", key: str | None = None, at: int = NOW
) -> EventRow:
    fingerprint = b"f" * 32 if key else None
    return EventRow(raw(number), tenant, type, b'{"n":1}', at, at, 1, key, fingerprint)


def timed_event_row(
    number: int, *, deliver: int | None = None, expires: int | None = None, key: str | None = None
) -> TimedEventRow:
    return TimedEventRow(*event_row(number, key=key), deliver, expires)


def delivery_row(
    number: int,
    event: int,
    endpoint: bytes,
    *,
    due: int = NOW,
    token: int | None = None,
    until: int | None = None,
) -> DeliveryRow:
    return DeliveryRow(raw(number), raw(event), endpoint, "schedule", due, token, until, NOW)


def outcome(number: int, token: int, state: State = State.SUCCEEDED, *, due: int | None = None) -> Outcome:
    finished = None if state is State.PENDING else NOW + 5
    return Outcome(raw(number), token, STATE_CODES[state], 1, 1, due, 200, None, finished)


def attempt_row(number: int, count: int = 1) -> AttemptRow:
    return AttemptRow(
        raw(number), count, raw(number + 500_000), NOW, 5, 200, None, None, b"[]", b"ok", "schedule"
    )


DISTINCT = EndpointSettings(user_agent="setting-in-the-clear")


def new_endpoint(
    number: int,
    *,
    events: tuple[str, ...] = ("*",),
    tenant: str = "default",
    settings: EndpointSettings = DISTINCT,
) -> Endpoint:
    return Endpoint(
        id=encode(ENDPOINT, raw(number)),
        tenant=tenant,
        url="https://receiver.example/hook",
        description="",
        subscriptions=(Subscription(events),),
        headers={"x-team": "header-in-the-clear"},
        metadata={},
        state=EndpointState.ENABLED,
        state_reason=None,
        created_at=to_datetime(NOW),
        updated_at=to_datetime(NOW),
        settings=settings,
    )


async def add_endpoint(
    store: Store,
    vault: Vault,
    number: int,
    *,
    events: tuple[str, ...] = ("*",),
    secret: str = SECRET,
    tenant: str = "default",
    settings: EndpointSettings = DISTINCT,
) -> bytes:
    """Store an endpoint with its secret; gives its raw id."""
    endpoint = new_endpoint(number, events=events, tenant=tenant, settings=settings)

    def create(connection: Connection) -> None:
        endpoint_queries.create(connection, vault, endpoint)
        endpoint_queries.add_secret(
            connection, vault, raw(number + 900_000), endpoint.id, secret, overlap_ms=0, now_ms=NOW
        )

    await store.write(create)
    return raw(number)


async def add_deliveries(store: Store, rows: list[DeliveryRow]) -> None:
    """Store deliveries, each with the event that it names."""
    numbers = sorted({row.event_id for row in rows})
    event_rows = [event_row(0)._replace(id=id) for id in numbers]

    def add(connection: Connection) -> None:
        store.hot.insert_events(connection, event_rows)
        store.hot.insert_deliveries(connection, rows)

    await store.write(add)


async def delivery(store: Store, number: int) -> RowMapping:
    """A delivery as it is stored."""
    return await store.read(
        lambda connection: (
            connection.execute(select(deliveries).where(deliveries.c.id == raw(number))).mappings().one()
        )
    )


async def stored_events(store: Store) -> list[RowMapping]:
    """All events, oldest first."""
    return await store.read(
        lambda connection: list(connection.execute(select(events).order_by(events.c.id)).mappings())
    )


async def stored_deliveries(store: Store) -> list[RowMapping]:
    """All deliveries, oldest first."""
    return await store.read(
        lambda connection: list(connection.execute(select(deliveries).order_by(deliveries.c.id)).mappings())
    )


async def count_events(store: Store) -> int:
    return await store.read(
        lambda connection: connection.execute(select(func.count(events.c.id))).scalar_one()
    )


async def count_attempts(store: Store) -> int:
    return await store.read(
        lambda connection: connection.execute(select(func.count()).select_from(attempts)).scalar_one()
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(_WAIT_S):
        while not condition():  # noqa: ASYNC110 - what others write sets no event here
            await asyncio.sleep(0.01)
