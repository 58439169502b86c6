"""Lanes: one per endpoint, each with its own slots, so that a slow endpoint never holds up another.

A lane holds claims that wait for a slot and counts those in the air. Three bounds: slots per lane, slots per process,
claims in memory. A claim that finds no room stays in the store, and its lane is marked to have a backlog there, which
the claimer fetches in order as room appears.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from tellwire.model.claim import Claim
from tellwire.policy.rate import LaneLimit

HELD_PER_SLOT: Final = 256
"""How many claims a lane may hold for each slot that it has at present: a lane that is slowed down holds fewer."""
HELD_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of bodies all lanes may hold; beyond them, lanes only fill their slots."""


class LaneBounds(msgspec.Struct, frozen=True):
    """The bounds of all lanes of a process (settings ``in_flight_*`` and ``held_deliveries``)."""

    per_endpoint: int = 16
    per_process: int = 1_024
    held: int = 10_000


class Load(msgspec.Struct, frozen=True):
    """What the lanes of a process hold at one moment, for those who look on.

    ``lanes`` are those that it remembers, ``limited`` those among them that are slowed down, ``behind`` those that have
    due deliveries left in the store. ``waiting_ms`` tells for how long the oldest claim that waits has been due.
    """

    in_flight: int
    held: int
    waiting: int
    waiting_ms: int
    lanes: int
    limited: int
    behind: int


class Lane:
    """One endpoint's claims in this process."""

    __slots__ = ("backlog", "endpoint_id", "held", "in_flight", "limit", "queued", "waiting")

    def __init__(self, endpoint_id: bytes, slots: int) -> None:
        self.endpoint_id = endpoint_id
        self.limit = LaneLimit.full(slots)
        self.waiting: deque[Claim] = deque()
        self.in_flight = 0
        self.held = 0  # waiting, in flight or not yet recorded
        self.backlog = False  # due deliveries of this lane were left in the store
        self.queued = False  # stands in line for a slot of the process

    @property
    def capacity(self) -> int:
        """How many claims this lane may hold by its own bound."""
        return self.limit.allowed * HELD_PER_SLOT


class Admission:
    """Says, for one publish or claim transaction, which lanes have room for claims that it makes.

    May run in the writer's thread, beside the event loop that owns the lanes: it only reads their counts, counting its
    own promises apart, so that a transaction that is rolled back leaves nothing behind. Claims that are committed but
    not yet held are not seen, so the bounds on held claims are soft by a batch.
    """

    def __init__(self, lanes: "Lanes") -> None:
        self._lanes = lanes
        self._promised: dict[bytes, int] = {}
        self._total = 0

    def admit(self, endpoint_id: bytes) -> bool:
        """Whether one more claim may be made for this lane; if not, what is left becomes the lane's backlog.

        While a lane works off a backlog, new deliveries queue up behind it. One that holds nothing admits all the same:
        it is by the claims that it holds that it comes to fetch its backlog.
        """
        lane = self._lanes[endpoint_id]
        promised = self._promised.get(endpoint_id, 0)
        if (lane.backlog and lane.held) or self._lanes.room(lane, self._total - promised) <= promised:
            lane.backlog = True
            return False
        self._promised[endpoint_id] = promised + 1
        self._total += 1
        return True


class Lanes:
    """All lanes of a process; starts attempts as slots become free, in turn among the lanes."""

    def __init__(self, bounds: LaneBounds, start: Callable[[Lane, Claim], None]) -> None:
        """``start`` begins an attempt; whoever does calls ``landed`` and ``settled`` when it is through."""
        self._bounds = bounds
        self._start = start
        self._lanes: dict[bytes, Lane] = {}
        self._line: deque[Lane] = deque()
        self._stopped = False
        self.in_flight = 0
        self.held = 0
        self.held_bytes = 0

    def __getitem__(self, endpoint_id: bytes) -> Lane:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            # setdefault, because the writer's thread asks too (see Admission) and both must see one lane
            lane = self._lanes.setdefault(endpoint_id, Lane(endpoint_id, self._bounds.per_endpoint))
        return lane

    def room(self, lane: Lane, promised: int = 0) -> int:
        """How many more claims ``lane`` may hold, where so many are ``promised`` to others. A lane always has room to
        fill its slots: what sick lanes pile up must not keep a healthy one from working."""
        shared = self._bounds.held - self.held - promised if self.held_bytes < HELD_BYTES else 0
        return min(lane.capacity - lane.held, max(shared, lane.limit.allowed - lane.held))

    @property
    def open(self) -> bool:
        """Whether the bounds that all lanes share leave room for more."""
        return self.held < self._bounds.held and self.held_bytes < HELD_BYTES

    def take(self, claim: Claim) -> None:
        """Hold a claim: let it wait for a slot, or start it at once."""
        lane = self[claim.endpoint_id]
        lane.held += 1
        self.held += 1
        self.held_bytes += len(claim.body)
        lane.waiting.append(claim)
        self._fill(lane)

    def landed(self, lane: Lane) -> Claim | None:
        """An attempt has ended and its slot is free: gives the claim to send next in it, if that is this lane's."""
        if not self._line and lane.waiting and lane.in_flight <= lane.limit.allowed and not self._stopped:
            claim = lane.waiting.popleft()
            if (
                lane.in_flight < lane.limit.allowed
            ):  # it has recovered, and may have more in the air than before
                self._fill(lane)
            return claim
        lane.in_flight -= 1
        self.in_flight -= 1
        self._queue(lane)  # at the end of the line: no lane serves itself first while others wait
        while self._line and self.in_flight < self._bounds.per_process and not self._stopped:
            next_lane = self._line.popleft()
            next_lane.queued = False
            self._fill(next_lane, at_most=1)
        return None

    def settled(self, lane: Lane, claim: Claim) -> None:
        """A claim's result is durable, or the claim was let go: it is no longer held."""
        lane.held -= 1
        self.held -= 1
        self.held_bytes -= len(claim.body)

    def load(self, now_ms: int) -> Load:
        """What they hold; goes through all lanes, so not to be asked for each claim."""
        lanes = list(self._lanes.values())
        waiting = [lane.waiting for lane in lanes if lane.waiting]
        oldest_ms = min((claims[0].due_ms for claims in waiting), default=now_ms)
        return Load(
            self.in_flight,
            self.held,
            sum(map(len, waiting)),
            max(now_ms - oldest_ms, 0),
            len(lanes),
            sum(lane.limit.allowed < lane.limit.maximum for lane in lanes),
            sum(lane.backlog for lane in lanes),
        )

    def go_on(self, lane: Lane) -> None:
        """Start what waits in a lane that was held back."""
        self._fill(lane)

    def stop(self) -> list[Claim]:
        """Start nothing more; gives the claims that were still waiting."""
        self._stopped = True
        waiting = [claim for lane in self._lanes.values() for claim in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        return waiting

    def forget_idle(self) -> None:
        """Drop the lanes that have nothing to remember, so that memory follows the work and not history."""
        for endpoint_id, lane in list(self._lanes.items()):
            if not lane.held and not lane.backlog and lane.limit.allowed == lane.limit.maximum:
                del self._lanes[endpoint_id]

    def _fill(self, lane: Lane, at_most: int | None = None) -> None:
        """Start what waits while there are slots. With ``at_most``, the lane then goes to the end of the line."""
        started = 0
        while lane.waiting and lane.in_flight < lane.limit.allowed and not self._stopped:
            if self.in_flight >= self._bounds.per_process or started == at_most:
                self._queue(lane)
                return
            lane.in_flight += 1
            self.in_flight += 1
            started += 1
            self._start(lane, lane.waiting.popleft())

    def _queue(self, lane: Lane) -> None:
        if lane.waiting and not lane.queued:
            lane.queued = True
            self._line.append(lane)
