"""Rates over HTTP: 429 with when to come again; and the headers that every answer has."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tellwire import Tellwire
from tellwire.api.gate import Rates
from tellwire.clock import SystemClock
from tellwire.server import build_app

from .conftest import Server, serving
from .test_api_control import locs

EVENT = {"type": "a.b", "data": {}}


class StillClock(SystemClock):
    """A clock that stands, until it is set."""

    at_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.at_ms


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def server(tellwire: Tellwire, clock: StillClock) -> AsyncIterator[Server]:
    app = build_app(tellwire, rates=Rates(per_key=3, per_tenant=5), clock=clock)
    async with serving(tellwire, app) as server:
        yield server


async def caller(server: Server) -> dict[str, str]:
    _, text = await server.tellwire.keys.create("n")
    return {"authorization": f"Bearer {text}"}


def check_refusal(answer: httpx.Response, policy: str, per_s: int, after_s: int) -> None:
    assert locs(answer, 429) == []
    assert answer.json()["type"].endswith("/problems/rate-limited")
    assert answer.headers["retry-after"] == str(after_s)
    assert answer.headers["ratelimit"] == f'"{policy}";r=0;t={after_s}'
    assert answer.headers["ratelimit-policy"] == f'"{policy}";q={per_s};w=1'


async def test_requests_of_a_key_are_limited(server: Server, clock: StillClock) -> None:
    """Whatever it asks for, by whichever way; another key has its own; a little later it may go on."""
    one, other = await caller(server), await caller(server)
    assert (await server.client.post("/v1/events", json=EVENT, headers=one)).status_code == 202
    assert (await server.client.post("/v1/events", json=EVENT, headers=one)).status_code == 202
    assert (await server.client.get("/v1/events", headers=one)).status_code == 200
    check_refusal(await server.client.get("/v1/events", headers=one), "key", 3, 1)
    check_refusal(await server.client.post("/v1/events", json=EVENT, headers=one), "key", 3, 1)
    assert (await server.client.get("/v1/events", headers=other)).status_code == 200
    clock.at_ms += 400
    assert (await server.client.get("/v1/events", headers=one)).status_code == 200
    for _ in range(9):
        assert (await server.client.get("/v1/events")).status_code == 200  # the key of the settings


async def test_events_of_a_tenant_are_limited(server: Server, clock: StillClock) -> None:
    """By the server's rate or the tenant's own; a batch counts as its events, and its debt is waited for."""
    await server.client.post("/v1/tenants", json={"id": "acme", "limits": {"publish_per_s": 1}})
    acme = {**EVENT, "tenant": "acme"}
    assert (await server.client.post("/v1/events", json=acme)).status_code == 202
    check_refusal(await server.client.post("/v1/events", json=acme), "tenant", 1, 1)
    batch = {"events": [EVENT] * 15}
    assert (await server.client.post("/v1/events/batch", json=batch)).status_code == 202
    check_refusal(await server.client.post("/v1/events", json=EVENT), "tenant", 5, 3)
    check_refusal(await server.client.post("/v1/events/batch", json={"events": [EVENT]}), "tenant", 5, 3)
    clock.at_ms += 2_200
    assert (await server.client.post("/v1/events", json=EVENT)).status_code == 202
    events = (await server.client.get("/v1/events")).json()["data"]
    assert len(events) == 1 + 15 + 1


async def test_what_is_refused_costs_once(server: Server, clock: StillClock) -> None:
    """A tenant's rate refuses a request of a key that had two left: it has one left, and not none."""
    await server.client.post("/v1/tenants", json={"id": "acme", "limits": {"publish_per_s": 1}})
    one = await caller(server)
    acme = {**EVENT, "tenant": "acme"}
    assert (await server.client.post("/v1/events", json=acme, headers=one)).status_code == 202
    check_refusal(await server.client.post("/v1/events", json=acme, headers=one), "tenant", 1, 1)
    assert (await server.client.get("/v1/events", headers=one)).status_code == 200
    check_refusal(await server.client.get("/v1/events", headers=one), "key", 3, 1)


async def test_many_wrong_keys_are_slowed_down(server: Server, clock: StillClock) -> None:
    """From one address; a good key passes all the same, and no key at all is not counted."""
    wrong = {"authorization": "Bearer tw_guess"}
    for _ in range(30):
        assert (await server.client.get("/v1/events", headers={"authorization": ""})).status_code == 401
    for number in range(20):
        path, method = ("/v1/events", "POST") if number % 2 else ("/v1/keys", "GET")
        assert (await server.client.request(method, path, headers=wrong)).status_code == 401
    check_refusal(await server.client.get("/v1/events", headers=wrong), "address", 1, 1)
    check_refusal(await server.client.post("/v1/events", json=EVENT, headers=wrong), "address", 1, 1)
    assert (await server.client.get("/v1/events")).status_code == 200
    clock.at_ms += 1_000
    assert (await server.client.get("/v1/events", headers=wrong)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/events"),
        ("GET", "/healthz"),
        ("GET", "/none"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/events/batch"),
    ],
)
async def test_every_answer_has_headers_for_browsers(server: Server, method: str, path: str) -> None:
    """What it is must not be guessed, and it is not to be kept; no other origin is let in."""
    for origin in ({}, {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}):
        for verb in (method, "OPTIONS"):
            answer = await server.client.request(
                verb, path, json=EVENT if verb == "POST" else None, headers=origin
            )
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert not [name for name in answer.headers if name.startswith("access-control")]
