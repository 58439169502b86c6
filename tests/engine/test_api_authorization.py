"""Every route and every kind of caller, from the OpenAPI document: a new route without a rule fails here."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.stored import files_in

from tellwire import Options, Tellwire
from tellwire.clock import SystemClock
from tellwire.ending import end
from tellwire.ids import decode, encode
from tellwire.server import build_app

from .clock import LateClock
from .conftest import WAIT_S, Server, serving
from .issuing import ForeignIssuer, foreign_issuer, trusting
from .test_api_control import URL, locs

# Which scopes open a route that asks for one: said here once more, by hand.
OPENED_BY = {
    "publish": {"publish", "admin"},
    "read": {"read", "manage", "admin"},
    "manage": {"manage", "admin"},
    "admin": {"admin"},
}
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/oauth/token"),
    ("GET", "/.well-known/tellwire-keys.json"),
}
KINDS = ("key", "access token", "jwt")
"""What a caller can show to have scopes."""
CAPABILITIES = {
    "events:read": {"events:read"},
    "endpoints:read": {"endpoints:read"},
    "endpoints:write": {"endpoints:read", "endpoints:write"},
    "secrets:read": {"secrets:read"},
    "secrets:rotate": {"secrets:read", "secrets:rotate"},
    "deliveries:read": {"deliveries:read"},
    "deliveries:retry": {"deliveries:read", "deliveries:retry"},
}
"""What each capability of a portal token opens: said here once more, by hand."""
SHARED = ("/v1/event-types", "/v1/event-types/{name}")
"""What belongs to no tenant, and is there for every reader."""
PREFIXES = {"events": "evt", "endpoints": "ep", "deliveries": "dlv", "replays": "rpl", "keys": "key"}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/events"): {"type": "a.b", "data": {}},
    ("POST", "/v1/events/batch"): {"events": [{"type": "a.b", "data": {}}]},
    ("POST", "/v1/endpoints"): {"url": URL, "events": ["a.b"]},
    ("POST", "/v1/keys"): {"name": "n", "scopes": ["publish"]},
}
"""What makes something for a tenant; all other routes look at a thing, list things, or change one."""
NAMING: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("POST", "/v1/filters/test"): ("events", {"filter": {"type": "a.b"}, "event": "{id}"}),
    ("POST", "/v1/subscriptions/preview"): ("endpoints", {"endpoint": "{id}"}),
}
"""What names a thing in its body: of which noun, and how."""


@dataclass(frozen=True)
class Operation:
    """One route as the document describes it."""

    method: str
    path: str
    scope: str | None
    unbound: bool
    security: list[dict[str, list[str]]] | None
    capability: str | None

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def is_list(self) -> bool:
        return (
            self.method == "GET"
            and self.path.startswith("/v1/")
            and "{id}" not in self.path
            and self.path not in SHARED
        )


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest.fixture
async def tellwire(tmp_path: Path, options: Options, clock: LateClock) -> AsyncIterator[Tellwire]:
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire:
        yield tellwire


class HastyClock(SystemClock):
    """Runs on by a second whenever it is looked at, so that nobody is told to wait."""

    looks = 0

    def now_ms(self) -> int:
        self.looks += 1
        return super().now_ms() + self.looks * 1_000


@pytest.fixture
async def foreign() -> AsyncIterator[ForeignIssuer]:
    async with foreign_issuer() as foreign:
        yield foreign


@pytest.fixture
async def server(tellwire: Tellwire, foreign: ForeignIssuer, clock: LateClock) -> AsyncIterator[Server]:
    issuer = trusting(foreign, tellwire, clock=clock)
    running = asyncio.create_task(issuer.run())
    async with serving(tellwire, build_app(tellwire, clock=HastyClock(), issuer=issuer)) as server:
        async with asyncio.timeout(WAIT_S):
            while (found := await server.client.get("/v1/events", headers=foreign.token())).is_error:
                assert found.status_code == 503
                await asyncio.sleep(0.01)
        yield server
    await end([running])


_OPERATIONS: list[Operation] = []


@pytest.fixture
async def operations(server: Server) -> list[Operation]:
    """Those of the document, which is the same for all servers here: the first one is asked, for it takes long."""
    if not _OPERATIONS:
        document = (await server.client.get("/openapi.json")).json()
        _OPERATIONS.extend(
            Operation(
                method.upper(), path, one.get("x-required-scope"), one.get("x-unbound-keys-only", False),
                one.get("security"), one.get("x-portal-capability"),
            )
            for path, item in document["paths"].items()
            for method, one in item.items()
        )  # fmt: skip
    return _OPERATIONS


async def new_key(server: Server, **fields: Any) -> tuple[str, dict[str, str]]:
    """The id of a new key and the header that shows it."""
    made = await server.client.post("/v1/keys", json={"name": "n", **fields})
    assert made.status_code == 201, made.text
    return made.json()["id"], {"authorization": f"Bearer {made.json()['key']}"}


async def exchanged(server: Server, id: str, key: dict[str, str]) -> dict[str, str]:
    """The header that shows an access token of a key."""
    form = {"grant_type": "client_credentials", "client_id": id, "client_secret": key["authorization"][7:]}
    made = await server.client.post("/oauth/token", data=form, headers={"authorization": ""})
    assert made.status_code == 200, made.text
    return {"authorization": f"Bearer {made.json()['access_token']}"}


async def access_token(server: Server, **fields: Any) -> dict[str, str]:
    """The header that shows an access token of a new key."""
    return await exchanged(server, *await new_key(server, **fields))


async def caller_of(
    server: Server, foreign: ForeignIssuer, kind: str, scope: str, tenant: str | None = None
) -> dict[str, str]:
    """The header of a caller who shows a credential of a kind."""
    if kind == "jwt":
        return foreign.token(scope=scope, org=tenant or "*")
    if kind == "access token":
        return await access_token(server, scopes=[scope], tenant=tenant)
    return (await new_key(server, scopes=[scope], tenant=tenant))[1]


async def portal_token(
    server: Server, tenant: str, capabilities: list[str], headers: dict[str, str] | None = None
) -> dict[str, str]:
    body = {"capabilities": capabilities, "subject": "user_1"}
    made = await server.client.post(f"/v1/tenants/{tenant}/portal-token", json=body, headers=headers)
    assert made.status_code == 201, made.text
    return {"authorization": f"Bearer {made.json()['token']}"}


async def ask(
    server: Server, one: Operation, headers: dict[str, str], id: str = "none", body: Any = None
) -> httpx.Response:
    path = one.path.replace("{id}", id).replace("{name}", "a.b")
    return await server.client.request(one.method, path, headers=headers, json=BODIES.get(one.key, body))


@pytest.fixture
async def things(server: Server) -> dict[str, str]:
    """One thing of each kind that belongs to the tenant ``acme``, by the noun of its route; ``other`` has nothing."""
    for tenant in ("acme", "other"):
        await server.client.post("/v1/tenants", json={"id": tenant})
    endpoint = await server.client.post("/v1/endpoints", json={"url": URL, "events": ["*"], "tenant": "acme"})
    await server.client.post(f"/v1/endpoints/{endpoint.json()['id']}/pause")
    event = await server.client.post("/v1/events", json={"type": "a.b", "data": {}, "tenant": "acme"})
    (delivery,) = (await server.client.get("/v1/deliveries")).json()["data"]
    key, _ = await new_key(server, tenant="acme")
    replay = await server.client.post(
        f"/v1/endpoints/{endpoint.json()['id']}/replay", json={"event": event.json()["id"], "dry_run": True}
    )
    return {
        "endpoints": endpoint.json()["id"], "events": event.json()["id"], "deliveries": delivery["id"],
        "keys": key, "tenants": "acme", "replays": replay.json()["id"],
    }  # fmt: skip


def test_every_route_has_a_rule(operations: list[Operation]) -> None:
    """It names a scope, or is one of those that are open to everybody; the security requirement says the same."""
    for one in operations:
        assert (one.scope is None) == (one.key in OPEN), one
        if one.scope is not None:
            assert one.security == [{"api_key": [one.scope]}, {"oauth2": [one.scope]}], one
        assert one.capability is None or (one.capability in CAPABILITIES and not one.unbound), one
        assert one.scope is None or one.scope in OPENED_BY, one


async def test_nobody_passes_without_a_good_key(
    server: Server, operations: list[Operation], clock: LateClock, foreign: ForeignIssuer
) -> None:
    """No key, an unknown one, one with a wrong checksum, a revoked and an expired one are refused alike: 401.

    So are tokens that have expired, that were changed, and those of a key that was revoked.
    """
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    _, expired = await new_key(server, expires_at=soon)
    id, revoked = await new_key(server)
    orphan = await exchanged(server, id, revoked)
    orphaned = await portal_token(server, "default", list(CAPABILITIES), revoked)
    await server.client.delete(f"/v1/keys/{id}")
    forged = {"authorization": revoked["authorization"][:-1] + "!"}
    old = [
        await access_token(server),
        await portal_token(server, "default", list(CAPABILITIES)),
        foreign.token(),
    ]
    changed = [
        {"authorization": token["authorization"][:-9] + "AAAAAAAAA"}
        for token in (await access_token(server), await portal_token(server, "default", ["events:read"]))
    ]
    swapped = {"authorization": old[1]["authorization"].replace("tw_pt_", "tw_at_")}
    at_once = [{"authorization": ""}, orphan, orphaned, swapped, *changed, foreign.token(aud="x")]
    later = [
        {"authorization": "Bearer tw_unknown"}, {"authorization": "Basic dHc6dHc="}, forged, revoked, expired, *old,
    ]  # fmt: skip
    await _check_refused(server, operations, at_once)
    clock.late_ms = 2 * 3_600_000
    await _check_refused(server, operations, later)


async def _check_refused(server: Server, operations: list[Operation], callers: list[dict[str, str]]) -> None:
    for one in operations:
        if one.path == "/oauth/token":
            continue
        for caller in callers:
            answer = await ask(server, one, caller)
            assert answer.status_code == (200 if one.scope is None else 401), (one, caller)
            if one.scope is not None:
                assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", OPENED_BY)
async def test_a_scope_opens_its_routes_and_no_others(
    server: Server, operations: list[Operation], foreign: ForeignIssuer, scope: str, kind: str
) -> None:
    """Whatever the id, a key or token without the scope is refused with 403, and one with it is not."""
    caller = await caller_of(server, foreign, kind, scope)
    for one in operations:
        if one.path == "/oauth/token":
            continue
        answer = await ask(server, one, caller)
        opened = one.scope is None or scope in OPENED_BY[one.scope]
        assert (answer.status_code != 403) == opened, one
        assert answer.status_code != 401, one
        if not opened:
            assert answer.json()["scope"] == one.scope


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", OPENED_BY)
async def test_for_the_key_of_another_tenant_nothing_is_there(
    server: Server, operations: list[Operation], things: dict[str, str], foreign: ForeignIssuer, scope: str,
    kind: str,
) -> None:  # fmt: skip
    """What is another tenant's is not found, in the very words of what does not exist; lists are as if it were not."""
    caller = await caller_of(server, foreign, kind, scope, "other")
    opened = [one for one in operations if one.scope is not None and scope in OPENED_BY[one.scope]]
    await _check_nothing_is_there(server, opened, things, caller)


async def test_for_a_portal_token_of_another_tenant_nothing_is_there(
    server: Server, operations: list[Operation], things: dict[str, str]
) -> None:
    """With every capability, it is as for a key."""
    caller = await portal_token(server, "other", list(CAPABILITIES))
    opened = [one for one in operations if one.capability is not None]
    await _check_nothing_is_there(server, opened, things, caller)


@pytest.mark.parametrize("capability", CAPABILITIES)
async def test_a_capability_opens_its_routes_and_no_others(
    server: Server, operations: list[Operation], things: dict[str, str], capability: str
) -> None:
    """A portal token is refused with 403 wherever its capabilities do not open the route: all of them together, too."""
    for capabilities in ([capability], list(CAPABILITIES)):
        caller = await portal_token(server, "acme", capabilities)
        allowed = {each for one in capabilities for each in CAPABILITIES[one]}
        for one in operations:
            if one.scope is None or (one.method == "DELETE" and one.capability in allowed):
                continue
            answer = await ask(
                server,
                one,
                caller,
                things.get(one.path.split("/")[-1 if one.path.count("/") < 2 else 2], "none"),
            )
            assert (answer.status_code != 403) == (one.capability in allowed), (one, answer.text)
            assert answer.status_code != 401, (one, answer.text)
            assert answer.status_code != 404 or one.path in SHARED, (one, answer.text)
            if answer.status_code == 403:
                assert answer.json()["capability"] == one.capability


async def test_a_portal_token_ends_with_what_it_was_made_with(
    server: Server, things: dict[str, str], foreign: ForeignIssuer
) -> None:
    """A token of an issuer that lives shorter than asked, the key behind an access token, or its tenant."""
    id, key = await new_key(server, scopes=["manage"], tenant="acme")
    token = await exchanged(server, id, key)
    of_key, of_token = [await portal_token(server, "acme", ["events:read"], one) for one in (key, token)]
    of_admin = await portal_token(server, "acme", ["events:read"])
    for caller in (of_key, of_token, of_admin):
        assert (await server.client.get("/v1/events", headers=caller)).status_code == 200
    await server.client.delete(f"/v1/keys/{id}")
    for caller in (of_key, of_token):
        assert (await server.client.get("/v1/events", headers=caller)).status_code == 401
    made = await server.client.post(
        "/v1/tenants/acme/portal-token", json={"capabilities": ["events:read"]}, headers=foreign.token()
    )
    assert datetime.fromisoformat(made.json()["expires_at"]) < datetime.now(UTC) + timedelta(seconds=640)
    await server.client.delete("/v1/tenants/acme")
    assert (await server.client.get("/v1/events", headers=of_admin)).status_code == 401


async def _check_nothing_is_there(
    server: Server, operations: list[Operation], things: dict[str, str], caller: dict[str, str]
) -> None:
    for one in operations:
        noun = one.path.split("/")[-1 if one.is_list else 2] if one.path.startswith("/v1/") else ""
        if one.unbound:
            answer = await ask(server, one, caller, things.get(noun, "none"), {})
            assert (answer.status_code, answer.json()["bound_to"]) == (403, "other"), one
        elif "{id}" in one.path:
            answer = await ask(server, one, caller, things[noun])
            assert answer.status_code == 404, (one, answer.text)
            absent = _absent(noun)
            words = (await ask(server, one, caller, absent)).json()["detail"]
            assert answer.json()["detail"] == words.replace(absent, things[noun]), one
        elif one.path in SHARED:
            assert (await ask(server, one, caller)).status_code in (200, 404), one
        elif one.is_list:
            found = await server.client.get(one.path, headers=caller)
            ids = {item["id"] for item in found.json()["data"]}
            assert not ids & set(things.values()), one
            await _check_list_of_another(server, one, caller)
        elif one.key in NAMING:
            await _check_naming(server, one, caller, things)
        else:
            await _check_new(server, one, caller)
    assert (await server.client.get("/v1/endpoints", params={"tenant": "acme"})).json()["data"][0][
        "state"
    ] == "paused"


def _absent(noun: str) -> str:
    """A well-formed id of nothing."""
    return "absent" if noun == "tenants" else encode(PREFIXES[noun], bytes(15) + b"\1")


async def _check_list_of_another(server: Server, one: Operation, caller: dict[str, str]) -> None:
    """A filter by the other tenant finds nothing, as it does for a tenant that does not exist."""
    for tenant in ("acme", "absent"):
        answer = await server.client.get(one.path, headers=caller, params={"tenant": tenant})
        assert answer.status_code == 422 or answer.json()["data"] == [], one


async def _check_naming(
    server: Server, one: Operation, caller: dict[str, str], things: dict[str, str]
) -> None:
    """A thing that is named in the body is not there, and neither is the tenant."""
    noun, body = NAMING[one.key]
    found = {}
    for id in (things[noun], _absent(noun)):
        given = {name: id if value == "{id}" else value for name, value in body.items()}
        answer = await server.client.post(one.path, headers=caller, json=given)
        assert answer.status_code == 404, (one, answer.text)
        found[id] = answer.json()["detail"].replace(id, "X")
    assert len(set(found.values())) == 1, found
    without = {name: value for name, value in body.items() if value != "{id}"}
    answer = await server.client.post(one.path, headers=caller, json={**without, "tenant": "acme"})
    assert locs(answer) == [["tenant"]], one


async def _check_new(server: Server, one: Operation, caller: dict[str, str]) -> None:
    """Something new is its own tenant's; for another tenant it is refused like for one that does not exist."""
    body = BODIES[one.key]
    answers = []
    for tenant in ("acme", "absent", "default"):
        given = (
            {"events": [{**event, "tenant": tenant} for event in body["events"]]}
            if "events" in body and one.path.endswith("batch")
            else {**body, "tenant": tenant}
        )
        answer = await server.client.post(one.path, headers=caller, json=given)
        assert locs(answer)[0][-1] == "tenant", one
        answers.append(answer.json()["detail"].replace(tenant, "X"))
    assert len(set(answers)) == 1, answers
    made = await server.client.post(one.path, headers=caller, json=body)
    assert made.is_success, made.text
    first = made.json().get("data", [made.json()])[0]
    assert first["tenant"] == "other", one


async def test_a_bound_key_gets_at_its_own(
    server: Server, operations: list[Operation], things: dict[str, str]
) -> None:
    """The key of its tenant finds everything of it, by id and in lists, and nothing of others beside it."""
    await server.client.post("/v1/endpoints", json={"url": URL, "events": ["*"]})
    await server.client.post("/v1/events", json={"type": "a.b", "data": {}})
    _, caller = await new_key(server, tenant="acme")
    for one in operations:
        if one.scope is None or one.unbound or one.method != "GET":
            continue
        noun = one.path.split("/")[2]
        if "{id}" in one.path:
            assert (await ask(server, one, caller, things[noun])).status_code == 200, one
        elif noun in things:
            listed = (await server.client.get(one.path, headers=caller)).json()["data"]
            assert things[noun] in {item["id"] for item in listed}, one
            assert {item.get("tenant", "acme") for item in listed} == {"acme"}, one


async def test_keys_of_a_deleted_tenant_are_refused_at_once(server: Server, things: dict[str, str]) -> None:
    """Long before its rows are gone."""
    _, caller = await new_key(server, tenant="acme")
    assert (await server.client.get("/v1/events", headers=caller)).status_code == 200
    await server.client.delete("/v1/tenants/acme")
    assert (await server.client.get("/v1/events", headers=caller)).status_code == 401


async def test_key_is_rotated(server: Server, clock: LateClock) -> None:
    """The new key is like the old one and lives as long; the old one is good until the overlap ends."""
    end = (datetime.now(UTC) + timedelta(days=90)).isoformat()
    id, old = await new_key(server, scopes=["read"], expires_at=end)
    before = (await server.client.get(f"/v1/keys/{id}")).json()
    made = await server.client.post(f"/v1/keys/{id}/rotate", json={"overlap_s": 60})
    assert made.status_code == 201
    after, new = made.json(), {"authorization": f"Bearer {made.json()['key']}"}
    assert (after["name"], after["scopes"], after["tenant"]) == (before["name"], ["read"], None)
    assert (after["id"], after["expires_at"]) > (before["id"], before["expires_at"])
    for caller in (old, new):
        assert (await server.client.get("/v1/events", headers=caller)).status_code == 200
    clock.late_ms = 61_000
    assert (await server.client.get("/v1/events", headers=old)).status_code == 401
    assert (await server.client.get("/v1/events", headers=new)).status_code == 200
    assert locs(await server.client.post(f"/v1/keys/{id}/rotate"), 409) == []
    assert locs(await server.client.post(f"/v1/keys/{after['id']}/rotate", json={"overlap_s": -1})) == [
        ["overlap_s"]
    ]


async def test_last_use_is_kept(server: Server, clock: LateClock) -> None:
    """A key tells when it was used last, once that has been written."""
    id, caller = await new_key(server, scopes=["read"])
    assert (await server.client.get(f"/v1/keys/{id}")).json()["last_used_at"] is None
    clock.late_ms = 5_000
    await server.client.get("/v1/events", headers=caller)
    await server.tellwire.keys.last_uses.write()
    first = (await server.client.get(f"/v1/keys/{id}")).json()
    assert first["last_used_at"] > first["created_at"]


async def test_number_of_keys_of_a_tenant_is_limited(server: Server, tellwire: Tellwire) -> None:
    """Whoever administers one tenant cannot fill the memory of all; revoked and replaced keys make room."""
    await server.client.post("/v1/tenants", json={"id": "acme"})
    made = [await new_key(server, tenant="acme") for _ in range(tellwire.limits.keys_per_tenant)]
    over = await server.client.post("/v1/keys", json={"name": "n", "tenant": "acme"})
    assert (locs(over), over.json()["limit"]) == ([["tenant"]], "keys_per_tenant")
    assert locs(await server.client.post(f"/v1/keys/{made[1][0]}/rotate")) == [["tenant"]]
    at_once = await server.client.post(f"/v1/keys/{made[1][0]}/rotate", json={"overlap_s": 0})
    assert at_once.status_code == 201
    await server.client.delete(f"/v1/keys/{made[0][0]}")
    await new_key(server, tenant="acme")
    assert locs(await server.client.post("/v1/keys", json={"name": "n", "tenant": "none"})) == [["tenant"]]


async def test_texts_of_keys_are_nowhere(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in lists, single answers, refusals and logs, not in the database's files: not even the random part."""
    caplog.set_level("DEBUG", logger="tellwire")
    made = await server.client.post("/v1/keys", json={"name": "n"})
    rotated = await server.client.post(f"/v1/keys/{made.json()['id']}/rotate")
    wrong = await server.client.get("/v1/keys", headers={"authorization": f"Bearer {made.json()['key']}x"})
    assert wrong.status_code == 401
    listed = await server.client.get("/v1/keys")
    single = await server.client.get(f"/v1/keys/{made.json()['id']}")
    files = files_in(tmp_path)
    for text in (made.json()["key"], rotated.json()["key"]):
        hidden = text.removeprefix(made.json()["prefix"][:8])[6:]
        assert hidden not in listed.text + single.text + wrong.text + caplog.text
        assert hidden.encode() not in files


def test_ids_of_nothing_are_well_formed() -> None:
    """So that the answer for them is the one for a thing that is not there."""
    assert all(decode(prefix, _absent(noun)) is not None for noun, prefix in PREFIXES.items())
