"""Idempotency keys of the control plane: what comes twice is done once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.stored import files_in

from tellwire import Options, StoreUnavailableError, Tellwire
from tellwire.manage.endpoints import Endpoints

from .clock import LateClock
from .conftest import Server
from .test_api_control import URL, locs

KEY = {"idempotency-key": "k-1"}


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest.fixture
async def tellwire(tmp_path: Path, options: Options, clock: LateClock) -> AsyncIterator[Tellwire]:
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire:
        yield tellwire


async def count(server: Server, path: str = "/v1/endpoints") -> int:
    return len((await server.client.get(path)).json()["data"])


async def test_the_same_request_is_done_once(server: Server, clock: LateClock, tmp_path: Path) -> None:
    """And answered the same, with secrets that are shown once, which are kept sealed; after a day it is done anew."""
    for path, body in (("/v1/endpoints", {"url": URL}), ("/v1/keys", {"name": "n"})):
        headers = {"idempotency-key": path}
        first = await server.client.post(path, json=body, headers=headers)
        again = await server.client.post(path, json=body, headers=headers)
        assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (
            False,
            "true",
        )
        assert again.headers["content-type"] == "application/json"
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert await count(server, path) == 1
    files = files_in(tmp_path)
    assert first.json()["key"].encode() not in files
    clock.late_ms = 86_400_000
    await server.client.post("/v1/endpoints", json={"url": URL}, headers={"idempotency-key": "/v1/endpoints"})
    assert await count(server) == 2


async def test_a_batch_is_published_once(server: Server) -> None:
    """Under a key of the batch, whatever keys its events have; another under it is refused, a failed one not kept."""
    bad = {"events": [{"type": "a.b", "data": 1}]}
    assert (await server.client.post("/v1/events/batch", json=bad, headers=KEY)).status_code == 422
    events = [{"type": "a.b", "data": {"n": 1}}, {"type": "a.b", "data": {}, "idempotency_key": "k"}]
    body = {"events": events}
    first = await server.client.post("/v1/events/batch", json=body, headers=KEY)
    again = await server.client.post("/v1/events/batch", json=body, headers=KEY)
    assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    other = await server.client.post("/v1/events/batch", json={"events": events[:1]}, headers=KEY)
    assert (other.status_code, other.json()["type"]) == (409, "/problems/conflict")
    assert await count(server, "/v1/events") == 2
    for bad_key in ("", "x" * 129):
        refused = await server.client.post(
            "/v1/events/batch", json=body, headers={"idempotency-key": bad_key}
        )
        assert locs(refused) == [["Idempotency-Key"]]


async def test_another_request_under_the_key_is_refused(server: Server) -> None:
    """Another body, another route: 409; another caller has keys of its own."""
    made = await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)
    assert locs(await server.client.post("/v1/endpoints", json={"url": URL + "x"}, headers=KEY), 409) == []
    pause = f"/v1/endpoints/{made.json()['id']}/pause"
    assert locs(await server.client.post(pause, headers=KEY), 409) == []
    key = (await server.client.post("/v1/keys", json={"name": "n"})).json()["key"]
    caller = {**KEY, "authorization": f"Bearer {key}"}
    assert (
        await server.client.post("/v1/endpoints", json={"url": URL + "x"}, headers=caller)
    ).status_code == 201
    assert await count(server) == 2


async def test_of_many_at_once_one_is_done(server: Server) -> None:
    """The others are told that it is under way, or get its answer."""
    answers = await asyncio.gather(
        *(server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert await count(server) == 1


async def test_what_failed_can_be_tried_again(server: Server) -> None:
    """A refusal changes nothing and frees the key."""
    assert locs(await server.client.post("/v1/endpoints", json={"url": "x"}, headers=KEY)) == [["url"]]
    assert (await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)).status_code == 201


@pytest.mark.parametrize("error", [StoreUnavailableError("gone", outcome_unknown=True), RuntimeError("x")])
async def test_what_nobody_knows_is_not_done_again(
    server: Server, clock: LateClock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A commit without an answer, or a fault of ours: the key stays taken."""

    async def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(Endpoints, "create", fail)
        first = await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)
        assert first.status_code in {500, 503}
    for clock.late_ms in (0, 60_000):
        again = await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)
        assert (again.status_code, "did not end" in again.json()["detail"]) == (409, True)
    assert await count(server) == 0


async def test_key_of_a_dead_process_is_taken_over(
    server: Server, clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a minute, as long as no request takes, it is told to be under way; then the same request is done."""
    with monkeypatch.context() as dying:

        async def die(*_: object, **__: object) -> None:
            raise asyncio.CancelledError

        dying.setattr(Endpoints, "create", die)
        with contextlib.suppress(httpx.HTTPError):
            await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)
    clock.late_ms = 59_000
    waits = await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)
    assert (waits.status_code, waits.headers["retry-after"]) == (409, "1")
    assert "under way" in waits.json()["detail"]
    clock.late_ms = 61_000
    assert locs(await server.client.post("/v1/endpoints", json={"url": URL + "x"}, headers=KEY), 409) == []
    for _ in range(2):
        assert (await server.client.post("/v1/endpoints", json={"url": URL}, headers=KEY)).status_code == 201
    assert await count(server) == 1


async def test_every_route_that_changes_something_takes_a_key(server: Server) -> None:
    """The document says so of every POST; a malformed key is refused by all of them before anything is done."""
    document = (await server.client.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        if "post" not in item or path == "/oauth/token" or item["post"]["x-required-scope"] == "read":
            continue
        named = {one["name"] for one in item["post"].get("parameters", []) if one["in"] == "header"}
        assert "Idempotency-Key" in named, path
    made = (await server.client.post("/v1/endpoints", json={"url": URL})).json()["id"]
    for bad in ("", "x" * 129):
        answer = await server.client.post(f"/v1/endpoints/{made}/pause", headers={"idempotency-key": bad})
        assert locs(answer) == [["Idempotency-Key"]]
    assert (await server.client.get(f"/v1/endpoints/{made}")).json()["state"] == "enabled"
    done = await server.client.post(f"/v1/endpoints/{made}/pause", headers=KEY)
    await server.client.post(f"/v1/endpoints/{made}/resume")
    again = await server.client.post(f"/v1/endpoints/{made}/pause", headers=KEY)
    assert (again.status_code, again.json()) == (200, done.json())
    assert (await server.client.get(f"/v1/endpoints/{made}")).json()["state"] == "enabled"
