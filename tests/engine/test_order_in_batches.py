"""Order and batches together: what stands in line goes in batches, each when the one before was received."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire import Tellwire
from tellwire.model.delivery import State, WaitingFor

from .embedded import all_are, deliveries, until
from .lines import hub
from .receivers import Answer, HeldReceiver
from .replaying import URLS


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
async def tellwire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tellwire]:
    make: Callable[[Path], str] = request.param
    async with hub(make(tmp_path)) as tellwire:
        yield tellwire


async def create(tellwire: Tellwire, receiver: HeldReceiver, **settings: Any) -> str:
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
    return endpoint.id


async def publish(tellwire: Tellwire, numbers: range, keys: str) -> None:
    await tellwire.publish_many(
        {"type": "order.paid", "data": {"n": n}, "ordering_key": keys[n % len(keys)]} for n in numbers
    )


def numbers(body: bytes) -> list[int]:
    return [one["data"]["n"] for one in json.loads(body)]


def fails(*which: int) -> Callable[[int], Answer]:
    """The answers of a receiver to which these requests, counted from 1, fail."""
    return lambda number: (500 if number in which else 200, {})


async def test_a_whole_endpoint_gets_full_batches_in_order(tellwire: Tellwire) -> None:
    """One request at a time, each full, and all in the order of publishing, whatever was published together."""
    async with HeldReceiver() as receiver:
        await create(tellwire, receiver, order="endpoint", batch={"max_events": 5, "max_wait_s": 60})
        for first in range(0, 42, 7):
            await publish(tellwire, range(first, min(first + 7, 40)), "ab")
        await all_are(tellwire, State.SUCCEEDED, 40)
    assert [numbers(body) for body in receiver.bodies] == [list(range(n, n + 5)) for n in range(0, 40, 5)]
    assert receiver.most_waiting == 1


async def test_what_waits_for_others_says_so(tellwire: Tellwire) -> None:
    """The first of a line waits for the batch, those behind it for their turn."""
    async with HeldReceiver() as receiver:
        id = await create(tellwire, receiver, order="endpoint", batch={"max_events": 5, "max_wait_s": 60})
        await publish(tellwire, range(3), "a")

        async def say_so() -> bool:
            first, *others = await deliveries(tellwire)
            waits = {one.waiting_for for one in others}
            return first.waiting_for is WaitingFor.BATCH and waits == {WaitingFor.ORDER}

        await until(say_so)
        assert receiver.bodies == []
        await tellwire.endpoints.update(id, {"batch": None})
        await publish(tellwire, range(3, 4), "a")
        await all_are(tellwire, State.SUCCEEDED, 4)


async def test_what_does_not_fill_a_batch_goes_in_time(tellwire: Tellwire) -> None:
    """When the first of it has waited long enough."""
    async with HeldReceiver() as receiver:
        await create(tellwire, receiver, order="key", batch={"max_events": 100, "max_wait_s": 0.2})
        await publish(tellwire, range(7), "abc")
        await all_are(tellwire, State.SUCCEEDED, 7)
    assert [n for body in receiver.bodies for n in numbers(body)] == list(range(7))


@pytest.mark.parametrize("order", ["endpoint", "key"])
async def test_a_failed_batch_comes_again_as_it_was_before_all_behind_it(
    tellwire: Tellwire, order: str
) -> None:
    """The same events under the same id, until they are received; each line goes on in its order."""
    async with HeldReceiver(fails(1, 2, 4)) as receiver:
        await create(tellwire, receiver, order=order, batch={"max_events": 4, "max_wait_s": 0})
        await publish(tellwire, range(24), "abc")
        await all_are(tellwire, State.SUCCEEDED, 24)
        made = [one.attempt_count for one in await deliveries(tellwire)]
    failed = {receiver.ids[n - 1] for n in (1, 2, 4)}
    bodies: dict[str, bytes] = {}
    for id, body in zip(receiver.ids, receiver.bodies, strict=True):
        assert bodies.setdefault(id, body) == body
    assert all(receiver.ids.count(id) >= 2 for id in failed)
    assert max(made) > 1
    received = [
        n for number, body in enumerate(receiver.bodies, 1) if number not in (1, 2, 4) for n in numbers(body)
    ]
    assert sorted(received) == list(range(24))
    for line in range(3 if order == "key" else 1):
        ours = [n for n in received if order == "endpoint" or n % 3 == line]
        assert ours == sorted(ours)


async def test_what_is_exhausted_in_a_batch_blocks_its_lines(tellwire: Tellwire) -> None:
    """Nothing behind it is sent until it is retried; then it goes first."""
    async with HeldReceiver(fails(1)) as receiver:
        settings = {"order": "endpoint", "on_exhausted": "block", "batch": {"max_events": 2, "max_wait_s": 0}}
        await create(tellwire, receiver, **settings, retry={"delays_s": []})
        await publish(tellwire, range(6), "a")
        await until(lambda: _exhausted(tellwire, 2))
        assert [numbers(body) for body in receiver.bodies] == [[0, 1]]
        for one in await deliveries(tellwire, State.EXHAUSTED):
            await tellwire.deliveries.retry(one.id)
        await all_are(tellwire, State.SUCCEEDED, 6)
    received = [n for body in receiver.bodies[1:] for n in numbers(body)]
    assert received == list(range(6))


async def _exhausted(tellwire: Tellwire, count: int) -> bool:
    return len(await deliveries(tellwire, State.EXHAUSTED)) == count
