"""Fan-out: inside the publish transaction, turn accepted events into rows: one per event, one per delivery.

Routing uses the roster as this very transaction sees it, so an endpoint that was created before an event was published
gets that event, whichever process created it. Deliveries for which this process has room are born claimed: their first
attempt needs no read (docs/explanation/life-of-an-event.md, the fast path).

An event for very many endpoints is not to hold up all others: its targets are stored in pages, which become deliveries
in the background (``deliver.fanner``).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import rfc3339
from tellwire.errors import ConflictError, FieldError, InvalidInputError, LimitExceededError, TellwireError
from tellwire.ids import EVENT, encode, moved_to
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import MAX_DELAY_MS, NewEvent, Receipt, envelope
from tellwire.model.order import sequence_of
from tellwire.policy.filtering import Meter, new_pool
from tellwire.policy.schema import ALLOWED, ALLOWED_TOGETHER, Schema
from tellwire.store.events import known_by_keys
from tellwire.store.roster import LiveEndpoint, Roster
from tellwire.store.rows import (
    DeliveryRow,
    DeliveryRows,
    EventRow,
    EventRows,
    OrderedDeliveryRow,
    PageRow,
    TimedEventRow,
)

AT_ONCE: Final = 200
"""To how many endpoints an event is fanned out at once, and so many at a time it is in the background, by default."""
_FULL: Final = 5_000
"""With so many deliveries a publish transaction is full: what comes then goes into pages, if it has a few targets."""
_FEW: Final = 20
_MOST_ERRORS: Final = 50
_NOTHING_MORE: Final = (None, None, None, None)

Admit = Callable[[LiveEndpoint], bool]
"""Asks the engine of this process whether the lane of an endpoint has room for one more claim."""


class Lease(msgspec.Struct, frozen=True):
    """The lease under which deliveries of this transaction are born claimed.

    ``left`` has, in the end, the lanes in which the claimer is to look for what was not, and ``queued`` those in which
    it stands behind what this process has yet to claim, and will come to.
    """

    token: int
    until_ms: int
    admit: Admit
    left: set[bytes] = msgspec.field(default_factory=set)
    queued: set[bytes] = msgspec.field(default_factory=set)


class Known(msgspec.Struct, frozen=True):
    """An event that already holds an idempotency key."""

    fingerprint: bytes
    receipt: Receipt


class Accepted(msgspec.Struct, frozen=True):
    """What became of one ``publish`` call: its receipts, and the claims that are to be sent at once."""

    receipts: list[Receipt]
    claims: list[Claim]


class Fanout:
    """One publish transaction: takes ``publish`` calls one by one, gathers their rows."""

    def __init__(
        self,
        roster: Roster,
        known: dict[tuple[str, str], Known],
        *,
        now_ms: int,
        new_id: Callable[[], bytes],
        lease: Lease | None,
        at_once: int = AT_ONCE,
    ) -> None:
        """``known``: the events that already hold one of the idempotency keys of this transaction."""
        self.event_rows: list[EventRow] = []
        self.timed_rows: list[TimedEventRow] = []
        self.delivery_rows: list[DeliveryRow] = []
        self.ordered_rows: list[OrderedDeliveryRow] = []  # to be put in line before they are stored
        self.page_rows: list[PageRow] = []
        self.duplicates = 0
        self.later_ms: int | None = None  # when the first of those is due that are not due yet
        self._roster = roster
        self._known = known
        self._now_ms = now_ms
        self._new_id = new_id
        self._lease = lease
        self._at_once = at_once
        self._quiet: set[bytes] = set()
        self._pools: dict[str, Meter] = {}

    @property
    def all_events(self) -> EventRows:
        """All rows of events, of one kind."""
        if not self.timed_rows:
            return self.event_rows
        return [*(TimedEventRow(*row) for row in self.event_rows), *self.timed_rows]

    @property
    def all_deliveries(self) -> DeliveryRows:
        """All rows of deliveries, of one kind."""
        if not self.ordered_rows:
            return self.delivery_rows
        return [*(OrderedDeliveryRow(*row, None) for row in self.delivery_rows), *self.ordered_rows]

    @property
    def quiet(self) -> Set[bytes]:
        """Endpoints whose deliveries others need not hear of at once: this process comes for them, or nobody may."""
        return self._quiet | self._lease.queued if self._lease is not None else self._quiet

    def accept(self, batch: Sequence[NewEvent], *, listed: bool) -> Accepted | TellwireError:
        """Accept all events of one ``publish`` call, or none: then the error says which was wrong.

        ``listed`` is true where they came as a list, so that an error names the index.
        """
        refused = self._refuse(batch, listed)
        if refused is not None:
            return refused
        accepted = Accepted([], [])
        for event in batch:
            known = self._known.get((event.tenant, event.idempotency_key)) if event.idempotency_key else None
            if known is not None:
                self.duplicates += 1
                accepted.receipts.append(msgspec.structs.replace(known.receipt, duplicate=True))
            else:
                self._add(event, accepted)
        return accepted

    def _refuse(self, batch: Sequence[NewEvent], listed: bool) -> TellwireError | None:
        errors: list[FieldError] = []
        too_large: list[LimitExceededError] = []
        for index, event in enumerate(batch):
            tenant = self._roster.tenants.get(event.tenant)
            at = ("events", index) if listed else ()
            if tenant is None:
                errors.append(FieldError((*at, "tenant"), f"there is no tenant {event.tenant!r}"))
            elif event.deliver_ms is not None or event.expires_ms is not None:
                errors += self._time_faults(event, at)
            if tenant is not None and len(event.data) > tenant.payload_bytes:
                too_large.append(_too_large(event, tenant.payload_bytes, at))
        if errors:
            return InvalidInputError(errors)
        if too_large:
            return too_large[0]
        if self._roster.schemas is not None:
            errors = self._misfits(batch, listed, self._roster.schemas)
            if errors:
                return InvalidInputError(errors)
        seen: dict[tuple[str, str], bytes] = {}
        for index, event in enumerate(batch):
            if event.idempotency_key is None:
                continue
            place = (event.tenant, event.idempotency_key)
            known = self._known.get(place)
            content = fingerprint(event)
            if content != (known.fingerprint if known else seen.setdefault(place, content)):
                return ConflictError(
                    f"idempotency key {event.idempotency_key!r} was used before with other content",
                    index=index if listed else None,
                )
        return None

    def _misfits(
        self, batch: Sequence[NewEvent], listed: bool, schemas: Mapping[str, Schema]
    ) -> list[FieldError]:
        """Where data does not fit the schema of its type; what was accepted once is not asked again."""
        errors: list[FieldError] = []
        together = 0
        for index, event in enumerate(batch):
            schema = schemas.get(event.type)
            if schema is None or (event.tenant, event.idempotency_key) in self._known:
                continue
            at = ("events", index, "data") if listed else ("data",)
            steps = schema.steps(event.data)
            together += steps if steps <= ALLOWED else 0
            if together > ALLOWED_TOGETHER:
                return [
                    FieldError(("events",), "take too long to check by their schemas: send fewer at once")
                ]
            errors += [fault.under(*at) for fault in schema.faults_of(event.data, steps)]
        return errors[:_MOST_ERRORS]

    def _time_faults(self, event: NewEvent, at: tuple[str | int, ...]) -> Iterator[FieldError]:
        """What is wrong with the times of an event that is not a duplicate, by the clock of this transaction."""
        if event.idempotency_key is not None and (event.tenant, event.idempotency_key) in self._known:
            return
        if event.deliver_ms is not None and event.deliver_ms > self._now_ms + MAX_DELAY_MS:
            yield FieldError((*at, "deliver_at"), "is more than 30 days ahead")
        if event.expires_ms is not None and event.expires_ms <= self._now_ms:
            yield FieldError((*at, "expires_at"), "is in the past: the event would never be delivered")

    def _add(self, event: NewEvent, accepted: Accepted) -> None:
        now_ms, event_id = self._now_ms, self._new_id()
        text_id = encode(EVENT, event_id)
        occurred_ms = now_ms if event.occurred_ms is None else event.occurred_ms
        pool = self._pools.setdefault(event.tenant, new_pool())
        targets: Sequence[LiveEndpoint] = self._roster.targets(event.tenant, event.type, event.data, pool)
        due_ms, lease = now_ms, self._lease
        if event.deliver_ms is not None and event.deliver_ms > now_ms:
            due_ms, lease = event.deliver_ms, None
            self.later_ms = due_ms if self.later_ms is None else min(due_ms, self.later_ms)
        count = len(targets)
        if self._is_wide(count):
            targets = self._page(event_id, event, targets)
        if targets:
            body = envelope(event.type, rfc3339(occurred_ms), event.data)
            for endpoint in targets:
                if endpoint.order is not None and self._stands_in_line(event_id, event, endpoint, due_ms):
                    continue
                delivery_id = self._new_id()
                token = until_ms = None
                if lease is not None and self._is_admitted(endpoint, lease):
                    token, until_ms = lease.token, lease.until_ms
                    accepted.claims.append(
                        Claim(
                            delivery_id,
                            event_id,
                            endpoint.id,
                            text_id,
                            event.type,
                            body,
                            token,
                            until_ms,
                            due_ms=now_ms,
                            expires_ms=event.expires_ms,
                            traceparent=event.traceparent,
                            order=endpoint.order,
                        )
                    )
                self.delivery_rows.append(
                    DeliveryRow(
                        delivery_id, event_id, endpoint.id, "schedule", due_ms, token, until_ms, now_ms
                    )
                )
        receipt = Receipt(
            text_id,
            event.type,
            event.tenant,
            occurred_ms,
            now_ms,
            count,
            False,
        )
        content = None
        if event.idempotency_key is not None:
            content = fingerprint(event)
            self._known[event.tenant, event.idempotency_key] = Known(content, receipt)
        row = EventRow(
            event_id,
            event.tenant,
            event.type,
            event.data,
            occurred_ms,
            now_ms,
            count,
            event.idempotency_key,
            content,
        )
        more = event.deliver_ms, event.expires_ms, event.traceparent, event.ordering_key
        if more == _NOTHING_MORE:
            self.event_rows.append(row)
        else:
            self.timed_rows.append(TimedEventRow(*row, *more))
        accepted.receipts.append(receipt)

    def _is_wide(self, targets: int) -> bool:
        full = targets > _FEW and len(self.delivery_rows) + targets > _FULL
        return full or targets > self._at_once

    def _is_admitted(self, endpoint: LiveEndpoint, lease: Lease) -> bool:
        if endpoint.state is EndpointState.ENABLED:
            return lease.admit(endpoint)
        self._quiet.add(endpoint.id)
        return False

    def _stands_in_line(self, event_id: bytes, event: NewEvent, endpoint: LiveEndpoint, due_ms: int) -> bool:
        """Let the event stand in its sequence at the endpoint, if it has one there. It is never born claimed."""
        sequence = sequence_of(endpoint.order, event.ordering_key)
        if sequence is None:
            return False
        id, now_ms = self._new_id(), self._now_ms
        if due_ms > now_ms:
            id = moved_to(id, due_ms)  # until then nothing is to wait for it
        elif self._lease is not None:
            self._lease.left.add(endpoint.id)
            if not endpoint.exclusive:
                self._quiet.add(endpoint.id)
        self.ordered_rows.append(
            OrderedDeliveryRow(
                endpoint.place_of(id), event_id, endpoint.id, "schedule", due_ms, None, None, now_ms, sequence
            )
        )
        return True

    def _page(
        self, event_id: bytes, event: NewEvent, targets: Sequence[LiveEndpoint]
    ) -> Sequence[LiveEndpoint]:
        """Put targets into pages; gives those where the event has a place in a sequence, which has to be kept now."""
        in_order = [one for one in targets if sequence_of(one.order, event.ordering_key) is not None]
        if in_order:
            targets = [one for one in targets if sequence_of(one.order, event.ordering_key) is None]
        size = self._at_once
        for number, start in enumerate(range(0, len(targets), size)):
            page = targets[start : start + size]
            ids = b"".join([endpoint.id for endpoint in page])
            self.page_rows.append(PageRow(event_id, number, len(page), ids))
        return in_order


def fingerprint(event: NewEvent) -> bytes:
    """A digest of what makes two publishes with one idempotency key the same: type, data, times and order if given."""
    digest = hashlib.blake2b(event.data, digest_size=32, person=b"tellwire event")
    digest.update(f"\0{event.type}\0{event.occurred_ms}".encode())
    if event.deliver_ms is not None or event.expires_ms is not None:  # else as it was before there were these
        digest.update(f"\0{event.deliver_ms}\0{event.expires_ms}".encode())
    if event.ordering_key is not None:
        digest.update(f"\0in order {event.ordering_key}".encode())
    return digest.digest()


def find_known(connection: Connection, batches: Sequence[Sequence[NewEvent]]) -> dict[tuple[str, str], Known]:
    """The stored events that hold an idempotency key of ``batches``; no query where none is used."""
    wanted = {
        (e.tenant, e.idempotency_key) for batch in batches for e in batch if e.idempotency_key is not None
    }
    known: dict[tuple[str, str], Known] = {}
    places = sorted(wanted)
    for start in range(0, len(places), 200):
        rows = known_by_keys(connection, places[start : start + 200])
        for tenant, key, *row in rows:
            known[tenant, key] = known_of(tenant, row)
    return known


def known_of(tenant: str, row: Sequence[Any]) -> Known:
    """The event of a row (fingerprint, id, type, occurred_ms, created_ms, deliveries) of ``events``."""
    content, id, type, occurred_ms, created_ms, deliveries = row
    return Known(
        content, Receipt(encode(EVENT, id), type, tenant, occurred_ms, created_ms, deliveries, False)
    )


def _too_large(event: NewEvent, most: int, at: tuple[str | int, ...]) -> LimitExceededError:
    msg = f"{len(event.data)} bytes; the data of an event of tenant {event.tenant!r} has at most {most}"
    return LimitExceededError([FieldError((*at, "data"), msg)], limit="payload_bytes", maximum=most)
