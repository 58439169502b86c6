"""Access tokens and portal tokens: what they are got with, what they may do, when they end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tellwire import InvalidInputError, NotFoundError, Options, Tellwire, UnauthorizedError
from tellwire.api.gate import Rates
from tellwire.model.portal import Capability
from tellwire.server import build_app

from .clock import LateClock
from .conftest import Server, serving
from .test_api_control import URL, locs

FORM = {"content-type": "application/x-www-form-urlencoded", "authorization": ""}


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest.fixture
async def tellwire(tmp_path: Path, options: Options, clock: LateClock) -> AsyncIterator[Tellwire]:
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire:
        yield tellwire


async def new_key(server: Server, **fields: Any) -> tuple[str, str]:
    made = (await server.client.post("/v1/keys", json={"name": "n", **fields})).json()
    return made["id"], made["key"]


async def get_token(server: Server, content: str, **headers: str) -> httpx.Response:
    return await server.client.post("/oauth/token", content=content, headers={**FORM, **headers})


def check_error(answer: httpx.Response, error: str) -> None:
    """An error as OAuth has it (RFC 6749 section 5.2)."""
    assert answer.status_code == (401 if error == "invalid_client" else 400), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"error", "error_description"}
    assert answer.json()["error"] == error
    assert ("www-authenticate" in answer.headers) == (error == "invalid_client")


async def test_key_is_exchanged_for_a_token(server: Server) -> None:
    """In Basic or in the form; it has the scopes that were asked for, and is good for publishing by both ways in."""
    id, key = await new_key(server, scopes=["publish", "manage"])
    basic = httpx.BasicAuth(id, key)
    answer = await server.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic)
    made = answer.json()
    assert (made.pop("access_token")[:6], made) == (
        "tw_at_", {"token_type": "Bearer", "expires_in": 900, "scope": "publish manage read"},
    )  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"
    form = f"grant_type=client_credentials&client_id={id}&client_secret={key}&scope=publish"
    made = (await get_token(server, form + "&audience=ignored&scope_=x&client_assertion=")).json()
    assert made["scope"] == "publish"
    caller = {"authorization": f"bearer {made['access_token']}"}
    event = {"type": "a.b", "data": {}}
    assert (await server.client.post("/v1/events", json=event, headers=caller)).status_code == 202
    batch = await server.client.post("/v1/events/batch", json={"events": [event]}, headers=caller)
    assert batch.status_code == 202
    refused = await server.client.get("/v1/events", headers=caller)
    assert (refused.status_code, refused.json()["scope"]) == (403, "read")
    assert (await server.client.get("/v1/keys/" + id)).status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("", "invalid_client"),
        ("client_id={id}&client_secret={key}", "invalid_request"),
        ("client_id={id}&client_secret={key}&grant_type=", "invalid_request"),
        ("client_id={id}&client_secret={key}&grant_type=password", "unsupported_grant_type"),
        ("client_id={id}&grant_type=client_credentials", "invalid_client"),
        ("client_id=&client_secret={key}&grant_type=client_credentials", "invalid_client"),
        ("client_id=key_x&client_secret={key}&grant_type=client_credentials", "invalid_client"),
        ("client_id={id}&client_secret={key}x&grant_type=client_credentials", "invalid_client"),
        (
            "client_id={id}&client_id={id}&client_secret={key}&grant_type=client_credentials",
            "invalid_request",
        ),
        ("client_id={id}&client_secret={key}&grant_type=client_credentials&scope=admin", "invalid_scope"),
        ("client_id={id}&client_secret={key}&grant_type=client_credentials&scope=read%20x", "invalid_scope"),
        (
            "client_id={id}&client_secret={key}&grant_type=client_credentials&scope=read++read",
            "invalid_scope",
        ),
        ("&".join(["x=1"] * 60), "invalid_request"),
        ("client_id=%ff&client_secret={key}&grant_type=client_credentials", "invalid_request"),
        ("client_id=\xff", "invalid_request"),
    ],
)
async def test_bad_token_requests(server: Server, form: str, error: str) -> None:
    """Are told in OAuth's own words."""
    id, key = await new_key(server, scopes=["read"])
    check_error(await get_token(server, form.format(id=id, key=key)), error)


async def test_bad_ways_to_show_a_key(server: Server) -> None:
    """Twice, as no Basic, as no form, or with the key of the settings, which has no id."""
    id, key = await new_key(server)
    form = f"grant_type=client_credentials&client_id={id}&client_secret={key}"
    good = httpx.BasicAuth(id, key)._auth_header
    check_error(await get_token(server, form, authorization=good), "invalid_request")
    grant = "grant_type=client_credentials"
    check_error(await get_token(server, grant + "&client_id=key_x", authorization=good), "invalid_request")
    for bad in ("Basic", "Basic !", "Basic aWQ=", f"Bearer {key}", "Basic w6k6w6k="):
        check_error(await get_token(server, grant, authorization=bad), "invalid_client")
    as_json = await get_token(server, "{}", **{"content-type": "application/json"})
    check_error(as_json, "invalid_request")
    for name in ("", "admin", "None"):
        basic = httpx.BasicAuth(name, server.key)._auth_header
        check_error(await get_token(server, grant, authorization=basic), "invalid_client")
    assert locs(await get_token(server, "x" * 10_000), 413) == [[]]
    assert (await server.client.get("/oauth/token")).status_code == 405


async def test_guessing_is_slowed_down(tellwire: Tellwire) -> None:
    """As wrong keys are everywhere; and a key's requests for tokens count as its requests."""
    async with serving(tellwire, build_app(tellwire, rates=Rates(per_key=2))) as server:
        id, key = await new_key(server)
        form = f"grant_type=client_credentials&client_id={id}&client_secret={key}"
        token = (await get_token(server, form)).json()["access_token"]
        caller = {"authorization": f"Bearer {token}"}
        codes = [(await server.client.get("/v1/events", headers=caller)).status_code for _ in range(20)]
        assert codes[0] == 200
        assert 429 in codes
        codes = [(await get_token(server, form + "x")).status_code for _ in range(40)]
        assert set(codes) == {401, 429}


async def test_token_ends_in_time(server: Server, clock: LateClock) -> None:
    """After its lifetime, or with its key where that ends earlier; the answer says when."""
    end = "2099-01-01T00:00:00Z"
    id, key = await new_key(server, expires_at=end)
    form = f"grant_type=client_credentials&client_id={id}&client_secret={key}"
    caller = {"authorization": f"Bearer {(await get_token(server, form)).json()['access_token']}"}
    clock.late_ms = 899_000
    assert (await server.client.get("/v1/events", headers=caller)).status_code == 200
    clock.late_ms = 901_000
    answer = await server.client.get("/v1/events", headers=caller)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the token has expired")
    await server.client.post(f"/v1/keys/{id}/rotate", json={"overlap_s": 60})
    brief = (await get_token(server, form)).json()
    assert 55 <= brief["expires_in"] <= 60


async def test_token_of_another_server_is_refused(server: Server, tmp_path: Path, options: Options) -> None:
    """It is sealed with the server's secret key: another server, and another prefix, open nothing."""
    async with Tellwire(f"sqlite:///{tmp_path / 'other.db'}", options) as other:
        token = (await other.tokens.portal("default", ["events:read"])).token
        assert other.tokens.find(token) is not None
    # The same folder has the same key file: a key of its own makes it another server.
    async with Tellwire("sqlite:///" + str(tmp_path / "third.db"), Options(secret_key="ab" * 32)) as third:
        with pytest.raises(UnauthorizedError):
            third.tokens.find(token)
        with pytest.raises(UnauthorizedError):
            third.tokens.find(
                (await third.tokens.portal("default", ["events:read"])).token.replace("pt", "at")
            )


@pytest.mark.parametrize(
    "text",
    ["tw_at_", "tw_pt_", "tw_at_A", "tw_pt_" + "A" * 40, "tw_at_é", "tw_pt_" + "A" * 9000, "tw_at_A A"],
)
async def test_texts_that_were_never_tokens(server: Server, text: str) -> None:
    """Are refused like any other wrong key."""
    caller = {"authorization": f"Bearer {text}".encode("latin-1")}
    answer = await server.client.get("/v1/events", headers=caller)  # type: ignore[arg-type] # bytes are fine
    assert (answer.status_code, answer.json()["detail"]) == (401, "this token was not made here")


async def test_portal_token(server: Server) -> None:
    """It is bound to its tenant, says when it ends, and what is done with it stands under whom it is for."""
    for tenant in ("acme", "other"):
        await server.client.post("/v1/tenants", json={"id": tenant})
    body = {"capabilities": ["endpoints:write", "endpoints:write"], "lifetime_s": 60, "subject": "user_1"}
    made = await server.client.post("/v1/tenants/acme/portal-token", json=body)
    answer = made.json()
    assert (made.status_code, answer["tenant"], answer["subject"]) == (201, "acme", "user_1")
    assert answer["capabilities"] == ["endpoints:write"]
    caller = {"authorization": f"Bearer {answer['token']}"}
    endpoint = (await server.client.post("/v1/endpoints", json={"url": URL}, headers=caller)).json()
    assert endpoint["tenant"] == "acme"
    assert locs(
        await server.client.post("/v1/endpoints", json={"url": URL, "tenant": "other"}, headers=caller)
    ) == [["tenant"]]
    refused = await server.client.get(f"/v1/endpoints/{endpoint['id']}/secret", headers=caller)
    assert (refused.status_code, refused.json()["capability"]) == (403, "secrets:read")
    published = await server.client.post("/v1/events", json={"type": "a", "data": {}}, headers=caller)
    assert (published.status_code, published.json()["capability"]) == (403, None)
    (entry, *others) = (await server.client.get("/v1/audit")).json()["data"]
    assert (entry["action"], entry["actor"]) == ("endpoint.created", "portal:user_1")
    assert (others[0]["action"], others[0]["subject"]) == ("tenant.portal_token_made", "acme")
    assert answer["token"] not in (await server.client.get("/v1/audit")).text


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, "capabilities"),
        ({"capabilities": []}, "capabilities"),
        ({"capabilities": ["admin"]}, "capabilities"),
        ({"capabilities": ["events:read"], "lifetime_s": 59}, "lifetime_s"),
        ({"capabilities": ["events:read"], "lifetime_s": 86_401}, "lifetime_s"),
        ({"capabilities": ["events:read"], "subject": ""}, "subject"),
        ({"capabilities": ["events:read"], "subject": "a b"}, "subject"),
        ({"capabilities": ["events:read"], "subject": "x" * 51}, "subject"),
        ({"capabilities": ["events:read"], "tenant": "x"}, "tenant"),
    ],
)
async def test_bad_portal_token_request(server: Server, body: dict[str, Any], loc: str) -> None:
    """Names its fault."""
    assert locs(await server.client.post("/v1/tenants/default/portal-token", json=body)) == [[loc]]


async def test_portal_tokens_from_code(tellwire: Tellwire) -> None:
    """An application that embeds Tellwire makes them for its own pages; a tenant made anew does not inherit them."""
    with pytest.raises(NotFoundError):
        await tellwire.tokens.portal("none", ["events:read"])
    with pytest.raises(InvalidInputError):
        await tellwire.tokens.portal("default", ["x"])
    await tellwire.tenants.create("acme")
    made = await tellwire.tokens.portal("acme", ["deliveries:retry"])
    grant = tellwire.tokens.find(made.token)
    assert grant is not None
    assert grant.capabilities == frozenset({Capability.DELIVERIES_RETRY, Capability.DELIVERIES_READ})
    assert (grant.caller.tenant, grant.scopes) == ("acme", frozenset())
    await tellwire.tenants.delete("acme")
    with pytest.raises(UnauthorizedError):
        tellwire.tokens.find(made.token)
