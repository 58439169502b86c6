"""A change of order where much waits, with real requests: it goes in pages, and the new order holds all the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tellwire import Tellwire
from tellwire.model.delivery import State, WaitingFor
from tellwire.store import rearranging
from tellwire.telemetry import EndpointRearranged, Fact

from .embedded import all_are, deliveries, until
from .lines import KEYS, Line, hub, publish
from .replaying import URLS

MANY = 45


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Callable[[Path], str] = request.param
    return make(tmp_path)


async def nothing_is_left_to_move(tellwire: Tellwire) -> None:
    async def look() -> bool:
        return not await tellwire._store.read(rearranging.under_way)

    await until(look)


@pytest.mark.parametrize("order", ["endpoint", "key"])
async def test_what_waited_comes_before_what_is_published_after(url: str, order: str) -> None:
    """Two engines share pages of four; what was there comes in order, and then what was published meanwhile."""
    line, facts = Line(fails=1), list[Fact]()
    async with line.receiver as receiver, hub(url, deliver=False, rearrange_at_once=4) as quiet:
        endpoint, _ = await quiet.endpoints.create(receiver.url, events=["*"])
        await publish(quiet, range(MANY))
        await quiet.endpoints.update(endpoint.id, {"order": order})
        await publish(quiet, range(MANY, 2 * MANY))
        assert {one.waiting_for for one in await deliveries(quiet)} == {WaitingFor.ORDER}
        assert receiver.bodies == []
        one, two = (hub(url, rearrange_at_once=4) for _ in range(2))
        for each in (one, two):
            each.telemetry.subscribe(facts.append)
        async with one, two:
            await all_are(quiet, State.SUCCEEDED, 2 * MANY)
    for number, key in enumerate(KEYS if order == "key" else [None]):
        step = len(KEYS) if order == "key" else 1
        assert line.numbers(key) == list(range(number, 2 * MANY, step))
    told = [fact for fact in facts if isinstance(fact, EndpointRearranged)]
    assert told == [EndpointRearranged(endpoint.id, MANY)]


async def test_the_last_of_many_changes_counts(url: str) -> None:
    """Changed again and again while pages are moved, the endpoint keeps the order that it was given last."""
    line = Line(fails=1)
    async with line.receiver as receiver, hub(url, rearrange_at_once=2) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.endpoints.pause(endpoint.id)
        await publish(tellwire, range(MANY))
        for order in ("endpoint", "none", "key", "endpoint"):
            await tellwire.endpoints.update(endpoint.id, {"order": order})
        await publish(tellwire, range(MANY, MANY + 3))
        await tellwire.endpoints.resume(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, MANY + 3)
        await nothing_is_left_to_move(tellwire)
    assert line.numbers() == list(range(MANY + 3))
    assert receiver.most_waiting == 1


async def test_an_order_that_is_given_up_lets_everything_go(url: str) -> None:
    """Also what is still to be moved, and what an exhausted delivery has blocked."""
    line = Line()
    async with line.receiver as receiver, hub(url, rearrange_at_once=2) as tellwire:
        settings = {"order": "endpoint", "on_exhausted": "block"}
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await tellwire.endpoints.pause(endpoint.id)
        await publish(tellwire, range(MANY))
        await tellwire.endpoints.update(endpoint.id, {"order": None})
        await tellwire.endpoints.resume(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, MANY)
        await nothing_is_left_to_move(tellwire)
    assert sorted(line.numbers()) == list(range(MANY))


async def test_an_endpoint_can_be_deleted_meanwhile(url: str) -> None:
    """What waited is cancelled, and there is nothing left to move."""
    async with hub(url, deliver=False, rearrange_at_once=2) as tellwire:
        endpoint, _ = await tellwire.endpoints.create("https://example.com/hook", events=["*"])
        await publish(tellwire, range(MANY))
        await tellwire.endpoints.update(endpoint.id, {"order": "key"})
        await tellwire.endpoints.delete(endpoint.id)
        await all_are(tellwire, State.CANCELLED, MANY)
        await nothing_is_left_to_move(tellwire)
