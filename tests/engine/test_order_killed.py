"""Order through a crash: a worker is killed in the middle of its lines, another one goes on with them."""

import asyncio
from itertools import pairwise
from pathlib import Path

from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.model.delivery import State

from .cli_process import Process
from .embedded import KEY, LOOPBACK, all_are
from .lines import KEYS, Line, publish
from .workers import worker

EVENTS = 60


async def test_order_holds_when_a_worker_is_killed(tmp_path: Path, workers: list[Process]) -> None:
    """Takes as long as a lease. Each line arrives in order; what comes twice is a stretch, again from its first on."""
    url, whole, keyed = database_in(tmp_path), Line(), Line()
    options = Options(secret_key=KEY, egress=LOOPBACK, deliver=False)
    async with whole.receiver as one, keyed.receiver as two, Tellwire(url, options) as tellwire:
        await tellwire.endpoints.create(one.url, events=["*"], settings={"order": "endpoint"})
        await tellwire.endpoints.create(two.url, events=["*"], settings={"order": "key"})
        await publish(tellwire, range(EVENTS // 2))
        first = await worker(workers, tmp_path, url)
        await one.met(EVENTS // 4)
        await two.met(EVENTS // 4)
        one.hold()
        two.hold()
        first.process.kill()
        await asyncio.to_thread(first.wait)
        one.let_go()
        two.let_go()
        await worker(workers, tmp_path, url)
        await publish(tellwire, range(EVENTS // 2, EVENTS))
        await all_are(tellwire, State.SUCCEEDED, 2 * EVENTS)
    assert_in_line([n for _, n in whole.received], list(range(EVENTS)))
    for number, key in enumerate(KEYS):
        assert_in_line([n for of, n in keyed.received if of == key], list(range(number, EVENTS, len(KEYS))))


def assert_in_line(seen: list[int], expected: list[int]) -> None:
    """What was seen, repetitions aside, is what was expected; and nothing was skipped after a repetition."""
    assert list(dict.fromkeys(seen)) == expected
    for before, after in pairwise(seen):
        assert expected.index(after) <= expected.index(before) + 1
