"""Yielding: who is behind leaves slots unused while the event loop is late for others, and only then."""

import asyncio

from tellwire.clock import SystemClock
from tellwire.deliver.lane import Lane
from tellwire.deliver.lanes import LaneBounds, Lanes
from tellwire.deliver.yielding import Yielding
from tellwire.model.claim import Claim

from .test_lanes import claim, lane_id

LATE_S, IN_TIME_S = 0.012, 0.001


async def test_slots_go_while_it_is_late_and_come_back() -> None:
    """Ever fewer, but two at least; more again when the event loop is in time; and all in the end."""
    yielding = Yielding()
    assert yielding.slots(16) == 16
    found = []
    for late_s in [LATE_S] * 20 + [IN_TIME_S] * 50:
        yielding.others()
        yielding.looked(late_s)
        found.append(yielding.slots(16))
    assert found[:20] == sorted(found[:20], reverse=True)
    assert found[19] == 2
    assert found[20:] == sorted(found[20:])
    assert found[-1] == 16
    yielding.stop()


async def test_who_is_alone_yields_to_nobody() -> None:
    """Where no lane has anything to send that is not behind, being late harms nobody; nor is one slot made less."""
    yielding = Yielding()
    for _ in range(10):
        yielding.looked(LATE_S)
    assert yielding.slots(16) == 16
    yielding.others()
    for _ in range(10):
        yielding.looked(LATE_S)
    assert (yielding.slots(16), yielding.slots(1)) == (2, 1)
    for _ in range(100):
        yielding.looked(LATE_S)
    assert yielding.slots(16) == 16
    yielding.stop()


async def test_a_late_event_loop_is_noticed() -> None:
    """As long as somebody is behind."""
    yielding = Yielding()
    loop = asyncio.get_running_loop()
    while yielding.slots(16) > 2:
        yielding.others()
        at = loop.time() + 0.05
        while loop.time() < at:  # what keeps it busy
            pass
        await asyncio.sleep(0)
    yielding.stop()
    assert yielding.slots(16) == 16
    yielding.stop()


async def test_a_lane_with_a_backlog_leaves_slots_unused() -> None:
    """What it has in the air lands, and not all of it is followed by another; a lane that is well has all its slots."""
    started: list[Claim] = []
    yielding = Yielding()

    def start(_: Lane, claim: Claim) -> None:
        started.append(claim)

    lanes = Lanes(LaneBounds(per_endpoint=16), start, SystemClock(), yielding)
    behind, well = lanes[lane_id(1)], lanes[lane_id(2)]
    behind.backlog = True
    for number in range(60):
        lanes.take(claim(1, number))
    assert behind.in_flight == 16
    for number in range(20):
        lanes.take(claim(2, number))
        yielding.looked(LATE_S)
    for one in started[:14]:
        lanes.landed(behind, one)
    assert (behind.in_flight, well.in_flight) == (2, 16)
    lanes.stop()
