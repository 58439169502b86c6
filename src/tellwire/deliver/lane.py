"""A lane: what one endpoint has waiting and in the air in this process, and what it may have. ``lanes`` moves it."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from tellwire.model.claim import Claim
from tellwire.model.delivery import WaitingFor
from tellwire.policy.circuit import CLOSED, Circuit
from tellwire.policy.rate import Bucket, LaneLimit
from tellwire.store.roster import LiveEndpoint

from .gathering import Gathering
from .turns import Share

HELD_PER_SLOT: Final = 256
"""How many claims a lane may hold for each slot that it has at present: a lane that is slowed down holds fewer."""
AHEAD_MS: Final = 2_000
"""How many claims a lane may hold: what it sends in so long, by what its attempts took of late. A claim that waits for
long in memory only costs the extension of its lease."""
LEAST_PER_SLOT: Final = 4
FIRST_MS: Final = 100
"""What an attempt of a new lane is thought to take."""
WAITS_MS: Final = 500
"""What has waited for so long for others to land waits for its endpoint's limit, as far as people are told."""
HELD_MS: Final = 15_000
"""How many claims a lane with a rate may hold: what it sends in so long."""


class HeldBack(NamedTuple):
    """Why a lane holds deliveries back; with its open circuit, where that goes with the lane; ``shared``, where others
    send too."""

    waiting_for: WaitingFor
    circuit: Circuit | None = None
    shared: bool = False


class Lane:
    """One endpoint's claims in this process."""

    __slots__ = (
        "backlog", "bucket", "circuit", "endpoint", "endpoint_id", "gathers", "held", "in_flight", "limit",
        "lines_first", "per_request", "queued", "resting", "share", "timer", "took_ms", "unsent", "waiting",
    )  # fmt: skip

    def __init__(self, endpoint_id: bytes, slots: int) -> None:
        self.endpoint_id = endpoint_id
        self.limit = LaneLimit.full(slots)
        self.waiting: deque[Claim] | Gathering = deque()  # a gathering is true when a batch may go
        self.per_request = 1  # how many deliveries one may carry
        self.in_flight = 0
        self.held = 0  # waiting, in flight or not yet recorded
        self.backlog = False  # due deliveries of this lane were left in the store
        self.gathers = False  # what stands in line was left in the store until it makes a batch
        self.lines_first = False  # the next claim looks at sequences before what stands in none
        self.resting = 0  # slots, while it is behind
        self.queued = False  # stands in line for a slot of the process
        self.share: Share[Lane] = Share()
        self.endpoint: LiveEndpoint | None = None  # as its settings were last looked at
        self.bucket: Bucket | None = None
        self.circuit = CLOSED
        self.took_ms: float = FIRST_MS  # an attempt, of late
        self.timer: asyncio.Handle | None = None  # until there is a token
        self.unsent: set[Claim] = set()  # begun, and for each there is a token that it has not taken yet

    @property
    def capacity(self) -> int:
        """How many claims this lane may hold by its own bound."""
        if self.is_open:
            return self.per_request  # for a probe
        ahead = max(LEAST_PER_SLOT, min(HELD_PER_SLOT, int(AHEAD_MS / max(self.took_ms, 1))))
        most = self.limit.allowed * max(ahead, self.per_request)
        if self.bucket is not None:
            most = min(most, (self.bucket.burst + int(self.bucket.per_ms * HELD_MS)) * self.per_request)
        return most

    @property
    def sets_circuit(self) -> bool:
        """Whether its circuit is that of its endpoint's settings: remembered, and handed on to the next owner."""
        return self.endpoint is not None and self.endpoint.settings.circuit is not None

    @property
    def is_open(self) -> bool:
        """Whether its circuit breaker lets nothing through but probes."""
        return self.circuit.opened_ms is not None

    @property
    def since_ms(self) -> int | None:
        """Since when the claim that waits in front has been due, or None where none waits."""
        if isinstance(self.waiting, Gathering):
            return self.waiting.since_ms
        return self.waiting[0].due_ms if self.waiting else None

    @property
    def held_back(self) -> HeldBack | None:
        """Why it sends nothing at present, if there is a reason that lasts."""
        shared = self.endpoint is None or not self.endpoint.exclusive
        if self.is_open:
            return HeldBack(WaitingFor.CIRCUIT, self.circuit if self.sets_circuit else None, shared)
        if self.timer is not None and self.waiting:
            return HeldBack(WaitingFor.RATE)
        gathers = isinstance(self.waiting, Gathering) and self.waiting.gathers
        return HeldBack(WaitingFor.BATCH) if gathers or self.gathers else None

    @property
    def is_full(self) -> bool:
        """Whether something waits until others land, because its endpoint limits how many may be in the air."""
        limited = self.endpoint is not None and self.endpoint.settings.max_in_flight is not None
        return limited and bool(self.waiting) and self.in_flight >= self.limit.allowed

    def kept_waiting(self, now_ms: int) -> HeldBack | None:
        """Why it sends nothing more at present, if it is full and has been for a while."""
        if not self.is_full or self.since_ms is None or now_ms - self.since_ms < WAITS_MS:
            return None
        return HeldBack(WaitingFor.RATE)

    @property
    def at_rest(self) -> bool:
        """Whether it has nothing to remember but a bucket and a circuit."""
        return not self.held and not self.backlog and self.limit.allowed == self.limit.maximum
