"""The publisher: the front door of the life of an event. Acknowledges when event and deliveries are durable.

What is published at about the same time shares a transaction (see ``store.group_commit``). After the commit, the claims
that were born go to the engine of this process in one piece, whether or not the publishers are still there to hear of
it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreUnavailableError
from tellwire.model.claim import Claim
from tellwire.model.event import NewEvent, Receipt
from tellwire.store.order import put_in_line
from tellwire.store.store import Store
from tellwire.telemetry import EventsPublished, StoreFailed, Telemetry

from .fanout import AT_ONCE, Accepted, Fanout, Lease, find_known
from .tracing import Answer as Answer
from .tracing import Traced

_MAX_EVENTS_PER_COMMIT = 500


class _Call(NamedTuple):
    events: Sequence[NewEvent]
    listed: bool
    answer: Answer


class Publisher:
    """Makes events durable and hands their claims on."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        telemetry: Telemetry,
        traced: Traced | None = None,
        *,
        lease: Callable[[int], Lease | None] | None = None,
        offer: Callable[[list[Claim]], None] | None = None,
        fan_out: Callable[[], None] | None = None,
        expect: Callable[[int], None] | None = None,
        claim_in: Callable[[Iterable[bytes]], None] | None = None,
        queued: Callable[[Iterable[bytes]], None] | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        """``lease(now_ms)`` and the callbacks come from the engine of this process, where it has one.

        ``expect`` is told from when on something of what was published is due that is not due yet.
        ``fan_out`` is called when there are pages of wide events: those for more endpoints than ``at_once``;
        ``claim_in`` with the lanes that have something for the claimer, ``queued`` with those in which it stands behind
        their backlog.
        """
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._telemetry = telemetry
        self._traced = traced or Traced()
        self._lease = lease
        self._offer = offer
        self._fan_out = fan_out
        self._expect = expect
        self._at_once = at_once
        self._claim_in = claim_in
        self._queued = queued
        self._paged = False
        self._later_ms: int | None = None
        self._left: set[bytes] = set()
        self._behind: set[bytes] = set()
        self._loop = asyncio.get_running_loop()
        self._write = store.batched(
            self._accept,
            self._acknowledge,
            max_weight=_MAX_EVENTS_PER_COMMIT,
            weigh=lambda call: len(call.events),
            stage="publish",
        )

    async def publish(self, events: Sequence[NewEvent], *, listed: bool) -> list[Receipt]:
        """Make ``events`` durable, all or none, and give their receipts in order.

        ``listed`` is true where the caller gave a list: errors then name the index.

        Raises:
            InvalidInputError: a tenant does not exist.
            ConflictError: an idempotency key was used before with other content.
            StoreUnavailableError: the database cannot be written now; nothing was stored.
        """
        future: asyncio.Future[list[Receipt]] = self._loop.create_future()
        self.submit(events, future, listed=listed)
        return await future

    def submit(self, events: Sequence[NewEvent], answer: Answer, *, listed: bool) -> None:
        """As ``publish``, for callers that are no coroutine: ``answer`` is told on the event loop."""
        if self._traced.tracing is not None:
            events, answer = self._traced.submitted(events, answer)
        self._write.submit(_Call(events, listed, answer))

    def _accept(self, connection: Connection, calls: list[_Call]) -> list[Any]:
        now_ms = self._clock.now_ms()
        lease = self._lease(now_ms) if self._lease else None
        fanout = Fanout(
            self._store.roster_in(connection),
            find_known(connection, [call.events for call in calls]),
            now_ms=now_ms,
            new_id=self._new_id,
            lease=lease,
            at_once=self._at_once,
        )
        outcomes: list[Any] = [fanout.accept(call.events, listed=call.listed) for call in calls]
        self._store.hot.insert_events(connection, fanout.event_rows)
        if fanout.timed_rows:
            self._store.hot.insert_events(connection, fanout.timed_rows)
        self._store.hot.insert_deliveries(connection, fanout.delivery_rows, fanout.quiet)
        if fanout.ordered_rows:
            in_line = put_in_line(self._store.in_order, connection, fanout.ordered_rows)
            self._store.hot.insert_deliveries(connection, in_line, fanout.quiet)
        if fanout.page_rows:
            self._store.hot.insert_pages(connection, fanout.page_rows)
            self._paged = True
        if fanout.later_ms is not None:
            later_ms = self._later_ms
            self._later_ms = fanout.later_ms if later_ms is None else min(later_ms, fanout.later_ms)
        if lease is not None:
            self._left |= lease.left
            self._behind |= lease.queued
        return outcomes

    def _acknowledge(self, calls: list[_Call], outcomes: list[Any]) -> None:
        claims: list[Claim] = []
        events = deliveries = duplicates = 0
        for call, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                claims += outcome.claims
                for receipt in outcome.receipts:
                    events += 1
                    deliveries += 0 if receipt.duplicate else receipt.deliveries
                    duplicates += receipt.duplicate
                if not call.answer.done():
                    call.answer.set_result(outcome.receipts)
            elif not call.answer.done():
                call.answer.set_exception(outcome)
        if claims and self._offer is not None:
            self._offer(claims)
        if self._left and self._claim_in is not None:
            self._claim_in(self._left)
            self._left = set()
        if self._behind and self._queued is not None:
            self._queued(self._behind)
            self._behind = set()
        if self._paged and self._fan_out is not None:
            self._paged = False
            self._fan_out()
        if self._later_ms is not None and self._expect is not None:
            self._expect(self._later_ms)
            self._later_ms = None
        if self._telemetry.active:
            if events:
                self._telemetry.emit(EventsPublished(events - duplicates, deliveries, duplicates))
            if isinstance(outcomes[0], StoreUnavailableError):
                self._telemetry.emit(StoreFailed("publish", str(outcomes[0])))
