"""Endpoints that ask for more than signatures: what they get, and that nobody else ever sees it."""

import asyncio
import base64
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from tests.stored import files_in

from .conftest import Received, Receiver, Reply, Server
from .hostile import Receiver as TlsReceiver
from .hostile import answer
from .test_api_control import URL, created, locs

SECRET = "s3cret-in-the-clear"
STATIC: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "basic", "username": "shop", "password": SECRET + ":ü"}, "authorization",
     "Basic " + base64.b64encode(f"shop:{SECRET}:ü".encode()).decode()),
    ({"type": "bearer", "token": SECRET}, "authorization", f"Bearer {SECRET}"),
    ({"type": "api_key", "key": SECRET}, "x-api-key", SECRET),
    ({"type": "api_key", "header": "X-Shop-Key", "key": SECRET}, "x-shop-key", SECRET),
]  # fmt: skip


def identity(ca: trustme.CA, server_ca: trustme.CA | None = None) -> dict[str, Any]:
    issued = ca.issue_cert("tellwire@example.com")
    certificate = b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()
    made = {"type": "mtls", "certificate": certificate, "key": issued.private_key_pem.bytes().decode()}
    return made | ({"ca": server_ca.cert_pem.bytes().decode()} if server_ca else {})


def tls_for(ca: trustme.CA, clients: trustme.CA) -> ssl.SSLContext:
    """A server's context that asks for a certificate of ``clients`` and takes no connection without."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def first_attempt(server: Server, id: str) -> dict[str, Any]:
    """The first attempt of an example event to this endpoint, once it is recorded."""
    made = (await server.client.post(f"/v1/endpoints/{id}/test")).json()
    async with asyncio.timeout(30):
        while True:
            shown = (await server.client.get(f"/v1/deliveries/{made['id']}")).json()
            if shown["attempts"]:
                attempt: dict[str, Any] = shown["attempts"][0]
                return attempt


class TokenServer:
    """A receiver's ``respond`` that hands out tokens, and refuses those that are ``revoked``, on the same port."""

    def __init__(self) -> None:
        self.issued = 0
        self.revoked: set[str] = set()
        self.forms: list[tuple[dict[str, str], dict[str, list[str]]]] = []
        self.fails = False

    def __call__(self, request: Received) -> Reply:
        if request.path == "/token":
            self.forms.append((request.headers, parse_qs(request.body.decode())))
            if self.fails:
                return Reply(400, json.dumps({"error": "invalid_client", "client_secret": SECRET}).encode())
            self.issued += 1
            body = {"access_token": f"at_{self.issued}", "token_type": "Bearer", "expires_in": 3600}
            return Reply(200, json.dumps(body).encode())
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Reply(401 if shown in self.revoked or not shown else 200)


def oauth2(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {
        "type": "oauth2", "token_url": receiver.url.replace("/hook", "/token"), "client_id": "tell:wire",
        "client_secret": SECRET,
    } | more  # fmt: skip


@pytest.mark.parametrize(("setting", "header", "value"), STATIC)
async def test_a_request_shows_what_the_endpoint_asks_for(
    server: Server, receiver: Receiver, setting: dict[str, Any], header: str, value: str
) -> None:
    """In the header that is meant for it, and signed as ever."""
    made = await created(server, url=receiver.url, authentication=setting)
    await server.client.post(f"/v1/endpoints/{made['id']}/test")
    (request,) = await receiver.met(1)
    assert request.headers[header] == value
    assert request.headers["webhook-signature"].startswith("v1,")


@pytest.mark.parametrize(
    "setting", [STATIC[0][0], STATIC[1][0], STATIC[2][0], {
        "type": "oauth2", "token_url": "https://example.com/token", "client_id": "c", "client_secret": SECRET,
    }, identity(trustme.CA())], ids=lambda setting: setting["type"],
)  # fmt: skip
async def test_secrets_are_never_shown_again(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: dict[str, Any]
) -> None:
    """Not in any answer, the audit log, a repr, the logs or the database's files; what is no secret is shown."""
    caplog.set_level("DEBUG")
    secret = next(setting[name] for name in ("password", "token", "key", "client_secret") if name in setting)
    made = await created(server, authentication=setting)
    assert made["authentication"]["type"] == setting["type"]
    path = f"/v1/endpoints/{made['id']}"
    public = {name: value for name, value in setting.items() if value != secret}
    assert public.items() <= made["authentication"].items()
    answers = [
        await server.client.get(path),
        await server.client.get("/v1/endpoints"),
        await server.client.patch(path, json={"description": "x"}),
        await server.client.patch(path, json={"authentication": None}),
        await server.client.get("/v1/audit"),
    ]
    shown = json.dumps(made) + "".join(one.text for one in answers) + caplog.text
    shown += repr(await server.tellwire.endpoints.get(made["id"]))
    files = files_in(tmp_path)
    for part in [one for one in secret.split("\n") if "-----" not in one and len(one) > 10]:
        assert part not in shown
        assert part.encode() not in files


async def test_a_change_keeps_what_it_does_not_name(server: Server, receiver: Receiver) -> None:
    """Also where it brings back what an answer showed; another type keeps nothing."""
    made = await created(
        server, url=receiver.url, authentication={"type": "basic", "username": "a", "password": SECRET}
    )
    path = f"/v1/endpoints/{made['id']}"
    first = (await server.client.patch(path, json={"authentication": {"username": "b"}})).json()
    again = (await server.client.patch(path, json={"authentication": first["authentication"]})).json()
    assert again["authentication"] == {"type": "basic", "username": "b", "password": "***"}
    await server.client.post(path + "/test")
    (request,) = await receiver.met(1)
    expected = base64.b64encode(f"b:{SECRET}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {expected}"
    other = await server.client.patch(path, json={"authentication": {"type": "bearer", "token": "t"}})
    assert other.json()["authentication"] == {"type": "bearer", "token": "***"}
    none = await server.client.patch(path, json={"authentication": None})
    assert none.json()["authentication"] is None


_A = "authentication"
_CA = trustme.CA()


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({_A: {"type": "digest"}}, [_A, "type"]),
        ({_A: {"type": "bearer"}}, [_A]),
        ({_A: {"type": "bearer", "token": "***"}}, [_A, "token"]),
        ({_A: {"type": "bearer", "token": "a b"}}, [_A, "token"]),
        ({_A: {"type": "bearer", "token": "a\r\nb: c"}}, [_A, "token"]),
        ({_A: {"type": "bearer", "token": "x" * 4097}}, [_A, "token"]),
        ({_A: {"type": "bearer", "token": "t", "more": 1}}, [_A]),
        ({_A: {"type": "basic", "username": "a:b", "password": "p"}}, [_A, "username"]),
        ({_A: {"type": "basic", "username": "a", "password": "p\n"}}, [_A, "password"]),
        ({_A: {"type": "api_key", "header": "Host", "key": "k"}}, [_A, "header"]),
        ({_A: {"type": "api_key", "header": "a b", "key": "k"}}, [_A, "header"]),
        ({_A: {"type": "api_key", "key": "ü"}}, [_A, "key"]),
        ({_A: {"type": "api_key", "key": "k"}, "headers": {"x-api-key": "v"}}, ["headers", "x-api-key"]),
        ({_A: {"type": "bearer", "token": "t"}, "headers": {"Authorization": "v"}}, ["headers", "Authorization"]),
        ({_A: {"type": "oauth2", "token_url": "https://10.0.0.1/t", "client_id": "c", "client_secret": "s"}},
         [_A, "token_url"]),
        ({_A: {"type": "oauth2", "token_url": "ftp://a/t", "client_id": "c", "client_secret": "s"}},
         [_A, "token_url"]),
        ({_A: identity(_CA) | {"key": "nonsense"}}, [_A, "key"]),
        ({_A: identity(_CA) | {"certificate": "nonsense"}}, [_A, "certificate"]),
        ({_A: identity(_CA) | {"ca": "nonsense"}}, [_A, "ca"]),
        ({_A: identity(_CA) | {"key": identity(_CA)["key"]}}, [_A, "key"]),
        ({_A: identity(_CA), "url": "http://127.0.0.1/hook"}, [_A]),
    ],
)  # fmt: skip
async def test_bad_authentication_is_refused(
    server: Server, fields: dict[str, Any], loc: list[str | int]
) -> None:
    """With the place of the fault, and nothing of the secret in the words."""
    refused = await server.client.post("/v1/endpoints", json={"url": URL} | fields)
    assert loc in locs(refused)
    made = await created(server)
    assert loc in locs(await server.client.patch(f"/v1/endpoints/{made['id']}", json=fields))


async def test_a_token_is_asked_for_once(server: Server, receiver: Receiver) -> None:
    """However many attempts need it at once; id and secret go in the header, encoded as RFC 6749 says."""
    receiver.respond = tokens = TokenServer()
    setting = oauth2(receiver, scope="a b", audience="https://shop")
    await created(server, url=receiver.url, events=["*"], authentication=setting)
    for number in range(20):
        await server.client.post("/v1/events", json={"type": "a.b", "data": {"number": number}})
    await receiver.met(21)
    assert tokens.issued == 1
    headers, form = tokens.forms[0]
    assert (
        base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == f"tell%3Awire:{SECRET}"
    )
    assert form == {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["https://shop"]}
    hooks = [one for one in receiver.requests if one.path == "/hook"]
    assert {one.headers["authorization"] for one in hooks} == {"Bearer at_1"}


async def test_id_and_secret_can_go_in_the_body(server: Server, receiver: Receiver) -> None:
    """For token servers that want it so."""
    receiver.respond = tokens = TokenServer()
    made = await created(
        server, url=receiver.url, authentication=oauth2(receiver, client_authentication="body")
    )
    assert (await first_attempt(server, made["id"]))["status_code"] == 200
    headers, form = tokens.forms[0]
    assert "authorization" not in headers
    assert (form["client_id"], form["client_secret"]) == (["tell:wire"], [SECRET])


async def test_a_revoked_token_is_renewed_once(server: Server, receiver: Receiver) -> None:
    """Within the attempt, which succeeds; a receiver that refuses the new one too does not get a third."""
    receiver.respond = tokens = TokenServer()
    made = await created(server, url=receiver.url, authentication=oauth2(receiver))
    assert (await first_attempt(server, made["id"]))["status_code"] == 200
    tokens.revoked = {"at_1"}
    assert (await first_attempt(server, made["id"]))["status_code"] == 200
    assert tokens.issued == 2
    tokens.revoked = {"at_1", "at_2"}
    assert (await first_attempt(server, made["id"]))["status_code"] == 401
    assert tokens.issued == 2  # renewed a moment ago: once more would only annoy the token server


async def test_a_token_server_that_refuses_is_told(server: Server, receiver: Receiver) -> None:
    """The attempt fails with what it said, is retried, and the receiver hears nothing."""
    receiver.respond = tokens = TokenServer()
    tokens.fails = True
    made = await created(server, url=receiver.url, authentication=oauth2(receiver))
    attempt = await first_attempt(server, made["id"])
    assert (attempt["error"], attempt["status_code"]) == ("authentication", None)
    (delivery,) = (await server.tellwire.deliveries.list()).data
    _, (shown,) = await server.tellwire.deliveries.get(delivery.id)
    assert shown.detail == "the token server answered 400: invalid_client"
    assert (await first_attempt(server, made["id"]))["error"] == "authentication"
    assert [one.path for one in receiver.requests] == ["/token"]


async def test_mutual_tls_shows_the_certificate(server: Server) -> None:
    """To a receiver that asks for it, whose own certificate comes from a private authority."""
    ca, clients = trustme.CA(), trustme.CA()
    async with TlsReceiver(answer(), tls=tls_for(ca, clients)) as receiver:
        made = await created(server, url=receiver.url(), authentication=identity(clients, ca))
        assert (await first_attempt(server, made["id"]))["status_code"] == 200
        assert (await first_attempt(server, made["id"]))["status_code"] == 200
        assert receiver.connections == 1
        # Nobody else gets at that connection, nor trusts that authority.
        other = await created(server, url=receiver.url())
        assert (await first_attempt(server, other["id"]))["error"] == "tls"
        untrusted = await created(server, url=receiver.url(), authentication=identity(clients))
        assert (await first_attempt(server, untrusted["id"]))["error"] == "tls"
        stranger = await created(server, url=receiver.url(), authentication=identity(trustme.CA(), ca))
        assert (await first_attempt(server, stranger["id"]))["error"] in ("tls", "protocol")
        assert len(receiver.requests) == 2
