"""Yielding: who is behind does less while others are kept waiting, and only then."""

import asyncio

import msgspec
import pytest

from tellwire.clock import SystemClock
from tellwire.deliver import yielding as module
from tellwire.deliver.lane import Lane
from tellwire.deliver.lanes import LaneBounds, Lanes
from tellwire.deliver.yielding import Yielding
from tellwire.model.claim import Claim

from .test_lanes import claim, lane_id

LATE_S, IN_TIME_S = 0.012, 0.001
LOOK_S = 0.02
CALM_MS = 5
LONG_MS = 30


@pytest.fixture
def yielding() -> Yielding:
    """After calm times, and with a lane that is behind from now on."""
    made = Yielding()
    for _ in range(200):
        made.others(CALM_MS)
    return made


def look(yielding: Yielding, waited_ms: int | None, begun: int = 40, late_s: float = IN_TIME_S) -> float:
    """One look after attempts of lanes that are behind and one of another; gives how long slots rest then."""
    for _ in range(begun):
        yielding.begun()
    yielding.others(waited_ms)
    yielding.looked(late_s, LOOK_S)
    return yielding.rest_s


async def test_slots_go_while_it_is_late_and_come_back(yielding: Yielding) -> None:
    """Ever fewer, but two at least; more again when the event loop is in time; and all in the end."""
    assert yielding.slots(16) == 16
    found = []
    for late_s in [LATE_S] * 20 + [IN_TIME_S] * 50:
        look(yielding, CALM_MS, late_s=late_s)
        found.append(yielding.slots(16))
    assert found[:20] == sorted(found[:20], reverse=True)
    assert found[19] == 2
    assert found[20:] == sorted(found[20:])
    assert found[-1] == 16
    assert yielding.rest_s == 0
    yielding.stop()


async def test_slots_rest_while_others_wait_and_no_longer(yielding: Yielding) -> None:
    """Ever longer, while others wait far longer than in calm times; ever shorter when not, and then not at all."""
    rests = [look(yielding, LONG_MS) for _ in range(10)]
    assert rests == sorted(rests)
    assert 0 < rests[0] < rests[-1]
    assert yielding.slots(16) == 16
    shorter = [look(yielding, CALM_MS * 2) for _ in range(200)]
    assert shorter == sorted(shorter, reverse=True)
    assert shorter[0] > shorter[-1] == 0
    yielding.stop()


async def test_what_is_long_is_learned_in_calm_times() -> None:
    """Where others always wait so long, nobody is kept waiting. While somebody is behind, nothing is learned."""
    slow = Yielding()
    for _ in range(200):
        slow.others(LONG_MS)
    assert look(slow, LONG_MS) == 0
    for _ in range(200):
        look(slow, LONG_MS * 4)
    assert slow.rest_s > 0
    slow.stop()


async def test_what_is_not_for_them_to_wait_is_not_counted(yielding: Yielding) -> None:
    """An attempt that is not the first says that there are others, and not that they are kept waiting."""
    assert [look(yielding, None) for _ in range(10)] == [0.0] * 10
    yielding.stop()


async def test_rests_leave_half_of_the_speed(yielding: Yielding) -> None:
    """Who begins no more than half of what was begun without rests does not rest longer, however long others wait."""
    for _ in range(100):
        look(yielding, CALM_MS, begun=80)
    rest_s = look(yielding, LONG_MS, begun=80)
    assert 0 < rest_s < look(yielding, LONG_MS, begun=60)
    longest_s = yielding.rest_s
    assert [look(yielding, LONG_MS, begun=38) for _ in range(10)] == [longest_s] * 10
    yielding.stop()


async def test_who_does_little_does_not_rest(yielding: Yielding) -> None:
    """Some hundred attempts a second are not what others wait for."""
    assert [look(yielding, LONG_MS, begun=9) for _ in range(50)] == [0.0] * 50
    yielding.stop()


async def test_a_rest_has_a_bound(yielding: Yielding) -> None:
    """However many lanes are behind."""
    for _ in range(100):
        look(yielding, LONG_MS)
    assert yielding.rest_s == module._LONGEST_REST_S
    yielding.stop()


async def test_who_is_alone_yields_to_nobody() -> None:
    """Where no lane has anything to send that is not behind, being late harms nobody; nor is one slot made less."""
    yielding = Yielding()
    for _ in range(10):
        yielding.looked(LATE_S, LOOK_S)
    assert yielding.slots(16) == 16
    for _ in range(10):
        look(yielding, LONG_MS, late_s=LATE_S)
    assert (yielding.slots(16), yielding.slots(1)) == (2, 1)
    assert yielding.rest_s > 0
    for _ in range(200):
        yielding.begun()
        yielding.looked(LATE_S, LOOK_S)
    assert yielding.slots(16) == 16
    assert yielding.rest_s == 0
    yielding.stop()


async def test_a_late_event_loop_is_noticed() -> None:
    """As long as somebody is behind."""
    yielding = Yielding()
    loop = asyncio.get_running_loop()
    while yielding.slots(16) > 2:
        yielding.others(None)
        yielding.begun()
        at = loop.time() + 0.05
        while loop.time() < at:  # what keeps it busy
            pass
        await asyncio.sleep(0)
    yielding.stop()
    assert yielding.slots(16) == 16
    yielding.stop()


async def test_it_looks_no_more_when_nobody_is_behind(yielding: Yielding) -> None:
    """And takes back what it had asked for."""
    yielding.begun()
    assert yielding._timer is not None
    async with asyncio.timeout(10):
        while yielding._timer is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert (yielding.slots(16), yielding.rest_s) == (16, 0)


class Sent:
    """Lanes of sixteen slots, one of them behind, and what they have begun."""

    def __init__(self) -> None:
        self.started: list[Claim] = []
        self.yielding = Yielding()
        self.lanes = Lanes(LaneBounds(per_endpoint=16), self._start, SystemClock(), self.yielding)
        self.behind, self.well = self.lanes[lane_id(1)], self.lanes[lane_id(2)]
        self.behind.backlog = True
        for number in range(60):
            self.lanes.take(claim(1, number))
        assert self.behind.in_flight == 16

    def _start(self, _: Lane, claim: Claim) -> None:
        self.started.append(claim)


async def test_a_lane_with_a_backlog_leaves_slots_unused() -> None:
    """What it has in the air lands, and not all of it is followed by another; a lane that is well has all its slots."""
    sent = Sent()
    for number in range(20):
        sent.lanes.take(claim(2, number))
        sent.yielding.looked(LATE_S, LOOK_S)
    for one in sent.started[:14]:
        sent.lanes.landed(sent.behind, one)
    assert (sent.behind.in_flight, sent.well.in_flight) == (2, 16)
    sent.lanes.stop()


async def test_a_slot_of_a_lane_with_a_backlog_rests_and_goes_on() -> None:
    """Nothing follows in it until then; in a lane that is well, and where none is to rest, something does at once."""
    sent = Sent()
    assert sent.lanes.landed(sent.behind, sent.started[0]) is not None
    for number in range(20):
        sent.lanes.take(claim(2, number))
    sent.yielding.stop()  # it must not look how late the event loop of a busy machine is
    sent.yielding.rest_s = 0.05
    assert sent.lanes.landed(sent.well, claim(2, 0)) is not None
    for one in sent.started[1:5]:
        assert sent.lanes.landed(sent.behind, one) is None
    assert (sent.behind.in_flight, sent.behind.resting) == (12, 4)
    sent.yielding.rest_s = 0.0
    async with asyncio.timeout(10):
        while sent.behind.resting:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert sent.behind.in_flight == 16
    sent.lanes.stop()


async def test_only_a_first_attempt_tells_how_long_it_waited() -> None:
    """The others had a time of their own to wait for."""
    sent, now_ms = Sent(), SystemClock().now_ms()
    again = msgspec.structs.replace(claim(2, 1), due_ms=now_ms - 5_000, attempt_count=1)
    sent.lanes.take(again)
    assert not sent.yielding._kept_waiting
    sent.lanes.take(msgspec.structs.replace(claim(2, 2), due_ms=now_ms - 5_000, attempt_count=0))
    assert sent.yielding._kept_waiting
    sent.lanes.stop()
