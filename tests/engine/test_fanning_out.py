"""Wide events through the whole engine: every endpoint gets them once, whoever shares the work."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.errors import StoreUnavailableError
from tellwire.store import fanouts
from tellwire.telemetry import Fact, StoreFailed

from .conftest import ADMIN_KEY, LOOPBACK, Receiver, Server

KEY = "ab" * 32
ENDPOINTS = 60
EVENTS = 5
SURVEY_S = 10
"""How often an engine looks for what nobody told it, unless set otherwise."""

URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'tellwire.db'}",
    "postgres": database_in,
}


@pytest.fixture
def options() -> Options:
    return Options(
        secret_key=KEY,
        egress=LOOPBACK,
        engine=EngineOptions(grace_s=1),
        fan_out_at_once=7,
        admin_key=ADMIN_KEY,
    )


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_two_engines_share_wide_events(
    url: Callable[[Path], str], tmp_path: Path, options: Options, receiver: Receiver
) -> None:
    """Two processes publish and fan out on one database: each endpoint gets each event, and once."""
    async with Tellwire(url(tmp_path), options) as one, Tellwire(url(tmp_path), options) as two:
        for number in range(ENDPOINTS):
            await one.endpoints.create(f"{receiver.url}/{number}", events=["*"])
        hubs = [one, two]
        receipts = await asyncio.gather(*[hubs[n % 2].publish("a.b", {"n": n}) for n in range(EVENTS)])
        await receiver.met(ENDPOINTS * EVENTS)
        assert await one.drained()
        assert await two.drained()
        assert [(await one.events.get(receipt.id)).fanned_out for receipt in receipts] == [ENDPOINTS] * EVENTS
    got = Counter((request.headers["webhook-id"], request.path) for request in receiver.requests)
    assert set(got.values()) == {1}
    assert {id for id, _ in got} == {receipt.id for receipt in receipts}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_what_a_publisher_leaves_another_process_fans_out(
    url: Callable[[Path], str], tmp_path: Path, options: Options, receiver: Receiver
) -> None:
    """A process that only publishes leaves the pages of a wide event to one that delivers, which hears of them."""
    silent = Options(deliver=False, secret_key=KEY, egress=LOOPBACK, fan_out_at_once=7)
    async with Tellwire(url(tmp_path), options), Tellwire(url(tmp_path), silent) as publisher:
        for number in range(10):
            await publisher.endpoints.create(f"{receiver.url}/{number}", events=["*"])
        receipt = await publisher.publish("a.b", {})
        assert len(await receiver.met(receipt.deliveries)) == receipt.deliveries == 10
        assert await publisher.drained()


async def test_trouble_with_the_store_is_outlived(
    tmp_path: Path, options: Options, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that could not be fanned out is tried again after a second; nobody has to say so."""
    take_page, tried = fanouts.take_page, 0

    def fails_twice(connection: Connection) -> fanouts.TakenPage | None:
        nonlocal tried
        tried += 1
        if tried <= 2:
            raise StoreUnavailableError("no room")
        return take_page(connection)

    monkeypatch.setattr(fanouts, "take_page", fails_twice)
    facts: list[Fact] = []
    async with Tellwire(URLS["sqlite"](tmp_path), options) as tellwire:
        tellwire.telemetry.subscribe(facts.append)
        for number in range(10):
            await tellwire.endpoints.create(f"{receiver.url}/{number}", events=["*"])
        published_s = asyncio.get_running_loop().time()
        await tellwire.publish("a.b", {})
        await receiver.met(10)
        assert 1.9 < asyncio.get_running_loop().time() - published_s < SURVEY_S
        assert await tellwire.drained()
    assert [fact for fact in facts if isinstance(fact, StoreFailed)] == [
        StoreFailed("fan out", "no room")
    ] * 2


async def test_progress_is_shown(server: Server, receiver: Receiver) -> None:
    """The API tells for how many of its endpoints an event has been fanned out."""
    for number in range(10):
        await server.tellwire.endpoints.create(f"{receiver.url}/{number}", events=["*"])
    receipt = (await server.client.post("/v1/events", json={"type": "a.b", "data": {}})).json()
    assert receipt["deliveries"] == 10
    await receiver.met(10)
    event = (await server.client.get(f"/v1/events/{receipt['id']}")).json()
    assert (event["deliveries"], event["fanned_out"]) == (10, 10)
    (listed,) = (await server.client.get("/v1/events")).json()["data"]
    assert (listed["deliveries"], listed["fanned_out"]) == (10, 10)
