"""Lanes: one per endpoint, each with its own slots, so that a slow endpoint never holds up another.

A lane holds claims that wait for a slot and counts those in the air. Three bounds: slots per lane, slots per process,
claims in memory. A claim that finds no room stays in the store, and its lane is marked to have a backlog there, which
the claimer fetches in order as room appears. What an endpoint can take by its settings is seen to here too: its own
number of slots, its circuit, and the rate of its requests. A request takes its token when it is sent, and an attempt
begins only when there is one for it: what lies between (a batch is sealed, say) brings no two requests closer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from tellwire.clock import Clock
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.model.delivery import WaitingFor
from tellwire.policy.circuit import CLOSED, Circuit
from tellwire.policy.rate import Bucket, LaneLimit
from tellwire.store.roster import LiveEndpoint

from .gathering import Gathering

HELD_PER_SLOT: Final = 256
"""How many claims a lane may hold for each slot that it has at present: a lane that is slowed down holds fewer."""
AHEAD_MS: Final = 2_000
"""How many claims a lane may hold: what it sends in so long, by what its attempts took of late. A claim that waits for
long in memory only costs the extension of its lease."""
LEAST_PER_SLOT: Final = 4
FIRST_MS: Final = 100
"""What an attempt of a new lane is thought to take."""
HELD_MS: Final = 15_000
"""How many claims a lane with a rate may hold: what it sends in so long."""
HELD_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of bodies all lanes may hold; beyond them, lanes only fill their slots."""


class LaneBounds(msgspec.Struct, frozen=True):
    """The bounds of all lanes of a process (settings ``in_flight_*`` and ``held_deliveries``)."""

    per_endpoint: int = 16
    per_process: int = 1_024
    held: int = 10_000


class HeldBack(NamedTuple):
    """Why a lane holds deliveries back; with its circuit, where that is open, or ``shared``, where others send too."""

    waiting_for: WaitingFor
    circuit: Circuit | None = None
    shared: bool = False


class Load(msgspec.Struct, frozen=True):
    """What the lanes of a process hold at one moment, for those who look on.

    ``lanes`` are those that it remembers, ``limited`` those among them that are slowed down, ``behind`` those that
    have due deliveries left in the store, ``broken`` those whose circuit is open. ``waiting_ms`` tells for how long
    the oldest claim that waits has been due, without the time for which it may wait for others to go along, and without
    those that wait for a circuit.
    """

    in_flight: int
    held: int
    waiting: int
    waiting_ms: int
    lanes: int
    limited: int
    behind: int
    broken: int


class Lane:
    """One endpoint's claims in this process."""

    __slots__ = (
        "backlog", "bucket", "circuit", "endpoint", "endpoint_id", "held", "in_flight", "limit", "per_request",
        "queued", "timer", "took_ms", "unsent", "waiting",
    )  # fmt: skip

    def __init__(self, endpoint_id: bytes, slots: int) -> None:
        self.endpoint_id = endpoint_id
        self.limit = LaneLimit.full(slots)
        self.waiting: deque[Claim] | Gathering = deque()  # a gathering is true when a batch may go
        self.per_request = 1  # how many deliveries one may carry
        self.in_flight = 0
        self.held = 0  # waiting, in flight or not yet recorded
        self.backlog = False  # due deliveries of this lane were left in the store
        self.queued = False  # stands in line for a slot of the process
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
        ahead = (
            min(max(int(AHEAD_MS / self.took_ms), LEAST_PER_SLOT), HELD_PER_SLOT)
            if self.took_ms
            else HELD_PER_SLOT
        )
        most = self.limit.allowed * max(ahead, self.per_request)
        if self.bucket is not None:
            most = min(most, (self.bucket.burst + int(self.bucket.per_ms * HELD_MS)) * self.per_request)
        return most

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
        if self.is_open:
            exclusive = self.endpoint is not None and self.endpoint.exclusive
            return HeldBack(WaitingFor.CIRCUIT, self.circuit if exclusive else None, shared=not exclusive)
        if self.timer is not None and self.waiting:
            return HeldBack(WaitingFor.RATE)
        gathers = isinstance(self.waiting, Gathering) and self.waiting.gathers
        return HeldBack(WaitingFor.BATCH) if gathers else None

    @property
    def at_rest(self) -> bool:
        """Whether it has nothing to remember but a bucket and a circuit."""
        return not self.held and not self.backlog and self.limit.allowed == self.limit.maximum


class Admission:
    """Says, for one publish or claim transaction, which lanes have room for claims that it makes.

    May run in the writer's thread, beside the event loop that owns the lanes: it only reads their counts, counting its
    own promises apart, so that a transaction that is rolled back leaves nothing behind. Claims that are committed but
    not yet held are not seen, so the bounds on held claims are soft by a batch.
    """

    def __init__(self, lanes: "Lanes", owns: Callable[[bytes], bool]) -> None:
        """``owns`` tells whether this process owns an exclusive lane."""
        self._lanes = lanes
        self._owns = owns
        self.left: set[bytes] = set()
        """Lanes that are to be taken first: the claimer does that."""
        self._promised: dict[bytes, int] = {}
        self._total = 0

    def admit(self, endpoint: LiveEndpoint) -> bool:
        """Whether one more claim may be made for this lane; if not, what is left becomes the lane's backlog.

        While a lane works off a backlog, new deliveries queue up behind it. One that holds nothing admits all the same:
        it is by the claims that it holds that it comes to fetch its backlog. An exclusive lane admits where it is ours.
        """
        endpoint_id = endpoint.id
        if endpoint.exclusive and not self._owns(endpoint_id):
            self.left.add(endpoint_id)
            return False
        lane = self._lanes.of(endpoint)
        promised = self._promised.get(endpoint_id, 0)
        if (lane.backlog and lane.held) or self._lanes.room(lane, self._total - promised) <= promised:
            lane.backlog = True
            return False
        self._promised[endpoint_id] = promised + 1
        self._total += 1
        return True


class Lanes:
    """All lanes of a process; starts attempts as slots become free, in turn among the lanes."""

    def __init__(self, bounds: LaneBounds, start: Callable[[Lane, Claim], None], clock: Clock) -> None:
        """``start`` begins an attempt; whoever does calls ``landed`` and ``settled`` when it is through."""
        self._bounds = bounds
        self._start = start
        self._clock = clock
        self._lanes: dict[bytes, Lane] = {}
        self._line: deque[Lane] = deque()
        self._stopped = False
        self.holding = asyncio.Event()
        """Set when a lane begins to hold something back."""
        self.in_flight = 0
        self.held = 0
        self.held_bytes = 0

    def __getitem__(self, endpoint_id: bytes) -> Lane:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            # setdefault, because the writer's thread asks too (see Admission) and both must see one lane
            lane = self._lanes.setdefault(endpoint_id, Lane(endpoint_id, self._bounds.per_endpoint))
        return lane

    def of(self, endpoint: LiveEndpoint) -> Lane:
        """The lane of an endpoint, with the settings that this has now."""
        lane = self[endpoint.id]
        if lane.endpoint is not endpoint:
            self._configure(lane, endpoint)
        return lane

    def _configure(self, lane: Lane, endpoint: LiveEndpoint) -> None:
        before, settings = lane.endpoint, endpoint.settings
        lane.endpoint = endpoint
        maximum = settings.max_in_flight or self._bounds.per_endpoint
        if lane.limit.maximum != maximum:
            lane.limit = lane.limit.resized(maximum)
        rate = settings.rate_limit
        if rate is None:
            lane.bucket = None
        elif before is None or before.settings.rate_limit != rate:
            # Empty at first: whoever owned the lane before may have spent all that there was.
            lane.bucket = Bucket(rate.per_ms, rate.at_once, 0, self._clock.now_ms())
        if before is not None and (before.settings.circuit is None) != (settings.circuit is None):
            lane.circuit = CLOSED
        self._line_up(lane, settings.batch)
        if lane.timer is not None:  # for a token that the lane may no longer need
            lane.timer.cancel()
            lane.timer = asyncio.get_running_loop().call_soon(self.go_on, lane)

    def _line_up(self, lane: Lane, batch: BatchSettings | None) -> None:
        """Have what waits in a lane wait as its endpoint's batches say."""
        before = lane.waiting
        if batch == (before.settings if isinstance(before, Gathering) else None):
            return
        waiting = list(before)
        before.clear()
        lane.per_request = 1 if batch is None else batch.max_events
        lane.waiting = (
            deque()
            if batch is None
            else Gathering(batch, self._clock, lambda: self.go_on(lane), self.holding.set)
        )
        for claim in waiting:
            lane.waiting.append(claim)
        if waiting and batch is None:
            asyncio.get_running_loop().call_soon(self.go_on, lane)

    def held_back(self) -> dict[bytes, HeldBack]:
        """The lanes that hold something back, and why."""
        found = ((id, lane.held_back) for id, lane in self._lanes.items())
        return {id: why for id, why in found if why is not None}

    def shed(self, lane: Lane) -> list[Claim]:
        """The claims that wait in a lane, which no longer has them; whoever asks lets them go."""
        waiting = list(lane.waiting)
        lane.waiting.clear()
        lane.backlog = lane.backlog or bool(waiting)
        return waiting

    def go_on(self, lane: Lane) -> None:
        """Start what waits in a lane that held it back."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        self._fill(lane)

    def is_busy(self, endpoint_id: bytes) -> bool:
        """Whether a lane holds anything, or has left something in the store."""
        lane = self._lanes.get(endpoint_id)
        return lane is not None and (lane.held > 0 or lane.backlog)

    def own(self, endpoint_id: bytes, idle_since_ms: int | None, circuit: Circuit | None) -> None:
        """This process owns the lane from now on, in which nobody has sent anything since then, or ever.

        ``circuit`` is as the last owner left it.
        """
        lane = self[endpoint_id]
        if circuit is not None and lane.endpoint is not None and lane.endpoint.settings.circuit is not None:
            lane.circuit = circuit
        bucket = lane.bucket
        if bucket is not None:
            tokens = bucket.burst if idle_since_ms is None else 0
            lane.bucket = Bucket(bucket.per_ms, bucket.burst, tokens, idle_since_ms or self._clock.now_ms())

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
        """Hold a claim: let it wait for a slot, or start it at once. Those that follow it are held, but not started."""
        lane = self[claim.endpoint_id]
        one: Claim | None = claim
        while one is not None:
            for each in (one, *one.along) if one.along else (one,):
                lane.held += 1
                self.held += 1
                self.held_bytes += len(each.body)
            one = one.follower
        lane.waiting.append(claim)
        self._fill(lane)

    def follow(self, lane: Lane, claim: Claim) -> None:
        """The attempt before has landed: let the claim that follows wait for a slot too, behind those that wait."""
        lane.waiting.append(claim)

    def may_send(self, lane: Lane, claim: Claim) -> bool:
        """A request is to be sent now, at this very moment: takes its token, if it has a limit to keep to.

        False where it must not be sent any more: the circuit has opened since it began, or its limit is a new one.
        """
        circuit, bucket = lane.circuit, lane.bucket
        now_ms = self._clock.now_ms()
        if circuit.is_open and (circuit.probe_ms > now_ms or lane.in_flight > 1):
            return False
        if bucket is None:
            return True
        taken = bucket.taken(now_ms)
        if taken is None:
            return False
        lane.bucket = taken
        lane.unsent.discard(claim)
        if lane.timer is None:
            self._fill(lane)
        return True

    def landed(self, lane: Lane, claim: Claim) -> Claim | None:
        """The attempt of ``claim`` has ended and its slot is free: gives the one to send next in it, if that is this
        lane's."""
        lane.unsent.discard(claim)
        may_go_on = (
            not self._line and lane.waiting and lane.in_flight <= lane.limit.allowed and not lane.is_open
        )
        if may_go_on and not self._stopped and self._may_begin(lane):
            following = self._next(lane)
            if (
                lane.in_flight < lane.limit.allowed
            ):  # it has recovered, and may have more in the air than before
                self._fill(lane)
            return following
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
        oldest_ms = min(
            (ms for lane in lanes if not lane.is_open and (ms := lane.since_ms) is not None), default=now_ms
        )
        return Load(
            self.in_flight,
            self.held,
            sum([len(lane.waiting) for lane in lanes]),
            max(now_ms - oldest_ms, 0),
            len(lanes),
            sum(lane.limit.allowed < lane.limit.maximum for lane in lanes),
            sum(lane.backlog for lane in lanes),
            sum(lane.is_open for lane in lanes),
        )

    def stop(self) -> list[Claim]:
        """Start nothing more; gives the claims that were still waiting."""
        self._stopped = True
        waiting = [claim for lane in self._lanes.values() for claim in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
            if lane.timer is not None:
                lane.timer.cancel()
        return waiting

    def forget_idle(self, owns: Callable[[bytes], bool]) -> None:
        """Drop the lanes that have nothing to remember, so that memory follows the work and not history."""
        for endpoint_id, lane in list(self._lanes.items()):
            remembers = lane.bucket is not None or (
                lane.endpoint is not None and lane.endpoint.settings.circuit is not None
            )
            if lane.at_rest and not (remembers and owns(endpoint_id)):
                del self._lanes[endpoint_id]

    def _fill(self, lane: Lane, at_most: int | None = None) -> None:
        """Start what waits while there are slots. With ``at_most``, the lane then goes to the end of the line."""
        started = 0
        while lane.waiting and lane.in_flight < lane.limit.allowed and not self._stopped:
            if self.in_flight >= self._bounds.per_process or started == at_most:
                self._queue(lane)
                return
            if not self._may_begin(lane):
                return
            lane.in_flight += 1
            self.in_flight += 1
            started += 1
            self._start(lane, self._next(lane))

    def _next(self, lane: Lane) -> Claim:
        claim = lane.waiting.popleft()
        if lane.bucket is not None:
            lane.unsent.add(claim)
        return claim

    def _may_begin(self, lane: Lane) -> bool:
        """Whether circuit and rate allow an attempt now; if not, the lane goes on by itself."""
        bucket, circuit = lane.bucket, lane.circuit
        if bucket is None and circuit.opened_ms is None:
            return True
        now_ms = self._clock.now_ms()
        if circuit.is_open:
            if lane.in_flight:
                return False  # one probe at a time
            if circuit.probe_ms > now_ms:
                return self._hold(lane, circuit.probe_ms - now_ms)
        if bucket is None:
            return True
        others = len(lane.unsent)
        if others >= bucket.burst:
            return False  # until one of them is sent, or lands
        wait_ms = bucket.wait_ms(now_ms, others + 1)
        return self._hold(lane, wait_ms) if wait_ms else True

    def _hold(self, lane: Lane, wait_ms: int) -> bool:
        if lane.timer is None:
            lane.timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self.go_on, lane)
            self.holding.set()
        return False

    def _queue(self, lane: Lane) -> None:
        if lane.waiting and not lane.queued:
            lane.queued = True
            self._line.append(lane)
