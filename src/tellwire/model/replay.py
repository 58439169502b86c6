"""Replay: a job that sends to one endpoint again what it did not get, or what it is to get once more."""

from datetime import datetime
from enum import StrEnum

import msgspec

from .delivery import State


class ReplayState(StrEnum):
    """Whether a replay still has events to look at."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


class Again(StrEnum):
    """What of an event is replayed: its delivery in one of these states, or that there is none."""

    SUCCEEDED = "succeeded"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"
    MISSING = "missing"

    @property
    def state(self) -> State | None:
        """The state of the delivery; None where there is none."""
        return None if self is Again.MISSING else State(self.value)


NOT_ARRIVED: tuple[Again, ...] = (Again.EXHAUSTED, Again.MISSING)
"""What a replay of a range is of, if nobody says otherwise."""


class Criteria(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is replayed: events published in [``since_ms``, ``until_ms``), or the one ``event``.

    Attributes:
        since_ms, until_ms: bounds of the time in the ids of events, which is when they were published.
        types: event-type patterns, one of which must match; none is all types.
        states: what has become of an event at this endpoint.
        event: this event alone, whatever the endpoint is subscribed to.
    """

    since_ms: int
    until_ms: int
    types: tuple[str, ...] = ()
    states: tuple[Again, ...] = NOT_ARRIVED
    event: str | None = None


class Replay(msgspec.Struct, frozen=True):
    """A replay as API and CLI show it.

    Attributes:
        reason: why it was cancelled.
        waiting_for: ``paused``, ``disabled`` or ``unverified``: the state of its endpoint, for whose end it waits.
        since, until: the range of time; None where it is of one event.
        progress: how much of the range has been looked at, from 0 to 1.
        looked_at: events of the tenant in the range that it has looked at.
        retried: deliveries that were made pending again.
        created: new deliveries of events that had none to the endpoint.
        expired: events that fit, but whose data has expired or is about to be pruned; they were passed over.
    """

    id: str
    endpoint_id: str
    tenant: str
    state: ReplayState
    reason: str | None
    waiting_for: str | None
    dry_run: bool
    since: datetime | None
    until: datetime | None
    types: tuple[str, ...]
    states: tuple[Again, ...]
    event_id: str | None
    progress: float
    looked_at: int
    retried: int
    created: int
    expired: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
