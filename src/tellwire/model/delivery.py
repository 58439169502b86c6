"""Delivery: one event on its way to one endpoint. A small state machine, all of it here.

    pending --> succeeded | exhausted | cancelled
    succeeded, exhausted --> pending              (retried by hand)
    exhausted --> cancelled                       (given up by hand: it blocks nothing any more)
    succeeded, exhausted, cancelled --> pending   (replayed)

In flight is ``pending`` with a live lease; waiting for a retry is ``pending`` with ``due_at`` in the future.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class State(StrEnum):
    """The states of a delivery; there are no others."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


class Move(StrEnum):
    """What can happen to a delivery."""

    SUCCEED = "succeed"
    RETRY_LATER = "retry_later"
    EXHAUST = "exhaust"
    CANCEL = "cancel"
    RETRY_BY_HAND = "retry_by_hand"
    REPLAY = "replay"


EXPIRED: Final = "expired"
"""The ``last_error`` of a delivery that is exhausted because its event is not worth delivering any more."""

TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.PENDING, Move.SUCCEED): State.SUCCEEDED,
    (State.PENDING, Move.RETRY_LATER): State.PENDING,
    (State.PENDING, Move.EXHAUST): State.EXHAUSTED,
    (State.PENDING, Move.CANCEL): State.CANCELLED,
    (State.PENDING, Move.RETRY_BY_HAND): State.PENDING,
    (State.EXHAUSTED, Move.RETRY_BY_HAND): State.PENDING,
    (State.EXHAUSTED, Move.CANCEL): State.CANCELLED,
    (State.SUCCEEDED, Move.RETRY_BY_HAND): State.PENDING,
    (State.SUCCEEDED, Move.REPLAY): State.PENDING,
    (State.EXHAUSTED, Move.REPLAY): State.PENDING,
    (State.CANCELLED, Move.REPLAY): State.PENDING,
}
"""The whole machine: a pair that is not here cannot happen."""


def states_that_allow(move: Move) -> tuple[State, ...]:
    """The states from which ``move`` is possible, in the order of the enumeration."""
    return tuple(state for state in State if (state, move) in TRANSITIONS)


class WaitingFor(StrEnum):
    """What a pending delivery waits for, besides its time."""

    PAUSED = "paused"
    DISABLED = "disabled"
    UNVERIFIED = "unverified"
    RATE = "rate"
    CIRCUIT = "circuit"
    BATCH = "batch"
    ORDER = "order"


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint, as API and CLI show it.

    ``batch_id`` is the ``webhook-id`` of the request in which it was sent last, if that was a batch. ``waiting_until``
    tells when what it waits for ends, or is tried again, where that is known.
    """

    id: str
    event_id: str
    endpoint_id: str
    tenant: str
    type: str
    state: State
    attempt_count: int
    due_at: datetime | None
    last_status_code: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    waiting_for: WaitingFor | None = None
    batch_id: str | None = None
    waiting_until: datetime | None = None
