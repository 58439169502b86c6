"""Rows of the hot path as tuples, in the order of their columns: thousands a second, so no objects around them."""

from collections.abc import Sequence
from typing import NamedTuple


class EventRow(NamedTuple):
    """A row of ``events``."""

    id: bytes
    tenant: str
    type: str
    data: bytes
    occurred_ms: int
    created_ms: int
    deliveries: int
    idempotency_key: str | None
    fingerprint: bytes | None


class TimedEventRow(NamedTuple):
    """A row of ``events`` with times or an order of its own, or in a trace: others do not pay for the columns."""

    id: bytes
    tenant: str
    type: str
    data: bytes
    occurred_ms: int
    created_ms: int
    deliveries: int
    idempotency_key: str | None
    fingerprint: bytes | None
    deliver_ms: int | None = None
    expires_ms: int | None = None
    traceparent: str | None = None
    ordering_key: str | None = None


EventRows = Sequence[EventRow] | Sequence[TimedEventRow]


class DeliveryRow(NamedTuple):
    """A new row of ``deliveries``; the columns that are not here start as they are declared."""

    id: bytes
    event_id: bytes
    endpoint_id: bytes
    trigger: str
    due_ms: int
    lease_token: int | None
    lease_until_ms: int | None
    created_ms: int


class OrderedDeliveryRow(NamedTuple):
    """A new row of ``deliveries`` that stands in a sequence (see ``model.order``); never born claimed."""

    id: bytes
    event_id: bytes
    endpoint_id: bytes
    trigger: str
    due_ms: int
    lease_token: int | None
    lease_until_ms: int | None
    created_ms: int
    sequence: str | None


DeliveryRows = Sequence[DeliveryRow] | Sequence[OrderedDeliveryRow]


class PageRow(NamedTuple):
    """A row of ``fanout_pages``: so many endpoints that a wide event is still to be fanned out to."""

    event_id: bytes
    number: int
    targets: int
    endpoint_ids: bytes


class ClaimedRow(NamedTuple):
    """What a claim gives: the delivery, its event, and whether the lease of somebody else had expired.

    ``again_ms`` is when the delivery was last made pending by hand or a replay, if it was.
    """

    id: bytes
    event_id: bytes
    attempt_count: int
    schedule_step: int
    trigger: str
    type: str
    data: bytes
    occurred_ms: int
    due_ms: int
    rescued: bool
    again_ms: int | None
    deliver_ms: int | None
    expires_ms: int | None
    traceparent: str | None = None
    sequence: str | None = None


class Head(NamedTuple):
    """The first pending delivery of a sequence: nothing after it may be sent before it.

    ``ready_ms`` is when it may be claimed, ``attempt_count`` how often it was tried. ``blocker`` is the first delivery
    of the sequence that is exhausted and blocks what comes after it.
    """

    sequence: str
    id: bytes
    ready_ms: int
    attempt_count: int
    blocker: bytes | None

    @property
    def is_blocked(self) -> bool:
        """Whether it waits until somebody decides on an exhausted delivery before it."""
        return self.blocker is not None and self.blocker < self.id


class Outcome(NamedTuple):
    """What an attempt makes of its delivery; written only if ``token`` still holds the lease."""

    id: bytes
    token: int
    state: int
    attempt_count: int
    schedule_step: int
    due_ms: int | None
    last_status_code: int | None
    last_error: str | None
    finished_ms: int | None


class AttemptRow(NamedTuple):
    """A row of ``attempts``."""

    delivery_id: bytes
    number: int
    id: bytes
    started_ms: int
    duration_ms: int
    status_code: int | None
    error: str | None
    detail: str | None
    response_headers: bytes
    response_body: bytes
    trigger: str


class PoolUse(NamedTuple):
    """How many connections of a pool are in use, and how many there may be at most."""

    name: str
    used: int
    most: int
