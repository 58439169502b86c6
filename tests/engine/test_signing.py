"""How requests are signed is chosen per endpoint, and whoever receives them can verify."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.stored import files_in

from tellwire import Options
from tellwire.errors import SignatureError
from tellwire.signing import Vault, generate_asymmetric, generate_symmetric, parse_secret, public_key
from tellwire.signing.server_key import server_jwks
from tellwire.signing.standard import verify

from .conftest import Received, Receiver, Server
from .test_api_control import URL, created, locs

KEYS = "/.well-known/tellwire-keys.json"
SECRET = "legacy-in-the-clear"
GITHUB = {"header": "X-Hub-Signature-256", "secret": SECRET, "prefix": "sha256="}


async def sent(server: Server, receiver: Receiver, id: str) -> Received:
    """The request of one more example event."""
    before = len(receiver.requests)
    await server.client.post(f"/v1/endpoints/{id}/test")
    return (await receiver.met(before + 1))[before]


def schemes_of(request: Received) -> list[str]:
    return [one.partition(",")[0] for one in request.headers["webhook-signature"].split()]


def check(request: Received, secret: str) -> None:
    verify([parse_secret(secret)], request.headers, request.body, int(time.time()))


async def servers_key(server: Server) -> str:
    """The public key as anybody gets it."""
    async with httpx.AsyncClient(trust_env=False) as anybody:
        answer = await anybody.get(server.url + KEYS)
    assert answer.status_code == 200
    (key,) = answer.json()["keys"]
    raw = base64.urlsafe_b64decode(key["x"] + "=")
    Ed25519PublicKey.from_public_bytes(raw)
    assert key["whpk"] == "whpk_" + base64.b64encode(raw).decode()
    text: str = key["whpk"]
    return text


async def test_both_schemes_at_once(server: Server, receiver: Receiver) -> None:
    """With the endpoint's secret and with the server's key, which is published; each of them verifies."""
    made = await created(server, url=receiver.url, signing={"schemes": ["v1", "v1a"]})
    request = await sent(server, receiver, made["id"])
    assert schemes_of(request) == ["v1", "v1a"]
    check(request, made["secret"])
    check(request, await servers_key(server))
    with pytest.raises(SignatureError):
        verify(
            [parse_secret(await servers_key(server))], request.headers, request.body + b" ", int(time.time())
        )


async def test_v1a_alone(server: Server, receiver: Receiver) -> None:
    """With the endpoint's own key where it has one, else with the server's; and back again by null."""
    made = await created(server, url=receiver.url, signing={"schemes": ["v1a"]})
    request = await sent(server, receiver, made["id"])
    assert schemes_of(request) == ["v1a"]
    check(request, await servers_key(server))
    own = generate_asymmetric(os.urandom)
    path = f"/v1/endpoints/{made['id']}"
    rotated = await server.client.post(path + "/secret/rotate", json={"secret": own, "overlap_s": 0})
    assert rotated.status_code == 200
    request = await sent(server, receiver, made["id"])
    assert schemes_of(request) == ["v1a"]
    check(request, public_key(parse_secret(own)))
    await server.client.patch(path, json={"signing": None})
    assert schemes_of(await sent(server, receiver, made["id"])) == ["v1a"]


async def test_rotation_overlaps_in_both_schemes(server: Server, receiver: Receiver) -> None:
    """During the overlap the old secret signs along, and the server's key as ever."""
    made = await created(server, url=receiver.url, signing={"schemes": ["v1", "v1a"]})
    new = (await server.client.post(f"/v1/endpoints/{made['id']}/secret/rotate")).json()["secret"]
    request = await sent(server, receiver, made["id"])
    assert schemes_of(request) == ["v1", "v1", "v1a"]
    for secret in (made["secret"], new, await servers_key(server)):
        check(request, secret)


async def test_the_servers_key_stays(server: Server) -> None:
    """It follows from the key of the server, so it is the same every time; another server has another."""
    first = (await server.client.get(KEYS)).text
    assert (await server.client.get(KEYS)).text == first
    assert json.loads(first)["keys"][0]["kid"]


class TestSeveralKeys:
    """A server whose key is being given up for another."""

    @pytest.fixture
    def options(self, options: Options) -> Options:
        return msgspec.structs.replace(options, secret_key=f"{'ab' * 32},{'cd' * 32}")

    async def test_all_of_its_keys_sign_and_are_published(self, server: Server, receiver: Receiver) -> None:
        """The new one first, so that receivers have time to learn of it, and may then forget the old one."""
        made = await created(server, url=receiver.url, signing={"schemes": ["v1a"]})
        request = await sent(server, receiver, made["id"])
        assert schemes_of(request) == ["v1a", "v1a"]
        published = (await server.client.get(KEYS)).json()["keys"]
        for key, secret in zip(published, ("ab" * 32, "cd" * 32), strict=True):
            assert [key] == [*server_jwks(Vault.from_setting(secret))]
            check(request, key["whpk"])


async def test_a_secret_that_does_not_fit_the_schemes_is_refused(server: Server) -> None:
    """Where v1 is asked for, the secret must be one that signs it."""
    asymmetric = generate_asymmetric(os.urandom)
    fields = {"url": URL, "secret": asymmetric, "signing": {"schemes": ["v1"]}}
    assert locs(await server.client.post("/v1/endpoints", json=fields)) == [["signing", "schemes"]]
    made = await created(server, secret=asymmetric)
    path = f"/v1/endpoints/{made['id']}"
    change = {"signing": {"schemes": ["v1", "v1a"]}}
    assert locs(await server.client.patch(path, json=change)) == [["signing", "schemes"]]
    other = await created(server, signing={"schemes": ["v1"]})
    rotation = await server.client.post(
        f"/v1/endpoints/{other['id']}/secret/rotate", json={"secret": asymmetric}
    )
    assert locs(rotation) == [["secret"]]
    shared = {"secret": generate_symmetric(os.urandom)}
    assert (await server.client.post(path + "/secret/rotate", json=shared)).status_code == 200
    assert (await server.client.patch(path, json=change)).status_code == 200


async def test_legacy_headers_stand_beside_ours(
    server: Server, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are signed as they say, and their secrets are never shown again, nor lost by a change that has ``***``."""
    caplog.set_level("DEBUG")
    stripe = {
        "header": "Stripe-Signature", "secret": SECRET, "prefix": "t={timestamp},v1=",
        "template": "{timestamp}.{body}", "timestamp_header": "X-At", "algorithm": "sha512",
    }  # fmt: skip
    made = await created(server, url=receiver.url, signing={"legacy": [GITHUB, stripe]})
    path = f"/v1/endpoints/{made['id']}"
    shown = (await server.client.get(path)).json()["signing"]
    assert [one["secret"] for one in shown["legacy"]] == ["***", "***"]
    kept = (await server.client.patch(path, json={"signing": shown})).json()
    request = await sent(server, receiver, made["id"])
    at = request.headers["webhook-timestamp"]
    digest = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-hub-signature-256"] == f"sha256={digest}"
    digest = hmac.new(SECRET.encode(), f"{at}.".encode() + request.body, hashlib.sha512).hexdigest()
    assert request.headers["stripe-signature"] == f"t={at},v1={digest}"
    assert request.headers["x-at"] == at
    assert schemes_of(request) == ["v1"]
    audit = (await server.client.get("/v1/audit")).text
    assert SECRET not in json.dumps([made, shown, kept]) + audit + caplog.text
    assert SECRET not in repr(await server.tellwire.endpoints.get(made["id"]))
    assert SECRET.encode() not in await asyncio.to_thread(files_in, tmp_path)


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"signing": {"schemes": ["v2"]}}, ["signing", "schemes", 0]),
        ({"signing": {"schemes": ["v1", "v1"]}}, ["signing", "schemes"]),
        ({"signing": {"legacy": [{"header": "x"}]}}, ["signing", "legacy", 0]),
        ({"signing": {"legacy": [GITHUB | {"secret": "***"}]}}, ["signing", "legacy", 0, "secret"]),
        ({"signing": {"legacy": [GITHUB | {"header": "Webhook-Id"}]}}, ["signing", "legacy", 0, "header"]),
        ({"signing": {"legacy": [GITHUB | {"header": "a b"}]}}, ["signing", "legacy", 0, "header"]),
        ({"signing": {"legacy": [GITHUB | {"timestamp_header": "a:"}]}},
         ["signing", "legacy", 0, "timestamp_header"]),
        ({"signing": {"legacy": [GITHUB | {"algorithm": "md5"}]}}, ["signing", "legacy", 0, "algorithm"]),
        ({"signing": {"legacy": [GITHUB | {"template": "no body"}]}}, ["signing", "legacy", 0, "template"]),
        ({"signing": {"legacy": [GITHUB | {"template": "{body}{body}"}]}}, ["signing", "legacy", 0, "template"]),
        ({"signing": {"legacy": [GITHUB | {"template": "{body}{x}"}]}}, ["signing", "legacy", 0, "template"]),
        ({"signing": {"legacy": [GITHUB | {"prefix": "a\r\nb: "}]}}, ["signing", "legacy", 0, "prefix"]),
        ({"signing": {"legacy": [GITHUB | {"prefix": "{body}"}]}}, ["signing", "legacy", 0, "prefix"]),
        ({"signing": {"legacy": [GITHUB, GITHUB]}}, ["signing", "legacy", 1]),
        ({"signing": {"legacy": [GITHUB] * 5}}, ["signing", "legacy"]),
        ({"signing": {"legacy": [GITHUB]}, "headers": {"x-hub-signature-256": "v"}},
         ["headers", "x-hub-signature-256"]),
        ({"signing": {"legacy": [GITHUB | {"header": "Authorization"}]},
          "authentication": {"type": "bearer", "token": "t"}}, ["signing", "legacy"]),
    ],
)  # fmt: skip
async def test_bad_signing_is_refused(server: Server, fields: dict[str, Any], loc: list[str | int]) -> None:
    """With the place of the fault."""
    assert loc in locs(await server.client.post("/v1/endpoints", json={"url": URL} | fields))
