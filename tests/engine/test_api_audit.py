"""The audit log over HTTP: every change leaves an entry that tells who and what, and no secret."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.stored import files_in

from tellwire import InvalidInputError

from .conftest import Server
from .test_api_control import URL

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
HEADER_VALUE = "header-in-the-clear"
QUERY = "token=query-in-the-clear"

# Changes in an order in which each is one; {id} is the endpoint, the tenant or the key. None: a route that changes
# nothing of the control plane.
SINCE = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
E, T, K, D, R = "/v1/endpoints", "/v1/tenants", "/v1/keys", "/v1/deliveries", "/v1/replays"
EVENTS = "/v1/events"
CHANGES: list[tuple[str, str, Any, str]] = [
    ("POST", T, {"id": "acme", "metadata": {"plan": "gold"}}, "tenant.created"),
    ("PATCH", T + "/{id}", {"name": "Acme"}, "tenant.updated"),
    ("POST", T + "/{id}/portal-token", {"capabilities": ["events:read"]}, "tenant.portal_token_made"),
    ("POST", E, {"url": f"{URL}?{QUERY}", "events": ["a.b"], "tenant": "acme", "secret": SECRET,
                 "headers": {"X-Key": HEADER_VALUE}}, "endpoint.created"),
    ("PATCH", E + "/{id}", {"headers": {"X-Key": HEADER_VALUE + "2"}, "description": "d"}, "endpoint.updated"),
    ("POST", E + "/{id}/subscribe", {"events": ["c.d"]}, "endpoint.updated"),
    ("POST", E + "/{id}/unsubscribe", {"events": ["c.d"]}, "endpoint.updated"),
    ("POST", E + "/{id}/pause", None, "endpoint.paused"),
    ("POST", E + "/{id}/test", None, "endpoint.tested"),
    ("POST", D + "/{id}/retry", None, "delivery.retried"),
    ("POST", D + "/{id}/cancel", None, "delivery.cancelled"),
    ("POST", E + "/{id}/test", None, "endpoint.tested"),
    ("POST", EVENTS + "/{id}/cancel", None, "event.cancelled"),
    ("POST", E + "/{id}/resume", None, "endpoint.resumed"),
    ("POST", E + "/{id}/disable", None, "endpoint.disabled"),
    ("POST", E + "/{id}/replay", {"since": SINCE}, "replay.started"),
    ("POST", R + "/{id}/cancel", None, "replay.cancelled"),
    ("POST", E + "/{id}/enable", None, "endpoint.enabled"),
    ("POST", E + "/{id}/secret/rotate", {"secret": OTHER_SECRET}, "endpoint.secret_rotated"),
    ("DELETE", E + "/{id}", None, "endpoint.deleted"),
    ("POST", K, {"name": "n", "tenant": "acme", "scopes": ["admin"]}, "key.created"),
    ("POST", K + "/{id}/rotate", None, "key.rotated"),
    ("DELETE", K + "/{id}", None, "key.revoked"),
    ("DELETE", T + "/{id}", None, "tenant.deleted"),
]  # fmt: skip
NO_CHANGES = {
    ("POST", "/v1/events"), ("POST", "/v1/events/batch"), ("POST", "/v1/filters/test"),
    ("POST", "/v1/subscriptions/preview"), ("POST", "/oauth/token"),
    ("POST", "/v1/endpoints/{id}/verify"),  # refused here; see test_verification
    ("PUT", "/v1/event-types/{name}"), ("DELETE", "/v1/event-types/{name}"),  # of no tenant; see test_event_types
}  # fmt: skip


async def entries(server: Server, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.client.get("/v1/audit", params=query)).json()["data"]
    return found


async def change_everything(server: Server) -> list[tuple[str, str, str]]:
    """Every change once; gives for each its action, its subject and its request id."""
    ids = {T: "acme"}
    done = []
    for method, path, body, action in CHANGES:
        noun = "/".join(path.split("/")[:3])
        answer = await server.client.request(method, path.replace("{id}", ids.get(noun, "")), json=body)
        assert answer.is_success, answer.text
        if path.endswith("/test"):
            ids[EVENTS] = answer.json()["event_id"]
        noun = {"test": D, "replay": R}.get(path.split("/")[-1], noun)
        if "{id}" not in path or noun != "/".join(path.split("/")[:3]):
            ids[noun] = answer.json()["id"]
        noun = E if path.endswith("/test") else noun
        done.append((action, ids[noun], answer.headers["x-request-id"]))
    return done


async def test_every_change_leaves_an_entry(server: Server) -> None:
    """The document has no route that changes something and is not in this test; each entry tells of its request."""
    document = (await server.client.get("/openapi.json")).json()
    changing = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "get"
    }
    assert {(method, path) for method, path, _, _ in CHANGES} | NO_CHANGES == changing
    done = await change_everything(server)
    found = await entries(server)
    assert [(one["action"], one["subject"], one["request_id"]) for one in reversed(found)] == done
    assert {one["actor"] for one in found} == {"admin"}
    assert {one["tenant"] for one in found} == {"acme"}


async def test_entries_tell_what_was_before_and_after(server: Server) -> None:
    """New things have no before, gone ones no after; of a change only the fields that differ."""
    await change_everything(server)
    by_action = {one["action"]: one for one in await entries(server)}
    assert by_action["tenant.updated"]["before"] == {"name": "acme"}
    assert by_action["tenant.updated"]["after"] == {"name": "Acme"}
    assert by_action["endpoint.created"]["before"] is None
    assert by_action["endpoint.created"]["after"]["url"] == f"{URL}?***"
    assert by_action["endpoint.created"]["after"]["headers"] == {"X-Key": "***"}
    assert by_action["endpoint.deleted"]["after"] is None
    assert by_action["endpoint.secret_rotated"]["after"] == {"secret": "***", "overlap_s": 86_400}
    assert by_action["key.revoked"]["before"] == {"revoked_at": None}
    changed = (await entries(server, subject=by_action["endpoint.created"]["subject"]))[-2]
    assert changed["after"] == {"headers": {"X-Key": "***"}, "description": "d"}


async def test_entries_have_no_secrets(server: Server, tmp_path: Path) -> None:
    """Neither the log's answer nor the database's files hold secrets, values of headers or texts of keys."""
    await change_everything(server)
    key = (await server.client.post("/v1/keys", json={"name": "n"})).json()
    text = (await server.client.get("/v1/audit")).text
    files = files_in(tmp_path)
    for secret in (SECRET, OTHER_SECRET, HEADER_VALUE, key["key"]):
        assert secret not in text
        assert secret.encode() not in files
    assert QUERY not in text


async def test_a_bound_key_sees_the_changes_of_its_tenant(server: Server) -> None:
    """And makes its own under its id; others are not there for it, whatever it filters by."""
    await server.client.post("/v1/tenants", json={"id": "acme"})
    made = (await server.client.post("/v1/keys", json={"name": "n", "tenant": "acme"})).json()
    caller = {"authorization": f"Bearer {made['key']}"}
    await server.client.post("/v1/endpoints", json={"url": URL})
    mine = await server.client.post("/v1/endpoints", json={"url": URL}, headers=caller)
    found = (await server.client.get("/v1/audit", headers=caller)).json()["data"]
    assert [one["action"] for one in found] == ["endpoint.created", "key.created", "tenant.created"]
    assert (found[0]["actor"], found[0]["subject"]) == (made["id"], mine.json()["id"])
    assert await entries(server, actor=made["id"]) == found[:1]
    other = await server.client.get("/v1/audit", headers=caller, params={"tenant": "default"})
    assert other.json()["data"] == []


async def test_what_is_refused_or_changes_nothing_leaves_no_entry(server: Server) -> None:
    """An entry is there exactly where something was changed."""
    made = (await server.client.post("/v1/endpoints", json={"url": URL})).json()
    await server.client.post(f"/v1/endpoints/{made['id']}/enable")
    await server.client.patch(f"/v1/endpoints/{made['id']}", json={"url": "ftp://x"})
    await server.client.post("/v1/tenants", json={"id": "default"})
    await server.client.delete("/v1/endpoints/ep_none")
    assert [one["action"] for one in await entries(server)] == ["endpoint.created"]


async def test_changes_from_code_are_local(server: Server) -> None:
    """The command line and the application that embeds Tellwire show no key."""
    await server.tellwire.tenants.create("acme")
    with pytest.raises(InvalidInputError):
        await server.tellwire.tenants.create("")
    (entry,) = await entries(server)
    assert (entry["actor"], entry["request_id"]) == ("local", None)


async def test_a_tenant_does_not_see_what_another_of_its_id_did(server: Server) -> None:
    """A tenant that is made anew after one of the same id was deleted: a key bound to it sees its own changes only."""
    assert (await server.client.post("/v1/tenants", json={"id": "again"})).status_code == 201
    made = {"url": URL, "events": ["*"], "tenant": "again"}
    assert (await server.client.post("/v1/endpoints", json=made)).status_code == 201
    assert (await server.client.delete("/v1/tenants/again")).status_code in {200, 202, 204}
    for _ in range(600):
        if (await server.client.post("/v1/tenants", json={"id": "again"})).status_code == 201:
            break
        await asyncio.sleep(0.05)
    key = {"name": "k", "tenant": "again", "scopes": ["admin"]}
    bound = (await server.client.post("/v1/keys", json=key)).json()["key"]
    answer = await server.client.get("/v1/audit", headers={"authorization": f"Bearer {bound}"})
    assert {entry["action"] for entry in answer.json()["data"]} == {"tenant.created", "key.created"}
