"""Facts that the stages tell about themselves, and who listens.

A stage emits a fact and knows nothing of logs, metrics or traces; those subscribe here (see ``observe``). Facts carry
ids, numbers and classes of error: never secrets, never payloads.
"""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

_log: Final = logging.getLogger(__name__)


class Fact(msgspec.Struct, frozen=True):
    """Something that happened inside Tellwire."""


class EventsPublished(Fact, frozen=True):
    """Events became durable together with their deliveries: one fact per commit, not per event."""

    events: int
    deliveries: int
    duplicates: int


class PageFannedOut(Fact, frozen=True):
    """A page of a wide event became deliveries. ``left`` endpoints are still to come; ``deleted`` were passed over."""

    event_id: str
    type: str
    deliveries: int
    deleted: int
    left: int


class PageReplayed(Fact, frozen=True):
    """A replay took a page: looked at so many events, and did with some what it is to do (or only counted, where
    ``dry_run``). ``state`` is the replay's state afterwards."""

    replay_id: str
    endpoint_id: str
    state: str
    dry_run: bool
    looked_at: int
    retried: int
    created: int
    expired: int


class StageShare(msgspec.Struct, frozen=True):
    """What one stage had in a transaction: so many items, and the time that its statements took."""

    stage: str
    items: int
    duration_s: float


class TransactionCommitted(Fact, frozen=True):
    """A transaction is durable. ``duration_s`` is all of it; what no stage had its share of is beginning, waiting for
    locks and committing."""

    duration_s: float
    shares: tuple[StageShare, ...]


class AttemptFinished(Fact, frozen=True):
    """One HTTP try of a delivery ended and was judged. ``state`` is the delivery's state afterwards; ``age_ms``
    the time from the publishing of its event (or when that was to be delivered, if later) to the end of the try;
    ``trace_id`` the trace that the event belongs to, and ``traceparent`` its place in it, as W3C Trace Context writes
    it."""

    event_id: str
    delivery_id: str
    endpoint_id: str
    tenant: str
    type: str
    number: int
    trigger: str
    state: str
    status_code: int | None
    error: str | None
    detail: str | None
    duration_ms: int
    age_ms: int
    retry_in_ms: int | None
    started_ms: int
    trace_id: str | None
    traceparent: str | None


class BatchSent(Fact, frozen=True):
    """A request to an endpoint that gets batches ended. Each of its deliveries has an ``AttemptFinished`` besides;
    ``batch_id`` is the ``webhook-id`` of the request."""

    batch_id: str
    endpoint_id: str
    tenant: str
    deliveries: int
    size_bytes: int
    succeeded: bool
    duration_ms: int


class DeliveryExpired(Fact, frozen=True):
    """A delivery ended because its event is not worth delivering any more. ``attempts`` had been made, none perhaps."""

    event_id: str
    delivery_id: str
    endpoint_id: str
    tenant: str
    type: str
    attempts: int


class ResultsDropped(Fact, frozen=True):
    """Answers that came after their lease had passed to somebody else; the newer claim decides."""

    deliveries: int


class DeliveriesRescued(Fact, frozen=True):
    """Deliveries whose lease had expired (their process died or hung) were claimed again."""

    deliveries: int


class LaneOpened(Fact, frozen=True):
    """The circuit breaker of an endpoint opened: nothing is sent to it but a probe, the first in ``probe_in_ms``."""

    endpoint_id: str
    tenant: str
    probe_in_ms: int


class LaneClosed(Fact, frozen=True):
    """The circuit breaker of an endpoint closed again, after ``open_ms``: a probe succeeded."""

    endpoint_id: str
    tenant: str
    open_ms: int


class EndpointDisabled(Fact, frozen=True):
    """The engine disabled an endpoint by itself, and why."""

    endpoint_id: str
    reason: str


class EndpointFailing(Fact, frozen=True):
    """A warning: every attempt at an endpoint has failed for so long. It is disabled in ``left_ms`` if that goes on."""

    endpoint_id: str
    failing_ms: int
    left_ms: int


class StoreFailed(Fact, frozen=True):
    """A transaction failed and was rolled back; nothing of it was acknowledged. ``stage`` will try again."""

    stage: str
    error: str


class EngineFaulted(Fact, frozen=True):
    """Something failed that is a fault of Tellwire's own. ``where`` is an agent of the engine, which begins anew, or a
    delivery, whose attempt is made again when its lease ends."""

    where: str
    error: str


class EventsPruned(Fact, frozen=True):
    """Finished events older than the retention were removed."""

    events: int


class EndpointRearranged(Fact, frozen=True):
    """All that waited at an endpoint has taken its place in a new order: ``moved`` deliveries, in pages."""

    endpoint_id: str
    moved: int


class TenantRemoved(Fact, frozen=True):
    """Nothing is left of a tenant that was deleted."""

    tenant: str


Subscriber = Callable[[Fact], None]


class Telemetry:
    """Passes each fact to every subscriber, in the emitting thread, at once."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    @property
    def active(self) -> bool:
        """Whether anybody listens; lets hot paths skip making facts."""
        return bool(self._subscribers)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every fact from now on. It must be quick; if it raises, that is logged, no more."""
        self._subscribers.append(subscriber)

    def emit(self, fact: Fact) -> None:
        """Tell every subscriber."""
        for subscriber in self._subscribers:
            try:
                subscriber(fact)
            except Exception:  # who only looks on must not keep a stage from its work
                _log.exception("a subscriber of telemetry failed on %s", type(fact).__name__)
