"""Tenants over HTTP: metadata, limits of their own, and deletion with everything of theirs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tellwire import Options, Tellwire
from tellwire.deliver import remover
from tellwire.telemetry import TenantRemoved

from .clock import LateClock
from .conftest import WAIT_S, Receiver, Server
from .test_api_control import URL, created, locs


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest.fixture
async def tellwire(
    tmp_path: Path, options: Options, clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tellwire]:
    monkeypatch.setattr(remover, "_EVERY_S", 0.01)
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire:
        yield tellwire


async def test_tenant_is_changed(server: Server) -> None:
    """A merge patch: null clears, what is left out stays; a limit of null is the server's."""
    body = {"id": "acme", "metadata": {"a": "1", "b": "2"}, "limits": {"endpoints": 5}}
    made = (await server.client.post("/v1/tenants", json=body)).json()
    assert (made["metadata"], made["limits"], made["state"]) == (
        {"a": "1", "b": "2"}, {"endpoints": 5, "payload_bytes": None, "publish_per_s": None}, "active",
    )  # fmt: skip
    patch = {"name": "Acme", "metadata": {"a": None, "c": "3"}, "limits": {"payload_bytes": 9}}
    changed = (await server.client.patch("/v1/tenants/acme", json=patch)).json()
    assert changed == {
        **made, "name": "Acme", "metadata": {"b": "2", "c": "3"},
        "limits": {"endpoints": 5, "payload_bytes": 9, "publish_per_s": None},
    }  # fmt: skip
    assert (await server.client.get("/v1/tenants/acme")).json() == changed
    cleared = await server.client.patch(
        "/v1/tenants/acme", json={"name": None, "metadata": None, "limits": {"endpoints": None}}
    )
    assert (cleared.json()["name"], cleared.json()["metadata"]) == ("acme", {})
    assert cleared.json()["limits"] == {"endpoints": None, "payload_bytes": 9, "publish_per_s": None}
    assert locs(await server.client.patch("/v1/tenants/none", json={}), 404) == []


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"metadata": {"a": "x" * 4096}}, ["metadata"]),
        ({"metadata": {"a": 1}}, ["metadata", "a"]),
        ({"limits": {"endpoints": -1}}, ["limits", "endpoints"]),
        ({"limits": {"payload_bytes": 0}}, ["limits", "payload_bytes"]),
        ({"limits": {"payload_bytes": 262_145}}, ["limits", "payload_bytes"]),
        ({"limits": {"publish_per_s": 0}}, ["limits", "publish_per_s"]),
        ({"limits": {"events": 1}}, ["limits", "events"]),
        ({"name": ""}, ["name"]),
    ],
)
async def test_bad_tenant_is_refused(server: Server, fields: dict[str, object], loc: list[str]) -> None:
    """A fault is named at its place, in a new tenant and in a change, and nothing is stored."""
    assert locs(await server.client.post("/v1/tenants", json={"id": "acme", **fields})) == [loc]
    assert locs(await server.client.patch("/v1/tenants/default", json=fields)) == [loc]
    assert (await server.client.get("/v1/tenants/default")).json()["metadata"] == {}


async def test_limits_of_a_tenant_hold(server: Server) -> None:
    """Its own number of endpoints and size of data count, whichever way an event comes; others are not concerned."""
    limits = {"endpoints": 1, "payload_bytes": 10}
    await server.client.post("/v1/tenants", json={"id": "acme", "limits": limits})
    await created(server, tenant="acme", events=["*"])
    refused = await server.client.post("/v1/endpoints", json={"url": URL, "tenant": "acme"})
    assert (refused.status_code, refused.json()["maximum"]) == (422, 1)
    small, large = {"n": "1234"}, {"n": "12345"}
    event = {"type": "a.b", "tenant": "acme"}
    assert (await server.client.post("/v1/events", json={**event, "data": small})).status_code == 413
    assert (await server.client.post("/v1/events", json={**event, "data": {"n": 123}})).status_code == 202
    assert (await server.client.post("/v1/events", json={"type": "a.b", "data": large})).status_code == 202
    batch = {"events": [{"type": "a.b", "data": large}, {**event, "data": large}]}
    answer = await server.client.post("/v1/events/batch", json=batch)
    assert locs(answer) == [["events", 1, "data"]]
    assert answer.json()["maximum"] == 10


async def test_deleted_tenant_goes_with_everything(
    server: Server, receiver: Receiver, clock: LateClock
) -> None:
    """It publishes no more at once; a little later nothing of it can be found, and its id is free."""
    await server.client.post("/v1/tenants", json={"id": "acme"})
    await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"], "tenant": "acme"})
    event = {"type": "a.b", "data": {}, "tenant": "acme"}
    assert (await server.client.post("/v1/events", json=event)).status_code == 202
    await receiver.met(1)
    deleted = await server.client.delete("/v1/tenants/acme")
    assert (deleted.status_code, deleted.json()["state"]) == (202, "deleting")
    assert locs(await server.client.patch("/v1/tenants/acme", json={"name": "Acme"}), 409) == []
    assert locs(await server.client.post("/v1/events", json=event)) == [["tenant"]]
    assert locs(await server.client.post("/v1/endpoints", json={"url": URL, "tenant": "acme"})) == [
        ["tenant"]
    ]
    assert (await server.client.post("/v1/tenants", json={"id": "acme"})).status_code == 409
    removed = asyncio.Event()
    server.tellwire.telemetry.subscribe(lambda fact: removed.set() if fact == TenantRemoved("acme") else None)
    clock.late_ms = 60_000
    async with asyncio.timeout(WAIT_S):
        await removed.wait()
    assert (await server.client.get("/v1/tenants/acme")).status_code == 404
    for noun in ("events", "deliveries", "endpoints"):
        assert (await server.client.get(f"/v1/{noun}")).json()["data"] == []
    assert (await server.client.post("/v1/tenants", json={"id": "acme"})).status_code == 201


async def test_default_tenant_stays(server: Server) -> None:
    """It is there from the start, and to the end."""
    assert locs(await server.client.delete("/v1/tenants/default"), 409) == []
    assert locs(await server.client.delete("/v1/tenants/none"), 404) == []
