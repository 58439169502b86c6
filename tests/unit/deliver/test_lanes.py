"""Lanes without an event loop: whose turn it is, and which bounds hold."""

import asyncio
from collections import Counter

import msgspec

from tellwire.clock import SystemClock
from tellwire.deliver.admission import Admission
from tellwire.deliver.lane import AHEAD_MS, HELD_PER_SLOT, LEAST_PER_SLOT, HeldBack, Lane
from tellwire.deliver.lanes import LaneBounds, Lanes
from tellwire.model.authentication import BearerAuthentication
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.model.delivery import WaitingFor
from tellwire.model.endpoint import EndpointState
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.lane_settings import CircuitSettings, RateLimit
from tellwire.policy.circuit import Circuit
from tellwire.policy.subscribing import compile_subscriptions
from tellwire.store.roster import LiveEndpoint


def lane_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def endpoint(number: int, settings: EndpointSettings | None = None) -> LiveEndpoint:
    settings = settings or EndpointSettings()
    wants = compile_subscriptions([])
    return LiveEndpoint(
        lane_id(number), "ep", "default", "https://a.example", wants, EndpointState.ENABLED, {}, (),
        settings, exclusive=settings.exclusive,
    )  # fmt: skip


def claim(lane: int, number: int = 0) -> Claim:
    return Claim(number.to_bytes(16, "big"), b"e" * 16, lane_id(lane), "evt_1", "order.paid", b"{}", 1, 0)


class World:
    """Plays the engine: keeps what is in the air, and lets it land."""

    def __init__(self, bounds: LaneBounds) -> None:
        self.started: list[Claim] = []
        self.in_air: list[tuple[Lane, Claim]] = []
        self.lanes = Lanes(bounds, self._start, SystemClock())

    def _start(self, lane: Lane, claim: Claim) -> None:
        self.started.append(claim)
        self.in_air.append((lane, claim))

    def land(self, index: int = 0) -> None:
        lane, claim = self.in_air.pop(index)
        following = self.lanes.landed(lane, claim)
        if following is not None:
            self._start(lane, following)
        self.lanes.settled(lane, claim)

    def take(self, lane: int, count: int) -> None:
        for number in range(count):
            self.lanes.take(claim(lane, number))


def test_a_lane_sends_in_the_order_in_which_it_got_its_claims() -> None:
    """With one slot, claims start one after the other, first come first served."""
    world = World(LaneBounds(per_endpoint=1))
    world.take(1, 5)
    while world.in_air:
        world.land()
    assert [claim.delivery_id for claim in world.started] == [
        number.to_bytes(16, "big") for number in range(5)
    ]


def test_neither_a_lane_nor_the_process_exceeds_its_slots() -> None:
    """At every moment the bounds hold, and the counts come back to nothing."""
    world = World(LaneBounds(per_endpoint=3, per_process=7))
    for lane in range(5):
        world.take(lane, 20)
    while world.in_air:
        assert len(world.in_air) == world.lanes.in_flight <= 7
        assert max(Counter(lane.endpoint_id for lane, _ in world.in_air).values()) <= 3
        world.land(len(world.started) % len(world.in_air))
    assert len(world.started) == 100
    assert (world.lanes.in_flight, world.lanes.held) == (0, 0)


def test_free_slots_are_used() -> None:
    """While claims wait, as many are in the air as the bounds allow."""
    world = World(LaneBounds(per_endpoint=4, per_process=6))
    world.take(1, 50)
    world.take(2, 50)
    for _ in range(80):
        assert len(world.in_air) == 6
        world.land()


def test_a_lane_of_one_waits_its_turn_and_not_the_queue_of_another() -> None:
    """A single claim in a busy process starts after at most one turn of each lane, however much these have waiting."""
    world = World(LaneBounds(per_endpoint=4, per_process=4))
    for lane in range(4):
        world.take(lane, 200)
    world.take(9, 1)
    landings = 0
    while all(claim.endpoint_id != lane_id(9) for claim in world.started):
        world.land()
        landings += 1
    assert landings <= 5


def test_lanes_in_line_take_turns() -> None:
    """When all lanes have more than enough, each gets its share of the slots of the process."""
    world = World(LaneBounds(per_endpoint=8, per_process=8))
    for lane in range(4):
        world.take(lane, 100)
    for _ in range(200):
        world.land()
    counts = Counter(claim.endpoint_id for claim in world.started[20:])
    assert max(counts.values()) - min(counts.values()) <= 8


def test_what_sick_lanes_hold_leaves_room_for_a_healthy_one() -> None:
    """However many claims sick lanes have piled up, a healthy lane may hold what its slots can send."""
    world = World(LaneBounds(per_endpoint=4, per_process=1_000, held=100))
    for lane in range(50):
        world.take(lane, 4)
    assert world.lanes.held > 100
    healthy = world.lanes[lane_id(99)]
    assert world.lanes.room(healthy) == 4


def test_a_slowed_lane_starts_no_more_than_it_may() -> None:
    """After "too much" a lane lets slots run empty until it is within its new limit."""
    world = World(LaneBounds(per_endpoint=8))
    world.take(1, 50)
    lane = world.lanes[lane_id(1)]
    lane.limit = lane.limit.slowed().slowed()
    for _ in range(6):
        world.land()
    assert len(world.in_air) == 2


def test_a_recovered_lane_uses_its_slots_again() -> None:
    """As its limit grows back, a lane fills the new slots from what waits in memory."""
    world = World(LaneBounds(per_endpoint=4))
    lane = world.lanes[lane_id(1)]
    lane.limit = lane.limit.slowed().slowed()
    world.take(1, 50)
    assert len(world.in_air) == 1
    for _ in range(30):
        lane.limit = lane.limit.recovered()
        world.land()
    assert len(world.in_air) == lane.limit.allowed == 4


def test_a_slowed_lane_holds_less() -> None:
    """What a lane may hold follows the slots that it has at present."""
    lanes = World(LaneBounds(per_endpoint=4)).lanes
    lane = lanes[lane_id(1)]
    lane.took_ms = 1
    assert lanes.room(lane) == 4 * HELD_PER_SLOT
    lane.limit = lane.limit.slowed()
    assert lanes.room(lane) == 2 * HELD_PER_SLOT


def test_a_slow_lane_holds_what_it_sends_in_a_while() -> None:
    """What attempts took of late says how many claims are worth holding; a new lane is neither fast nor slow."""
    lanes = World(LaneBounds(per_endpoint=4)).lanes
    lane = lanes[lane_id(1)]
    assert 4 * LEAST_PER_SLOT < lanes.room(lane) < 4 * HELD_PER_SLOT
    for took_ms in (1.0, 5e-324, 0.0):
        lane.took_ms = (
            took_ms  # of a receiver that always answers within a millisecond, it becomes as small as can be
        )
        assert lanes.room(lane) == 4 * HELD_PER_SLOT
    lane.took_ms = 50.0
    assert lanes.room(lane) == 4 * AHEAD_MS // 50
    lane.took_ms = 10_000.0
    assert lanes.room(lane) == 4 * LEAST_PER_SLOT


def test_after_the_stop_nothing_starts() -> None:
    """``stop`` gives what waits, and what lands afterwards starts nothing."""
    world = World(LaneBounds(per_endpoint=1))
    world.take(1, 5)
    assert len(world.lanes.stop()) == 4
    world.land()
    assert world.in_air == []


def test_idle_lanes_are_forgotten_and_others_are_not() -> None:
    """Memory keeps the lanes that hold something, have a backlog or are slowed down."""
    lanes = World(LaneBounds(per_endpoint=4)).lanes
    for number in range(4):
        lanes[lane_id(number)].held = 1 if number == 1 else 0
    lanes[lane_id(2)].backlog = True
    lanes[lane_id(3)].limit = lanes[lane_id(3)].limit.slowed()
    lanes.forget_idle(lambda id: False)
    assert set(lanes._lanes) == {lane_id(1), lane_id(2), lane_id(3)}


def test_a_transaction_is_admitted_as_many_as_there_is_room_for() -> None:
    """What one transaction is promised counts against lane and process; the rest becomes the lane's backlog."""
    lanes = World(LaneBounds(per_endpoint=2, held=10)).lanes
    admission = Admission(lanes, lambda id: False)
    for lane in range(3):
        promised = [admission.admit(endpoint(lane)) for _ in range(100)]
        assert promised.count(True) == (10 if lane == 0 else 2)
        assert lanes[lane_id(lane)].backlog
        assert lane_id(lane) in admission.queued


def test_an_exclusive_lane_admits_only_where_it_is_owned() -> None:
    """Elsewhere nothing is claimed, and the lane is named to the claimer."""
    lanes = World(LaneBounds()).lanes
    limited = endpoint(1, EndpointSettings(max_in_flight=2))
    stranger, owner = Admission(lanes, lambda id: False), Admission(lanes, lambda id: id == limited.id)
    assert not stranger.admit(limited)
    assert stranger.left == {limited.id}
    assert owner.admit(limited)
    assert owner.left == set()
    assert owner.admit(endpoint(2))
    assert stranger.queued == owner.queued == set()


def test_an_endpoint_has_as_many_slots_as_its_settings_say() -> None:
    """More or fewer than others; a change holds from the next look on, and a slowed lane stays slow."""
    world = World(LaneBounds(per_endpoint=4))
    lane = world.lanes.of(endpoint(1, EndpointSettings(max_in_flight=2)))
    world.take(1, 10)
    assert len(world.in_air) == 2
    world.lanes.of(endpoint(1, EndpointSettings(max_in_flight=6)))
    world.land()
    assert len(world.in_air) == 6
    lane.limit = lane.limit.slowed()
    world.lanes.of(endpoint(1))
    assert (lane.limit.maximum, lane.limit.allowed) == (4, 3)


def test_a_lane_with_a_rate_forgets_its_bucket_only_when_it_is_another_s() -> None:
    """Who owns it may have spent its tokens."""
    lanes = World(LaneBounds()).lanes
    lane = lanes.of(endpoint(1, EndpointSettings(rate_limit=RateLimit(5))))
    assert lane.bucket is not None
    assert lane.bucket.tokens == 0
    lanes.forget_idle(lambda id: True)
    assert lanes[lane.endpoint_id] is lane
    lanes.forget_idle(lambda id: False)
    assert lanes[lane.endpoint_id] is not lane


def test_a_lane_that_nobody_has_owned_begins_with_its_burst() -> None:
    """One that somebody gave up a while ago has what has come back since."""
    lanes = World(LaneBounds()).lanes
    lane = lanes.of(endpoint(1, EndpointSettings(rate_limit=RateLimit(60, "minute", 3))))
    lanes.own(lane.endpoint_id, None, None)
    assert lane.bucket is not None
    assert lane.bucket.tokens == 3
    lanes.own(lane.endpoint_id, SystemClock().now_ms() - 2_000, None)
    first = lane.bucket.taken(SystemClock().now_ms())
    assert first is not None
    assert first.tokens < 1.5


async def test_a_token_is_taken_when_the_request_is_sent() -> None:
    """So many attempts begin as there are tokens, however long each takes until it sends; one that ends without a
    request leaves its token to the next."""
    world = World(LaneBounds())
    lane = world.lanes.of(endpoint(1, EndpointSettings(rate_limit=RateLimit(1, "minute", 2))))
    world.lanes.own(lane.endpoint_id, None, None)
    world.take(1, 5)
    assert len(world.in_air) == 2
    assert lane.bucket is not None
    assert lane.bucket.tokens == 2
    assert world.lanes.may_send(lane, world.in_air[0][1])
    assert lane.bucket.tokens == 1
    assert len(world.in_air) == 2
    world.land(1)  # unsent
    assert len(world.started) == 3
    assert world.lanes.may_send(lane, world.started[2])
    assert lane.bucket.tokens < 1
    world.land()
    world.land()
    assert len(world.started) == 3
    world.lanes.stop()


async def test_a_request_whose_limit_has_changed_meanwhile_is_not_sent() -> None:
    """A new limit begins with an empty bucket, for those that had begun under the old one too."""
    world = World(LaneBounds())
    lane = world.lanes.of(endpoint(1, EndpointSettings(rate_limit=RateLimit(1, "minute", 2))))
    world.lanes.own(lane.endpoint_id, None, None)
    world.take(1, 1)
    world.lanes.of(endpoint(1, EndpointSettings(rate_limit=RateLimit(1, "minute", 1))))
    assert not world.lanes.may_send(lane, world.in_air[0][1])
    world.lanes.of(endpoint(1))
    assert world.lanes.may_send(lane, world.in_air[0][1])


def test_nothing_is_sent_any_more_where_the_circuit_has_opened() -> None:
    """What had begun, and was not sent yet, waits like all the others; only one alone may go, as the probe."""
    world = World(LaneBounds())
    lane = world.lanes.of(endpoint(1, EndpointSettings(circuit=CircuitSettings())))
    world.take(1, 2)
    now_ms = SystemClock().now_ms()
    lane.circuit = Circuit(opened_ms=now_ms, probe_ms=now_ms + 600_000)
    assert not world.lanes.may_send(lane, world.in_air[0][1])
    lane.circuit = Circuit(opened_ms=now_ms, probe_ms=now_ms - 1)
    assert not world.lanes.may_send(lane, world.in_air[0][1])
    world.land(1)
    assert world.lanes.may_send(lane, world.in_air[0][1])


def test_nothing_is_sent_any_more_once_the_receiver_has_asked_for_a_pause() -> None:
    """What had begun, and was not sent yet, is not sent before the pause is over."""
    world = World(LaneBounds())
    lane = world.lanes.of(endpoint(1))
    world.take(1, 2)
    lane.limit = lane.limit.held_back()
    assert not world.lanes.may_send(lane, world.in_air[0][1])
    lane.limit = lane.limit.let_go()
    assert world.lanes.may_send(lane, world.in_air[0][1])


def test_an_endpoint_that_was_mended_is_tried_at_once() -> None:
    """What may have been the trouble has changed: the next probe need not wait. Other changes say nothing of it."""
    breaks = EndpointSettings(circuit=CircuitSettings(probe_after_s=600))
    before, now_ms = endpoint(1, breaks), SystemClock().now_ms()
    is_open = Circuit(opened_ms=now_ms - 5, probe_ms=now_ms + 600_000, probes=3)
    tried = []
    for after in (
        msgspec.structs.replace(before, url="https://b.example"),
        msgspec.structs.replace(before, headers={"X-Token": "mended"}),
        endpoint(1, msgspec.structs.replace(breaks, authentication=BearerAuthentication("mended"))),
        endpoint(1, msgspec.structs.replace(breaks, circuit=CircuitSettings(probe_after_s=1))),
        endpoint(1, msgspec.structs.replace(breaks, max_in_flight=3)),
        msgspec.structs.replace(before),
    ):
        lanes = World(LaneBounds()).lanes
        lane = lanes.of(before)
        lane.circuit = is_open
        lanes.of(after)
        assert lane.circuit.opened_ms == is_open.opened_ms
        tried.append(lane.circuit.probe_ms < now_ms + 600_000)
    assert tried == [True, True, True, True, False, False]


async def test_what_waits_goes_as_soon_as_batches_are_small_enough_for_it() -> None:
    """Events that wait for many others are a whole batch once the endpoint takes fewer at a time."""
    world = World(LaneBounds())
    lane = world.lanes.of(endpoint(1, EndpointSettings(batch=BatchSettings(max_events=100, max_wait_s=60))))
    for number in range(12):
        waits = claim(1, number)
        waits.due_ms = SystemClock().now_ms()
        world.lanes.take(waits)
    assert not world.started
    world.lanes.of(endpoint(1, EndpointSettings(batch=BatchSettings(max_events=5, max_wait_s=60))))
    await asyncio.sleep(0)  # the lane is filled in the next turn of the event loop
    assert [1 + len(claim.along) for claim in world.started] == [5, 5]
    lane.waiting.clear()


def test_only_a_circuit_that_is_set_goes_with_the_lane() -> None:
    """What the next owner of a lane is told: a light circuit is each process's own, also where other limits hold."""
    is_open = Circuit(opened_ms=1, probe_ms=2)
    told = []
    for settings in (
        EndpointSettings(),
        EndpointSettings(max_in_flight=2),
        EndpointSettings(circuit=CircuitSettings()),
    ):
        lane = World(LaneBounds()).lanes.of(endpoint(1, settings))
        lane.circuit = is_open
        told.append(lane.held_back)
    assert told == [
        HeldBack(WaitingFor.CIRCUIT, shared=True),
        HeldBack(WaitingFor.CIRCUIT),
        HeldBack(WaitingFor.CIRCUIT, is_open),
    ]


def test_what_is_left_alone_is_not_late() -> None:
    """How long something has been waiting tells of trouble: not of lanes that their receivers hold back or fail."""
    world = World(LaneBounds(per_endpoint=1))
    for number, due_ms in ((1, 1_000), (2, 2_000), (3, 3_000)):
        for late in (claim(number, 0), claim(number, 1)):
            world.lanes.take(msgspec.structs.replace(late, due_ms=due_ms))
    now_ms = 10_000
    lanes = [world.lanes.of(endpoint(number)) for number in (1, 2, 3)]
    assert world.lanes.load(now_ms).waiting_ms == 9_000
    lanes[0].circuit = Circuit(opened_ms=5_000, probe_ms=60_000)
    assert world.lanes.load(now_ms).waiting_ms == 8_000
    lanes[1].limit = lanes[1].limit.held_back()
    assert world.lanes.load(now_ms).waiting_ms == 7_000
    lanes[2].circuit = Circuit(opened_ms=5_000, probe_ms=60_000)
    assert world.lanes.load(now_ms).waiting_ms == 0
    assert world.lanes.load(now_ms).waiting == 3
