"""Filters through the whole engine: what passes is delivered, what does not is not, and the counts are honest."""

from collections.abc import Callable
from pathlib import Path

import aiosqlite
import pytest
from tests.postgres import database_in

from tellwire import Options, Subscription, Tellwire
from tellwire.deliver.engine import EngineOptions

from .conftest import LOOPBACK, Receiver

KEY = "ab" * 32
URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'tellwire.db'}",
    "postgres": database_in,
}


def options(*, deliver: bool = True) -> Options:
    return Options(
        deliver=deliver, secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(grace_s=1), fan_out_at_once=7
    )


def above(amount: float) -> Subscription:
    return Subscription(("order.*",), {"data": {"amount": {"$gt": amount}}})


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_only_what_passes_is_delivered(
    url: Callable[[Path], str], tmp_path: Path, receiver: Receiver
) -> None:
    """Each endpoint gets what one of its subscriptions lets pass, once; ``deliveries`` counts those endpoints."""
    async with Tellwire(url(tmp_path), options()) as tellwire:
        await tellwire.endpoints.create(f"{receiver.url}/all", events=["order.*"])
        for amount in (10, 20):
            await tellwire.endpoints.create(
                f"{receiver.url}/{amount}", subscriptions=[above(amount), above(5)]
            )
        await tellwire.endpoints.create(f"{receiver.url}/25", subscriptions=[above(25)])
        expected = {
            5: ["/hook/all"],
            6: ["/hook/10", "/hook/20", "/hook/all"],
            26: ["/hook/10", "/hook/20", "/hook/25", "/hook/all"],
        }
        for amount, paths in expected.items():
            receipt = await tellwire.publish("order.paid", {"amount": amount})
            assert receipt.deliveries == len(paths)
        requests = await receiver.met(8)
        assert await tellwire.drained()
        got = sorted((request.path, request.body.partition(b'"amount":')[2][:2]) for request in requests)
        assert got == sorted(
            (path, b"%d" % n + b"}" * (n < 10)) for n, paths in expected.items() for path in paths
        )


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_wide_events_go_only_where_they_pass(
    url: Callable[[Path], str], tmp_path: Path, receiver: Receiver
) -> None:
    """Of twenty endpoints, those whose filter passes get a wide event in pages; the total is told at once."""
    async with Tellwire(url(tmp_path), options()) as tellwire:
        for number in range(20):
            await tellwire.endpoints.create(f"{receiver.url}/{number}", subscriptions=[above(number)])
        receipt = await tellwire.publish("order.paid", {"amount": 15})
        assert receipt.deliveries == 15
        requests = await receiver.met(15)
        assert await tellwire.drained()
        assert sorted(int(request.path.rpartition("/")[2]) for request in requests) == list(range(15))
        event = await tellwire.events.get(receipt.id)
        assert (event.deliveries, event.fanned_out) == (15, 15)
        narrow = await tellwire.publish("order.paid", {"amount": 2})
        assert narrow.deliveries == 2
        assert len(await receiver.met(17)) == 17


async def test_filters_hold_inside_the_callers_transaction(tmp_path: Path, receiver: Receiver) -> None:
    """What is published on the caller's connection goes only where it passes, too."""
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options()) as tellwire:
        await tellwire.endpoints.create(f"{receiver.url}/10", subscriptions=[above(10)])
        await tellwire.endpoints.create(f"{receiver.url}/20", subscriptions=[above(20)])
        async with aiosqlite.connect(tmp_path / "tellwire.db") as connection:
            receipt = await tellwire.publish("order.paid", {"amount": 15}, connection=connection)
            await connection.commit()
        assert receipt.deliveries == 1
        (request,) = await receiver.met(1)
        assert request.path == "/hook/10"


async def test_a_changed_filter_counts_at_once(tmp_path: Path) -> None:
    """From the acknowledgement of a change on, events are filtered by the new filter, in other processes too."""
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with Tellwire(url, options(deliver=False)) as one, Tellwire(url, options(deliver=False)) as two:
        endpoint, _ = await one.endpoints.create("http://127.0.0.1:9999/", subscriptions=[above(10)])
        assert (await two.publish("order.paid", {"amount": 11})).deliveries == 1
        await one.endpoints.update(endpoint.id, {"subscriptions": [above(11)]})
        assert (await two.publish("order.paid", {"amount": 11})).deliveries == 0
        await one.endpoints.update(endpoint.id, {"events": ["order.*"]})
        assert (await two.publish("order.paid", {"amount": 11})).deliveries == 1
