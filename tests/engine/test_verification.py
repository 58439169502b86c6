"""A new URL is verified before anything is delivered to it, where the server or its tenant asks for that."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tellwire import Options, Tellwire
from tellwire.deliver import verifier
from tellwire.deliver.egress import EgressPolicy
from tellwire.model.verification import Verification
from tellwire.server import build_app
from tellwire.signing import parse_secret
from tellwire.signing.standard import verify

from .conftest import Received, Receiver, Reply, Server, serving
from .hostile import Behaviour, answer, drip, endless_body, hang, raw, redirect
from .hostile import Receiver as HostileReceiver
from .test_api_control import created, locs

Respond = Callable[[Received], Reply]
ORIGIN = "events.example.com"


def asking(options: Options, how: Verification) -> Options:
    return msgspec.structs.replace(options, verification=how, verification_origin=ORIGIN)


@pytest.fixture
async def pinging(tmp_path: Path, options: Options) -> AsyncIterator[Server]:
    """A server that asks for the answer to a ping."""
    async with (
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", asking(options, Verification.PING)) as tellwire,
        serving(tellwire, build_app(tellwire)) as server,
    ):
        yield server


def willing(request: Received) -> Reply:
    """Sends back the challenge of a ping, and takes everything else."""
    event = json.loads(request.body)
    if event["type"] == "tellwire.verification":
        return Reply(200, json.dumps({"challenge": event["data"]["challenge"]}).encode())
    return Reply()


def plainly_willing(request: Received) -> Reply:
    event = json.loads(request.body)
    return Reply(200, (event["data"].get("challenge", "") + "\n").encode())


def allowing(origin: str | None, status: int = 200) -> Respond:
    """Answers a handshake."""
    return lambda request: Reply(status, headers=[("WebHook-Allowed-Origin", origin)] if origin else [])


async def types(receiver: Receiver) -> list[str]:
    return [json.loads(one.body)["type"] for one in receiver.requests]


@pytest.mark.parametrize("respond", [willing, plainly_willing])
async def test_who_sends_the_challenge_back_is_enabled(
    pinging: Server, receiver: Receiver, respond: Respond
) -> None:
    """The ping is signed with the endpoint's secret; from then on events are delivered."""
    receiver.respond = respond
    made = await created(pinging, url=receiver.url, events=["*"], headers={"X-Shop": "north"})
    assert (made["state"], made["state_reason"]) == ("enabled", None)
    (ping,) = receiver.requests
    at = int(ping.headers["webhook-timestamp"])
    verify([parse_secret(made["secret"])], ping.headers, ping.body, at)
    assert ping.headers["x-shop"] == "north"
    await pinging.client.post("/v1/events", json={"type": "a.b", "data": {}})
    await receiver.met(2)


async def test_who_only_says_200_is_not(pinging: Server, receiver: Receiver) -> None:
    """Events are kept and wait; when the receiver has learned to answer and is asked again, they come."""
    made = await created(pinging, url=receiver.url, events=["*"])
    assert made["state"] == "unverified"
    assert "challenge" in made["state_reason"]
    await pinging.client.post("/v1/events", json={"type": "a.b", "data": {}})
    path = f"/v1/endpoints/{made['id']}"
    again = (await pinging.client.post(path + "/verify")).json()
    assert again["state"] == "unverified"
    assert await types(receiver) == ["tellwire.verification"] * 2
    receiver.respond = willing
    assert (await pinging.client.post(path + "/verify")).json()["state"] == "enabled"
    await receiver.met(4)
    assert (await types(receiver))[-1] == "a.b"
    assert (await pinging.client.post(path + "/verify")).json()["state"] == "enabled"
    assert len(receiver.requests) == 4  # a verified URL is not asked again
    actions = [one["action"] for one in (await pinging.client.get("/v1/audit")).json()["data"]]
    assert actions == ["endpoint.verified", "endpoint.not_verified", "endpoint.created"]


async def test_no_switch_leads_around_it(pinging: Server, receiver: Receiver) -> None:
    """Neither pausing and resuming nor disabling and enabling delivers to a URL that was not verified."""
    made = await created(pinging, url=receiver.url, events=["*"])
    path = f"/v1/endpoints/{made['id']}"
    for off, on in (("pause", "resume"), ("disable", "enable"), ("pause", "enable")):
        assert (await pinging.client.post(f"{path}/{off}")).status_code == 200
        assert (await pinging.client.post(f"{path}/{on}")).json()["state"] == "unverified"
    receiver.respond = willing
    assert (await pinging.client.post(path + "/enable")).json()["state"] == "enabled"
    asked = len(receiver.requests)
    await pinging.client.post(path + "/pause")
    assert (await pinging.client.post(path + "/resume")).json()["state"] == "enabled"
    assert len(receiver.requests) == asked


async def test_a_changed_url_is_verified_anew(pinging: Server, receiver: Receiver) -> None:
    """Other changes ask nothing; the old URL, verified before the other, is asked again too."""
    receiver.respond = willing
    made = await created(pinging, url=receiver.url, events=["*"])
    path = f"/v1/endpoints/{made['id']}"
    await pinging.client.patch(path, json={"description": "x", "url": receiver.url})
    assert len(receiver.requests) == 1
    async with Receiver() as other:
        moved = (await pinging.client.patch(path, json={"url": other.url})).json()
        assert (moved["state"], moved["url"]) == ("unverified", other.url)
        assert await types(other) == ["tellwire.verification"]
    back = (await pinging.client.patch(path, json={"url": receiver.url})).json()
    assert back["state"] == "enabled"


@pytest.mark.parametrize(
    ("respond", "state"),
    [
        (allowing(ORIGIN), "enabled"),
        (allowing(ORIGIN.upper()), "enabled"),
        (allowing("*"), "enabled"),
        (allowing("*", 204), "enabled"),
        (allowing("other.example.com"), "unverified"),
        (allowing(None), "unverified"),
        (allowing("*", 405), "unverified"),
        (allowing("*", 302), "unverified"),
    ],
)
async def test_handshake_of_cloudevents(
    tmp_path: Path, options: Options, receiver: Receiver, respond: Respond, state: str
) -> None:
    """OPTIONS with our origin; who allows it, or all, wants deliveries."""
    receiver.respond = respond
    options = asking(options, Verification.HANDSHAKE)
    async with Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options) as tellwire:
        made, _ = await tellwire.endpoints.create(
            receiver.url, settings={"authentication": {"type": "bearer", "token": "t"}}
        )
    assert made.state == state
    (request,) = receiver.requests
    assert (request.method, request.headers["webhook-request-origin"]) == ("OPTIONS", ORIGIN)
    assert request.headers["authorization"] == "Bearer t"
    assert request.body == b""


@pytest.mark.parametrize(
    "behaviour",
    [
        hang, drip, endless_body, raw(b"\x00garbage"), redirect("http://127.0.0.1:1/"), answer(500),
        answer(200, b"[" * 60_000), answer(200, b'{"challenge": 1}'), answer(200, "ü".encode()),
    ],
)  # fmt: skip
async def test_hostile_receivers_are_not_verified(
    tmp_path: Path, options: Options, behaviour: Behaviour
) -> None:
    """Whatever they answer, it is read to a limit, and the reason quotes nothing of it."""
    options = msgspec.structs.replace(
        asking(options, Verification.PING), engine=msgspec.structs.replace(options.engine, timeout_s=1.0)
    )
    async with (
        HostileReceiver(behaviour) as receiver,
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options) as tellwire,
    ):
        made, _ = await tellwire.endpoints.create(receiver.url())
        assert made.state == "unverified"
        assert made.state_reason is not None
        assert made.state_reason.startswith("not verified: ")
        assert len(made.state_reason) < 300


async def test_the_challenge_passes_the_egress_guard(tmp_path: Path, options: Options) -> None:
    """A name that leads into a private network is not asked."""
    options = msgspec.structs.replace(
        asking(options, Verification.PING), egress=EgressPolicy(allow_http=True)
    )
    async with (
        Receiver() as receiver,
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options) as tellwire,
    ):
        made, _ = await tellwire.endpoints.create(receiver.url.replace("127.0.0.1", "localhost"))
        assert "refused_address" in (made.state_reason or "")
        assert receiver.requests == []


async def test_only_so_many_are_under_way(pinging: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes beyond that is told to ask again."""
    monkeypatch.setattr(verifier, "AT_ONCE", 1)
    async with HostileReceiver(hang) as receiver:
        first = asyncio.create_task(pinging.tellwire.endpoints.create(receiver.url()))
        await receiver.met(1)
        made = await created(pinging, url=receiver.url())
        assert "too many" in made["state_reason"]
        first.cancel()


async def test_a_tenant_may_differ_from_the_server(server: Server, receiver: Receiver) -> None:
    """Its own word holds, also against what the server says; null is the server's again."""
    await server.client.post("/v1/tenants", json={"id": "acme", "verification": "ping"})
    made = await created(server, url=receiver.url, tenant="acme")
    assert made["state"] == "unverified"
    assert (await created(server, url=receiver.url))["state"] == "enabled"
    plain = await created(server, url=receiver.url)
    assert locs(await server.client.post(f"/v1/endpoints/{plain['id']}/verify"), 409) == []
    bad = await server.client.patch("/v1/tenants/acme", json={"verification": "maybe"})
    assert locs(bad) == [["verification"]]
    tenant = (await server.client.patch("/v1/tenants/acme", json={"verification": None})).json()
    assert tenant["verification"] is None
    switched: dict[str, Any] = (await server.client.post(f"/v1/endpoints/{made['id']}/enable")).json()
    assert switched["state"] == "enabled"


async def test_what_was_enabled_before_stays(tmp_path: Path, options: Options, receiver: Receiver) -> None:
    """When verification is turned on, endpoints that deliver go on; ``verify`` says where one does not pass."""
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with Tellwire(url, options) as tellwire:
        made, _ = await tellwire.endpoints.create(receiver.url)
    async with (
        Tellwire(url, asking(options, Verification.PING)) as tellwire,
        serving(tellwire, build_app(tellwire)) as server,
    ):
        path = f"/v1/endpoints/{made.id}"
        assert (await server.client.get(path)).json()["state"] == "enabled"
        assert (await server.client.patch(path, json={"description": "x"})).json()["state"] == "enabled"
        assert locs(await server.client.post(path + "/verify"), 409) == []
        assert (await server.client.get(path)).json()["state"] == "enabled"
        receiver.respond = willing
        assert (await server.client.post(path + "/verify")).json()["state"] == "enabled"
