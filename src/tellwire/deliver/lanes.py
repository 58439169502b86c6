"""Lanes: one per endpoint, each with its own slots, so that a slow endpoint never holds up another.

A lane holds claims that wait for a slot and counts those in the air. Bounds: slots per lane, per process and tenant
(see ``turns``), claims in memory. A claim that finds no room stays in the store, and its lane is marked to have a
backlog there, which the claimer fetches in order as room appears. What an endpoint can take by its settings is seen to
here too: its own number of slots, its circuit, and the rate of its requests. A request takes its token when it is sent,
and an attempt begins only when there is one for it: what lies between (a batch is sealed, say) brings no two requests
closer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from tellwire.clock import Clock
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.policy.circuit import CLOSED, Circuit
from tellwire.policy.rate import Bucket
from tellwire.store.roster import LiveEndpoint

from .gathering import Gathering
from .lane import HeldBack, Lane
from .turns import PART_OF_A_TENANT, Turns
from .yielding import Yielding

HELD_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of bodies all lanes may hold; beyond them, lanes only fill their slots."""
_MUCH: Final = 4
"""A lane in which so many wait for each of its slots is behind, also where it has left nothing in the store."""


class LaneBounds(msgspec.Struct, frozen=True):
    """The bounds of all lanes of a process (settings ``in_flight_*`` and ``held_deliveries``)."""

    per_endpoint: int = 16
    per_process: int = 1_024
    held: int = 10_000


class Load(msgspec.Struct, frozen=True):
    """What the lanes of a process hold at one moment, for those who look on.

    ``lanes`` are those that it remembers, ``limited`` those among them that are slowed down, ``behind`` those that
    have due deliveries left in the store, ``broken`` those whose circuit is open. ``waiting_ms`` tells for how long
    the oldest claim that waits has been due, without the time for which it may wait for others to go along, and without
    those that wait for a circuit or until their receiver wants more.
    """

    in_flight: int
    held: int
    waiting: int
    waiting_ms: int
    lanes: int
    limited: int
    behind: int
    broken: int


class Lanes:
    """All lanes of a process; starts attempts as slots become free, in turn among the lanes."""

    def __init__(
        self,
        bounds: LaneBounds,
        start: Callable[[Lane, Claim], None],
        clock: Clock,
        yielding: Yielding | None = None,
        find: Callable[[bytes], LiveEndpoint | None] = lambda _: None,
    ) -> None:
        """``start`` begins an attempt; whoever does calls ``landed`` and ``settled`` when it is through. ``yielding``
        says what lanes that are behind may do; by default all they can. ``find`` knows the endpoint of a new lane."""
        self._find = find
        self._bounds = bounds
        self._start = start
        self._clock = clock
        self._lanes: dict[bytes, Lane] = {}
        per_tenant = max(bounds.per_endpoint, int(bounds.per_process * PART_OF_A_TENANT))
        self._turns: Turns[Lane] = Turns(bounds.per_process, per_tenant)
        self._yielding = yielding
        self._stopped = False
        self.holding = asyncio.Event()
        """Set when a lane begins to hold something back."""
        self.held = 0
        self.held_bytes = 0

    @property
    def in_flight(self) -> int:
        """How many attempts are in the air."""
        return self._turns.in_flight

    def __getitem__(self, endpoint_id: bytes) -> Lane:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            # setdefault, because the writer's thread asks too (see Admission) and both must see one lane
            lane = self._lanes.setdefault(endpoint_id, Lane(endpoint_id, self._bounds.per_endpoint))
            # Claims may be on their way into a lane that was forgotten meanwhile: its limits hold for them as well.
            if lane.endpoint is None and (endpoint := self._find(endpoint_id)) is not None:
                self._configure(lane, endpoint)
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
        if before is None:
            lane.share = self._turns.share_of(endpoint.tenant)
            lane.share.in_flight += lane.in_flight
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
        elif before is not None and lane.is_open and _mended(before, endpoint):
            lane.circuit = lane.circuit.tried_at(self._clock.now_ms())
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
        if lane.waiting:  # also where what has gathered is enough for a smaller batch
            asyncio.get_running_loop().call_soon(self.go_on, lane)

    def held_back(self) -> dict[bytes, HeldBack]:
        """The lanes that hold something back, and why."""
        now_ms = self._clock.now_ms()
        found = ((id, lane.held_back or lane.kept_waiting(now_ms)) for id, lane in self._lanes.items())
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

    def knows(self, endpoint_id: bytes) -> bool:
        """Whether there is anything to remember of a lane."""
        return endpoint_id in self._lanes

    def own(self, endpoint_id: bytes, idle_since_ms: int | None, circuit: Circuit | None) -> None:
        """This process owns the lane from now on, in which nobody has sent anything since then, or ever.

        ``circuit`` is as the last owner left it.
        """
        lane = self[endpoint_id]
        if circuit is not None and lane.sets_circuit:
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
        if self._yielding is not None and not _is_behind(lane):
            # What is sent again had a time of its own to wait for, and may be claimed somewhat after that.
            self._yielding.others(None if claim.attempt_count else self._clock.now_ms() - claim.due_ms)
        self.hold(lane, claim)
        lane.waiting.append(claim)
        self._fill(lane)

    def hold(self, lane: Lane, claim: Claim) -> None:
        """Hold a claim and those that follow it, and start nothing."""
        one: Claim | None = claim
        while one is not None:
            for each in (one, *one.along) if one.along else (one,):
                lane.held += 1
                self.held += 1
                self.held_bytes += len(each.body)
            one = one.follower

    def follow(self, lane: Lane, claim: Claim) -> None:
        """The attempt before has landed: let the claim that follows wait for a slot too, behind those that wait."""
        lane.waiting.append(claim)

    def may_send(self, lane: Lane, claim: Claim) -> bool:
        """A request is to be sent now, at this very moment: takes its token, if it has a limit to keep to.

        False where it must not be sent any more: the lane is held back since it began (a batch is sealed first), or the
        circuit has opened, or its limit is a new one.
        """
        if not lane.limit.allowed:
            return False
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
        if lane.unsent:
            lane.unsent.discard(claim)
        if self._yielding is not None and self._yielding.rest_s and _is_behind(lane):
            self._rest(lane, self._yielding.rest_s)
        may_go_on = (
            not self._turns.others_wait(lane)
            and lane.waiting
            and lane.in_flight <= (slots := self._slots(lane))
            and not lane.is_open
        )
        if may_go_on and not self._stopped and self._may_begin(lane):
            following = self._next(lane)
            if lane.in_flight < slots:  # it has recovered, and may have more in the air than before
                self._fill(lane)
            return following
        lane.in_flight -= 1
        self._turns.end(lane)
        if lane.waiting:
            self._turns.wait(lane)  # no lane serves itself first while others wait
        while not self._stopped and (next_lane := self._turns.next()) is not None:
            if not self._fill(next_lane, at_most=1):
                self._turns.passed(next_lane)
        return None

    def settled(self, lane: Lane, claim: Claim) -> None:
        """A claim's result is durable, or the claim was let go: it is no longer held."""
        lane.held -= 1
        self.held -= 1
        self.held_bytes -= len(claim.body)

    def load(self, now_ms: int) -> Load:
        """What they hold; goes through all lanes, so not to be asked for each claim."""
        lanes = list(self._lanes.values())
        # But for what is left alone.
        late = [lane for lane in lanes if not lane.is_open and lane.limit.allowed]
        oldest_ms = min((ms for lane in late if (ms := lane.since_ms) is not None), default=now_ms)
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
        if self._yielding is not None:
            self._yielding.stop()
        waiting = [claim for lane in self._lanes.values() for claim in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
            if lane.timer is not None:
                lane.timer.cancel()
        return waiting

    def forget_idle(self, owns: Callable[[bytes], bool]) -> None:
        """Drop the lanes that have nothing to remember, so that memory follows the work and not history."""
        for endpoint_id, lane in list(self._lanes.items()):
            remembers = lane.bucket is not None or lane.sets_circuit
            if lane.at_rest and not (remembers and owns(endpoint_id)):
                del self._lanes[endpoint_id]
        endpoints = [lane.endpoint for lane in self._lanes.values() if lane.endpoint is not None]
        self._turns.forget({endpoint.tenant for endpoint in endpoints})

    def _fill(self, lane: Lane, at_most: int | None = None) -> int:
        """Start what waits while there are slots; gives how many. With ``at_most``, the lane then stands in line."""
        started = 0
        while lane.waiting and lane.in_flight < self._slots(lane) and not self._stopped:
            if started == at_most:
                self._turns.wait(lane)
                break
            if not self._turns.has_slot(lane) or not self._may_begin(lane):
                break
            lane.in_flight += 1
            self._turns.begin(lane)
            started += 1
            self._start(lane, self._next(lane))
        if lane.waiting and lane.is_full:
            self.holding.set()
        return started

    def _slots(self, lane: Lane) -> int:
        """How many slots a lane may use at this moment."""
        allowed = lane.limit.allowed
        if self._yielding is None or not _is_behind(lane):
            return allowed
        return min(self._yielding.slots(allowed), allowed - lane.resting)

    def _rest(self, lane: Lane, rest_s: float) -> None:
        lane.resting += 1
        asyncio.get_running_loop().call_later(rest_s, self._rested, lane)

    def _rested(self, lane: Lane) -> None:
        lane.resting -= 1
        self._fill(lane)

    def _next(self, lane: Lane) -> Claim:
        if self._yielding is not None and _is_behind(lane):
            self._yielding.begun()
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


def _is_behind(lane: Lane) -> bool:
    return lane.backlog or len(lane.waiting) > _MUCH * lane.limit.allowed


def _mended(before: LiveEndpoint, after: LiveEndpoint) -> bool:
    """Whether something has changed that may have been why an endpoint fails, or when it is to be tried."""
    return (
        before.url != after.url
        or before.headers != after.headers
        or before.settings.authentication != after.settings.authentication
        or before.settings.circuit != after.settings.circuit
    )
