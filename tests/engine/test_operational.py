"""Operational events: what happens in Tellwire itself arrives like any event, and fits its schema."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tellwire import ConflictError, InvalidInputError, Tellwire
from tellwire.model.delivery import State
from tellwire.model.key import Scope
from tellwire.model.operational import OPERATIONAL_TYPES
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.policy.schema import compile_schema

from .conftest import Server
from .embedded import all_are, deliveries, tellwire_at, until
from .receivers import HeldReceiver
from .test_api_control import URL, created, locs

SECRETS = ("whsec_", "token=", "header-in-the-clear")


def told(receiver: HeldReceiver) -> list[tuple[str, dict[str, Any]]]:
    """What a receiver was told, type and data; each fits its schema and has no secret in it."""
    found: list[tuple[str, dict[str, Any]]] = []
    for body in receiver.bodies:
        event = json.loads(body)
        assert compile_schema(OPERATIONAL_TYPES[event["type"]].schema).faults(event["data"]) == []
        assert not any(secret in body.decode() for secret in SECRETS)
        found.append((event["type"], event["data"]))
    return sorted(found, key=lambda one: (one[0], str(one[1])))


async def listen(tellwire: Tellwire, receiver: HeldReceiver, *events: str) -> str:
    """Have a receiver listen to some types; gives the id of its endpoint."""
    made, _ = await tellwire.endpoints.create(receiver.url, events=events or ["*"], tenant=OPERATIONAL_TENANT)
    return made.id


async def test_changes_of_the_control_plane_are_told(tmp_path: Path) -> None:
    """Each change of an endpoint, a tenant and a key is one event, named like its audit entry, with who did it."""
    async with HeldReceiver() as ops, tellwire_at(tmp_path) as tellwire:
        await listen(tellwire, ops)
        await tellwire.tenants.create("acme")
        await tellwire.tenants.update("acme", {"name": "Acme"})
        made, _ = await tellwire.endpoints.create(
            "http://127.0.0.1:1024/hook?token=t0k3n", events=["*"], tenant="acme", headers={"x-a": SECRETS[2]}
        )
        await tellwire.endpoints.update(made.id, {"description": "new", "method": "PUT"})
        await tellwire.endpoints.update(made.id, {"description": "new"})
        await tellwire.endpoints.pause(made.id)
        await tellwire.endpoints.resume(made.id)
        await tellwire.endpoints.disable(made.id, reason="enough")
        await tellwire.endpoints.enable(made.id)
        await tellwire.endpoints.rotate_secret(made.id)
        await tellwire.endpoints.delete(made.id)
        key, _ = await tellwire.keys.create("backend", scopes=[Scope.READ], tenant="acme")
        successor, _ = await tellwire.keys.rotate(key.id)
        await tellwire.keys.revoke(successor.id)
        await tellwire.tenants.delete("acme")
        await ops.met(14)
        await all_are(tellwire, State.SUCCEEDED, 14)
    found = dict(told(ops))
    audited = {
        "endpoint.created", "endpoint.updated", "endpoint.paused", "endpoint.resumed", "endpoint.disabled",
        "endpoint.enabled", "endpoint.secret_rotated", "endpoint.deleted", "tenant.created", "tenant.updated",
        "tenant.deleted", "key.created", "key.rotated", "key.revoked",
    }  # fmt: skip
    assert found.keys() == audited
    assert found["endpoint.updated"] == {
        "endpoint_id": made.id, "tenant": "acme", "url": "http://127.0.0.1:1024/hook?***", "state": "enabled",
        "reason": None, "changed": ["description", "method"], "actor": "local",
    }  # fmt: skip
    assert (found["endpoint.disabled"]["state"], found["endpoint.disabled"]["reason"]) == (
        "disabled",
        "enough",
    )
    assert found["tenant.updated"]["changed"] == ["name"]
    assert (found["key.created"]["name"], found["key.created"]["scopes"]) == ("backend", ["read"])
    assert found["key.revoked"]["key_id"] == successor.id


async def test_a_delivery_that_ends_without_success_is_told(tmp_path: Path) -> None:
    """Once, with why: attempts used up, or the endpoint gone, which is told of itself."""
    async with (
        HeldReceiver() as ops,
        HeldReceiver(lambda number: (500, {})) as sick,
        HeldReceiver(lambda number: (410, {})) as gone,
        tellwire_at(tmp_path, delays_ms=(10,)) as tellwire,
    ):
        await listen(tellwire, ops)
        await tellwire.endpoints.create(sick.url, events=["order.paid"])
        await tellwire.publish("order.paid", {"n": 1})
        await ops.met(2)
        await tellwire.endpoints.create(gone.url, events=["order.gone"])
        await tellwire.publish("order.gone", {"n": 2})
        await ops.met(5)
        ended = await deliveries(tellwire, State.EXHAUSTED)
    assert [type for type, _ in told(ops)] == [
        "delivery.exhausted", "delivery.exhausted", "endpoint.created", "endpoint.created", "endpoint.disabled",
    ]  # fmt: skip
    found = {data["type"]: data for type, data in told(ops) if type == "delivery.exhausted"}
    assert found["order.paid"] == {
        "delivery_id": ended[0].id, "event_id": ended[0].event_id, "endpoint_id": ended[0].endpoint_id,
        "tenant": "default", "type": "order.paid", "attempts": 2, "last_status_code": 500, "last_error": None,
    }  # fmt: skip
    assert (found["order.gone"]["attempts"], found["order.gone"]["last_status_code"]) == (1, 410)
    (disabled,) = [data for type, data in told(ops) if type == "endpoint.disabled"]
    assert (disabled["actor"], disabled["reason"]) == ("tellwire", "the endpoint answered 410 Gone")


async def test_a_circuit_is_told_each_time_it_opens_and_closes(tmp_path: Path) -> None:
    """Not for each probe that fails."""
    down = True
    circuit = {"circuit": {"failures": 2, "probe_after_s": 1}}
    async with (
        HeldReceiver() as ops,
        HeldReceiver(lambda number: (500 if down else 200, {})) as sick,
        tellwire_at(tmp_path, delays_ms=(50,) * 9) as tellwire,
    ):
        await listen(tellwire, ops, "lane.*")
        made, _ = await tellwire.endpoints.create(sick.url, events=["*"], settings=circuit)
        await tellwire.publish("order.paid", {"n": 1})
        await tellwire.publish("order.paid", {"n": 2})
        await sick.met(3)  # a probe has failed
        await ops.met(1)
        down = False
        await ops.met(2)
    assert [type for type, _ in told(ops)] == ["lane.closed", "lane.opened"]
    assert {data["endpoint_id"] for _, data in told(ops)} == {made.id}


async def test_what_becomes_of_operational_events_makes_no_others(tmp_path: Path) -> None:
    """An endpoint that takes none of them ends with what there was to tell: nothing goes round in circles."""
    settings = {"circuit": {"failures": 1, "probe_after_s": 1}}
    async with (
        HeldReceiver(lambda number: (500, {})) as deaf,
        HeldReceiver(lambda number: (500, {})) as sick,
        tellwire_at(tmp_path, delays_ms=()) as tellwire,
    ):
        await tellwire.endpoints.create(deaf.url, events=["*"], tenant=OPERATIONAL_TENANT, settings=settings)
        await tellwire.endpoints.create(sick.url, events=["order.paid"])
        await tellwire.publish("order.paid", {"n": 1})
        await all_are(tellwire, State.EXHAUSTED, 3)
        events = await tellwire.events.list(tenant=OPERATIONAL_TENANT)
    assert sorted(event.type for event in events.data) == ["delivery.exhausted", "endpoint.created"]


async def test_an_expired_delivery_is_told(tmp_path: Path) -> None:
    """It ends without an attempt where its event was not worth one any more."""
    async with HeldReceiver() as ops, tellwire_at(tmp_path) as tellwire:
        await listen(tellwire, ops, "delivery.*")
        made, _ = await tellwire.endpoints.create("http://127.0.0.1:1024/", events=["order.paid"])
        await tellwire.endpoints.pause(made.id)
        end = tellwire.now() + timedelta(seconds=0.5)
        await tellwire.publish("order.paid", {}, expires_at=end)
        (pending,) = await deliveries(tellwire)

        async def is_over() -> bool:
            return tellwire.now() > end

        await until(is_over)
        await tellwire.endpoints.resume(made.id)
        await ops.met(1)
    ((type, data),) = told(ops)
    assert (type, data["delivery_id"]) == ("delivery.exhausted", pending.id)
    assert (data["attempts"], data["last_error"]) == (0, "expired")


async def test_another_process_tells_too(tmp_path: Path) -> None:
    """Who only manages leaves the delivery of its operational events to a process that delivers."""
    async with (
        HeldReceiver() as ops,
        tellwire_at(tmp_path) as tellwire,
        tellwire_at(tmp_path, deliver=False) as other,
    ):
        await listen(tellwire, ops)

        async def heard() -> bool:
            return sum(other.endpoints.count_by_state().values()) == 1

        await until(heard)
        await other.tenants.create("acme")
        await ops.met(1)
    assert [type for type, _ in told(ops)] == ["tenant.created"]


async def test_the_tenant_is_tellwires_own(server: Server) -> None:
    """It is there, and is not created, changed, deleted, published to, or given keys and tokens of its own."""
    client, path = server.client, f"/v1/tenants/{OPERATIONAL_TENANT}"
    assert (await client.get(path)).json()["id"] == OPERATIONAL_TENANT
    assert [one["id"] for one in (await client.get("/v1/tenants")).json()["data"]] == ["default"]
    assert locs(await client.post("/v1/tenants", json={"id": OPERATIONAL_TENANT}), 422) == [["id"]]
    for answer in (await client.patch(path, json={"name": "x"}), await client.delete(path)):
        assert locs(answer, 409) == []
        assert "Tellwire's own" in answer.json()["detail"]
    body: dict[str, Any] = {"type": "endpoint.created", "data": {}, "tenant": OPERATIONAL_TENANT}
    assert locs(await client.post("/v1/events", json=body), 422) == [["tenant"]]
    key = {"name": "k", "tenant": OPERATIONAL_TENANT}
    assert locs(await client.post("/v1/keys", json=key), 422) == [["tenant"]]
    assert locs(await client.post(f"{path}/portal-token", json={"capabilities": ["events:read"]}), 409) == []
    with pytest.raises(InvalidInputError):
        await server.tellwire.publish("endpoint.created", {}, tenant=OPERATIONAL_TENANT)
    with pytest.raises(ConflictError):
        await server.tellwire.tenants.update(OPERATIONAL_TENANT, {"limits": {"endpoints": 1}})


async def test_who_is_bound_to_a_tenant_never_sees_it(server: Server) -> None:
    """Neither the tenant nor its endpoints, events and deliveries are there for such a key; nor can it make any."""
    fields = {"url": URL, "events": ["*"], "tenant": OPERATIONAL_TENANT}
    made = await created(server, **fields)
    await server.client.post("/v1/tenants", json={"id": "acme"})
    await server.client.post("/v1/tenants", json={"id": "globex"})
    (event,) = (await server.client.get("/v1/events", params={"type": "tenant.*", "limit": "1"})).json()[
        "data"
    ]
    key = (await server.client.post("/v1/keys", json={"name": "k", "tenant": "acme"})).json()["key"]
    async with httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {key}"}) as bound:
        for path in (
            f"/v1/tenants/{OPERATIONAL_TENANT}", f"/v1/endpoints/{made['id']}", f"/v1/events/{event['id']}",
        ):  # fmt: skip
            assert locs(await bound.get(path), 404) == []
        for path in ("endpoints", "events", "deliveries"):
            answer = await bound.get(f"/v1/{path}", params={"tenant": OPERATIONAL_TENANT})
            assert (answer.status_code, answer.json()["data"]) == (200, [])
        assert locs(await bound.post("/v1/endpoints", json=fields), 422) == [["tenant"]]
    assert [one["tenant"] for one in await _listed(server.client)] == [OPERATIONAL_TENANT]


async def _listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get("/v1/endpoints", params={"tenant": OPERATIONAL_TENANT})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_the_types_can_be_looked_up(server: Server) -> None:
    """On pages of their own, apart from the catalogue; one by name, unless the catalogue has one of that name."""
    listed: list[dict[str, Any]] = []
    query = {"operational": "true", "limit": "8"}
    while True:
        page = (await server.client.get("/v1/event-types", params=query)).json()
        listed += page["data"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert [one["name"] for one in listed] == sorted(OPERATIONAL_TYPES)
    assert (await server.client.get("/v1/event-types")).json()["data"] == []
    assert (await server.client.get("/v1/event-types/lane.opened")).json() in listed
    await server.client.put("/v1/event-types/lane.opened", json={"description": "Of ours."})
    found = (await server.client.get("/v1/event-types/lane.opened")).json()
    assert found["description"] == "Of ours."
    wrong = await server.client.get("/v1/event-types", params={"operational": "yes"})
    assert locs(wrong, 422) == [["operational"]]


async def test_a_test_sends_the_example(tmp_path: Path) -> None:
    """So that who listens can see what will come."""
    async with HeldReceiver() as ops, tellwire_at(tmp_path) as tellwire:
        id = await listen(tellwire, ops, "lane.*")
        await tellwire.endpoints.test(id, type="lane.opened")
        await ops.met(1)
    ((type, data),) = told(ops)
    assert (type, data["probe_in_s"]) == ("lane.opened", 30.0)
