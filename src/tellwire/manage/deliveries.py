"""Deliveries and events to look at, and deliveries retried or cancelled by hand."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import InvalidInputError
from tellwire.model.attempt import Attempt
from tellwire.model.delivery import Delivery, State
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import StoredEvent
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.subscription import is_pattern
from tellwire.store import backlog, deliveries, events, failing, holds, lanes
from tellwire.store.backlog import LaneBacklog
from tellwire.store.failing import Failing
from tellwire.store.order import glances
from tellwire.store.store import Store

from .asked import asked_limit, asked_ms
from .audit import Audit, Note


class Events:
    """Look at events, and cancel them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits,
        wake: Callable[[], None],
        forget: Callable[[str], None],
        audit: Audit,
    ) -> None:
        """``wake`` and ``forget`` tell the engine of this process that an event was cancelled, and which."""
        self._store = store
        self._clock = clock
        self._limits = limits
        self._wake = wake
        self._forget = forget
        self._audit = audit

    async def get(self, id: str) -> StoredEvent:
        """One event with its data. Raises NotFoundError."""
        return await self._store.read(lambda connection: events.get(connection, id))

    async def list(
        self,
        *,
        tenant: str | None = None,
        type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[StoredEvent]:
        """Events without their data, newest first. ``type`` is a pattern; times bound ``created_at``."""
        limit = asked_limit(limit, self._limits)
        _check_pattern(type)
        since_ms, until_ms = asked_ms("since", since), asked_ms("until", until)
        return await self._store.read(
            lambda connection: events.list_page(
                connection, tenant=tenant, type=type, since_ms=since_ms, until_ms=until_ms, limit=limit,
                cursor=cursor,
            )
        )  # fmt: skip

    async def cancel(self, id: str) -> tuple[StoredEvent, int]:
        """End all pending deliveries of an event; gives the event, and how many deliveries that were.

        What has been delivered stays so; an attempt that is in the air changes nothing more.

        Raises:
            NotFoundError: there is no such event.
            ConflictError: nothing of it is pending.
        """
        now_ms = self._clock.now_ms()

        def cancel(connection: Connection, note: Note) -> tuple[StoredEvent, int]:
            cancelled = deliveries.cancel_event(connection, id, now_ms=now_ms)
            event = events.get(connection, id)
            note(id, event.tenant, {"pending": cancelled}, {"pending": 0})
            return event, cancelled

        found = await self._audit.write("event.cancelled", cancel)
        self._forget(id)
        self._wake()  # for what had to wait for it
        return found


class Deliveries:
    """Look at deliveries; retry and cancel them by hand."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits,
        wake: Callable[[], None],
        forget: Callable[[str], None],
        audit: Audit,
    ) -> None:
        """``wake`` tells the engine of this process that something has become due, ``forget`` what was cancelled."""
        self._store = store
        self._clock = clock
        self._limits = limits
        self._wake = wake
        self._forget = forget
        self._audit = audit

    async def get(self, id: str) -> tuple[Delivery, list[Attempt]]:
        """One delivery with its attempts, first to last. Raises NotFoundError."""
        now_ms = self._clock.now_ms()
        return await self._store.read(
            lambda connection: (
                deliveries.get(connection, id, now_ms=now_ms),
                deliveries.attempts_of(connection, id),
            )
        )

    async def list(
        self,
        *,
        tenant: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        type: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Delivery]:
        """Deliveries, newest first. ``type`` is a pattern; times bound ``created_at``: [since, until)."""
        limit = asked_limit(limit, self._limits)
        _check_pattern(type)
        filters = deliveries.Filters(
            tenant, endpoint, event, type, state, asked_ms("since", since), asked_ms("until", until)
        )
        now_ms = self._clock.now_ms()
        return await self._store.read(
            lambda connection: deliveries.list_page(
                connection, filters, limit=limit, cursor=cursor, now_ms=now_ms
            )
        )

    async def retry(self, id: str) -> Delivery:
        """Send a delivery again now, with a whole schedule of retries before it.

        Raises:
            NotFoundError: there is no such delivery.
            ConflictError: it was cancelled.
        """
        now_ms = self._clock.now_ms()

        def retry(connection: Connection, note: Note) -> Delivery:
            before = deliveries.get(connection, id, now_ms=now_ms)
            after = deliveries.retry(connection, id, self._store.roster_in(connection), now_ms=now_ms)
            # One that was due already is sent by hand all the same: that shows in what triggers it.
            note(id, after.tenant, before, msgspec.structs.asdict(after) | {"trigger": "manual"})
            return after

        delivery = await self._audit.write("delivery.retried", retry)
        self._wake()
        return delivery

    async def cancel(self, id: str) -> Delivery:
        """End a delivery that is pending, or exhausted: then it blocks nothing that comes after it.

        Raises:
            NotFoundError: there is no such delivery.
            ConflictError: it has succeeded, or was cancelled before.
        """
        now_ms = self._clock.now_ms()

        def cancel(connection: Connection, note: Note) -> Delivery:
            before = deliveries.get(connection, id, now_ms=now_ms)
            after = deliveries.cancel(connection, id, now_ms=now_ms)
            note(id, after.tenant, before, after)
            return after

        delivery = await self._audit.write("delivery.cancelled", cancel)
        self._forget(id)
        self._wake()  # for what had to wait for it
        return delivery

    async def count_due(self) -> int:
        """How many deliveries of enabled endpoints are due or in flight now."""
        now_ms = self._clock.now_ms()
        return await self._store.read(lambda connection: deliveries.count_due(connection, now_ms))

    async def backlog(self) -> Sequence[LaneBacklog]:
        """What is pending, endpoint by endpoint, the fullest first. Goes through all pending deliveries."""
        now_ms = self._clock.now_ms()
        return await self._store.read(
            lambda connection: backlog.by_endpoint(
                connection, now_ms, glances(self._store.in_order, connection)
            )
        )

    async def failing(self, for_ms: int) -> Sequence[Failing]:
        """The enabled endpoints at which every attempt has failed for so many milliseconds at least."""
        return await self._store.read(lambda connection: failing.long_failing(connection, for_ms))

    async def lag_ms(self) -> int:
        """For how long the oldest due delivery of an enabled endpoint has been waiting in the store; 0 if none is.

        What a process has claimed waits with that process (see ``Engine.load``). Takes one index seek for each endpoint
        that has pending deliveries, however many they are; in order, some for up to fifty keys. Those of an endpoint
        whose circuit is open, or whose receiver has said until when it wants to be left alone, are not late.
        """
        now_ms, endpoints = self._clock.now_ms(), self._store.roster.endpoints
        ready, excused = await self._store.read(
            lambda connection: (
                _first_ready(self._store, connection),
                lanes.broken(connection, now_ms) | holds.held(connection, now_ms).keys(),
            )
        )
        ages = [
            now_ms - ready_ms
            for endpoint_id, ready_ms in ready
            if endpoint_id not in excused
            and (endpoint := endpoints.get(endpoint_id)) is not None
            and endpoint.state is EndpointState.ENABLED
        ]
        return max([0, *ages])


def _first_ready(store: Store, connection: Connection) -> Sequence[tuple[bytes, int]]:
    """When something may be claimed first, endpoint by endpoint, in order or not."""
    in_order = glances(store.in_order, connection)
    first = [(one.endpoint_id, one.ready_ms) for one in in_order if one.ready_ms is not None]
    return store.hot.ready_lanes(connection) + first


def _check_pattern(type: str | None) -> None:
    if type is not None and not is_pattern(type):
        raise InvalidInputError.at(
            "type", msg="is not an event type or pattern such as order.paid or order.*"
        )
