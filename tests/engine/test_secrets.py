"""No secret is seen where it does not belong: answers, problems, the audit log, logs of every level, the database.

Which fields are secret is read off the types of settings and off the HTTP API: a new one without an entry here fails.
"""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import trustme
from psycopg import sql
from tests.postgres import database_in
from tests.stored import files_in

from tellwire.model.authentication import SECRET_FIELDS
from tellwire.model.endpoint import Endpoint
from tellwire.model.endpoint_settings import HIDDEN_SETTINGS, EndpointSettings
from tellwire.settings.table import TABLE

from .cli_process import Process
from .conftest import WAIT_S, Received, Receiver, Reply, Server, free_port
from .test_authentication import identity

NAMED_LIKE_SECRETS = re.compile(r"secret|password|token|key|credential|private|passphrase", re.IGNORECASE)
NO_SECRETS = {"token_url", "token_type", "idempotency_key", "keys", "ordering_key"}
"""Fields whose names only sound so."""


def canary(name: str) -> str:
    """Text that nothing else has in it, fit for every kind of field."""
    return f"canary{name.replace('.', '')}{secrets.token_hex(12)}"


def own_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def settings_with(name: str, secret: str, receiver: Receiver) -> dict[str, Any]:
    """The settings of an endpoint in which ``secret`` is the field ``name``."""
    kind = name.split(".")[0]
    made: dict[str, dict[str, Any]] = {
        "basic": {"username": "shop", "password": secret},
        "bearer": {"token": secret},
        "api_key": {"key": secret},
        "oauth2": {
            "token_url": receiver.url.replace("/hook", "/token"),
            "client_id": "shop",
            "client_secret": secret,
        },
        "mtls": {},
    }
    if kind == "LegacySignature":
        return {"signing": {"legacy": [{"header": "X-Signature", "secret": secret}]}}
    return {"authentication": {"type": kind, **made[kind]}}


FIELDS = (
    "basic.password", "bearer.token", "api_key.key", "oauth2.client_secret", "mtls.key", "LegacySignature.secret",
)  # fmt: skip


def secret_fields_of(kind: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """The setting and the name of each field that is named or described as secret, wherever it is inside."""
    described = msgspec.json.schema_components([kind], ref_template="{name}")[1]
    for setting, schema in described[kind.__name__]["properties"].items():
        waiting, seen = [schema], set[str]()
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                waiting += part
            elif isinstance(part, dict):
                if part.get("$ref", "") in described and part["$ref"] not in seen:
                    seen.add(part["$ref"])
                    struct = described[part["$ref"]]
                    tag = struct["properties"].get("type", {}).get("enum", [part["$ref"]])[0]
                    for name, field in struct["properties"].items():
                        told = "Secret:" in field.get("description", "")
                        assert told is (name in SECRET_FIELDS), (
                            f"{tag}.{name} is secret by name or description only"
                        )
                        if told or (NAMED_LIKE_SECRETS.search(name) and name not in NO_SECRETS):
                            yield setting, f"{tag}.{name}"
                    waiting.append(struct)
                waiting += [value for name, value in part.items() if name != "properties"]
                waiting += part.get("properties", {}).values()


def test_every_secret_setting_of_an_endpoint_has_an_entry() -> None:
    """A secret field is masked by its name, described as secret, within a setting that is masked, and tried here."""
    found = list(secret_fields_of(EndpointSettings))
    assert sorted(name for _, name in found) == sorted(FIELDS)
    assert {setting for setting, _ in found} <= set(HIDDEN_SETTINGS)
    top = (*Endpoint.__struct_fields__, *EndpointSettings.__struct_fields__)
    assert [name for name in top if NAMED_LIKE_SECRETS.search(name)] == []


def test_every_secret_setting_of_the_server_has_an_entry() -> None:
    """Both are tried below: the key of the settings, and that of the vault."""
    assert sorted(one.name for one in TABLE if one.secret) == ["admin_key", "secret_key"]


SHOWN: dict[tuple[str, str], set[str]] = {
    ("post", "/v1/endpoints"): {"secret"},
    ("get", "/v1/endpoints/{id}/secret"): {"secret"},
    ("post", "/v1/endpoints/{id}/secret/rotate"): {"secret"},
    ("post", "/v1/keys"): {"key"},
    ("post", "/v1/keys/{id}/rotate"): {"key"},
    ("post", "/v1/tenants/{id}/portal-token"): {"token"},
    ("post", "/oauth/token"): {"access_token"},
}
"""The only answers that show a secret: to whoever makes it, and that of an endpoint where it is asked for."""


async def test_only_these_answers_show_secrets(server: Server) -> None:
    """By the names of fields in the OpenAPI document; secrets within settings are masked, see below."""
    document = (await server.client.get("/openapi.json")).json()
    components = document["components"]["schemas"]

    def names(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(names, schema))
        if not isinstance(schema, dict):
            return set()
        if "$ref" in schema:
            return names(components[schema["$ref"].split("/")[-1]])
        own = {
            name: inner for name, inner in schema.get("properties", {}).items() if name not in HIDDEN_SETTINGS
        }
        found = {name for name in own if NAMED_LIKE_SECRETS.search(name) and name not in NO_SECRETS}
        below = [value for name, value in schema.items() if name not in ("properties", "examples")]
        return found | names(list(own.values())) | names(below)

    shown = {}
    for path, item in document["paths"].items():
        for method, route in item.items():
            found: set[str] = set()
            for status, answer in route["responses"].items():
                if status.startswith("2"):
                    found |= names([one.get("schema") for one in answer.get("content", {}).values()])
            if found:
                shown[method, path] = found
    assert shown == SHOWN


class Watched:
    """A client that keeps what was answered, and knows what may be in it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.texts: list[str] = []

    async def ask(self, method: str, path: str, *, once: str | None = None, **more: Any) -> httpx.Response:
        """Ask. ``once`` is the field of the answer that shows a secret, which is taken out of what was seen."""
        request = self.client.build_request(method, path, **more)
        if path == "/oauth/token" and "headers" not in more:
            del request.headers["authorization"]  # the key is in the form
        answer = await self.client.send(request)
        text = answer.text
        if once is not None and answer.is_success:
            text = json.dumps({name: value for name, value in answer.json().items() if name != once})
        self.texts.append(text + str(answer.headers.multi_items()))
        return answer

    async def made(self, path: str, once: str, **more: Any) -> dict[str, Any]:
        """Make something, whose secret is shown this once."""
        answer = await self.ask("POST", path, once=once, **more)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found


def spoilt(body: dict[str, Any], secret: str) -> Iterator[bytes]:
    """Requests with the secret in its place that are refused, each for another fault."""
    text = json.dumps(body)
    assert json.dumps(secret)[1:-1] in text
    yield text[:-1].encode()
    yield json.dumps(body | {"unknown": 1}).encode()
    yield json.dumps(body | {"url": "ftp://example.com"}).encode()
    for other in (f"[{json.dumps(secret)}]", json.dumps({"x": secret}), json.dumps(secret + "\u0007"),
                  json.dumps(secret * 500), json.dumps([[secret]])):  # fmt: skip
        yield text.replace(json.dumps(secret), other).encode()


async def live(watched: Watched, receiver: Receiver) -> list[str]:
    """Everything that has to do with secrets, right and wrong; gives the secrets."""
    known: list[str] = []
    json_type = {"content-type": "application/json"}
    for name in FIELDS:
        secret = canary(name)
        settings = settings_with(name, secret, receiver)
        url = receiver.url
        if name == "mtls.key":
            settings["authentication"] |= identity(trustme.CA())
            # Nobody listens there: that attempt has the secret at hand, and fails at once.
            secret, url = settings["authentication"]["key"], f"https://127.0.0.1:{free_port()}/"
        signing, header = own_secret(), canary("header")
        if name == "LegacySignature.secret":
            settings["authentication"] = None
        body = {"url": url, "events": ["*"], "secret": signing, "headers": {"X-Own": header}, **settings}
        known += [secret, signing, header]
        more = {"headers": {"idempotency-key": canary("once")}}
        id = (await watched.made("/v1/endpoints", "secret", json=body, **more))["id"]
        path = f"/v1/endpoints/{id}"
        shown = (await watched.ask("GET", path)).json()
        back = {field: shown[field] for field in ("headers", *HIDDEN_SETTINGS) if shown[field]}
        assert (await watched.ask("PATCH", path, json=back | {"description": "as it was"})).is_success
        known.append((await watched.made(f"{path}/secret/rotate", "secret"))["secret"])
        tried = (secret, signing, header) if name == FIELDS[0] else (secret,)
        refused = 0
        for bad in [one for text in tried for one in spoilt(body, text)]:
            answer = await watched.ask("POST", "/v1/endpoints", once="secret", content=bad, headers=json_type)
            refused += answer.status_code in (400, 413, 422)
        for bad in spoilt(body, secret):
            await watched.ask("PATCH", path, content=bad, headers=json_type)
        assert refused >= 7 * len(tried), "these requests are to be refused"
        wrong: list[Any] = [f"{signing}!", f"{signing}=\u0007", [signing], {"x": signing}]
        for given in wrong:
            assert not (await watched.ask("POST", f"{path}/secret/rotate", json={"secret": given})).is_success
        delivery = (await watched.ask("POST", f"{path}/test")).json()["id"]
        while not (await watched.ask("GET", f"/v1/deliveries/{delivery}")).json()["attempts"]:
            watched.texts.pop()  # nothing has happened yet
            await asyncio.sleep(0.02)
        assert (await watched.ask("GET", path)).json()["headers"] == {"X-Own": "***"}
    return known + await prove(watched)


async def prove(watched: Watched) -> list[str]:
    """What callers prove themselves with, right and wrong; gives the secrets."""
    key = await watched.made("/v1/keys", "key", json={"name": "k", "tenant": "default", "scopes": ["admin"]})
    rotated = await watched.made(f"/v1/keys/{key['id']}/rotate", "key")
    form = {"grant_type": "client_credentials", "client_id": rotated["id"], "client_secret": rotated["key"]}
    token = (await watched.made("/oauth/token", "access_token", data=form))["access_token"]
    portal = (
        await watched.made(
            "/v1/tenants/default/portal-token", "token", json={"capabilities": ["events:read"]}
        )
    )["token"]
    wrong = [canary("wrong"), f"tw_live_{canary('wrong')}", f"eyJhbGciOiJub25lIn0.{canary('jwt')}.x"]
    for shown in (key["key"], rotated["key"], token, portal, *wrong):
        bearer = {"authorization": f"Bearer {shown}"}
        await watched.ask("GET", "/v1/endpoints", headers=bearer)
        await watched.ask("POST", "/v1/keys", json={"name": 1}, headers=bearer)
        await watched.ask("GET", "/nowhere", headers=bearer)
        for bad in (
            form | {"client_secret": shown + "x"},
            form | {"client_secret": shown, "scope": "nonsense"},
        ):
            await watched.ask("POST", "/oauth/token", data=bad)
        basic = {"authorization": "Basic " + base64.b64encode(f"{rotated['id']}:{shown}x".encode()).decode()}
        await watched.ask("POST", "/oauth/token", data={"grant_type": "client_credentials"}, headers=basic)
    return [key["key"], rotated["key"], token, portal, *wrong]


def forms_of(secret: str) -> Iterator[bytes]:
    """A secret as it may lie about: as it is (each line of a PEM text), in base64 and in hex; a key also decoded."""
    lines = [line for line in secret.split("\n") if line and "-----" not in line]
    for line in lines:
        yield line.encode()
        yield line.encode().hex().encode()
        for skipped in range(3):  # wherever it begins in what is encoded
            encoded = base64.b64encode(line.encode()[skipped:])
            yield encoded[: len(encoded) // 4 * 4 - 4]
    if secret.startswith("whsec_"):
        yield secret.removeprefix("whsec_").encode()
        yield base64.b64decode(secret.removeprefix("whsec_"))
        yield base64.b64decode(secret.removeprefix("whsec_")).hex().encode()


def seen_in(secrets_: list[str], text: bytes) -> list[str]:
    return [secret for secret in secrets_ if any(form in text for form in forms_of(secret))]


def everything_in(database: str, folder: Path) -> bytes:
    """All that a database holds: the files of SQLite, each row of each table of PostgreSQL as text."""
    if database.startswith("sqlite"):
        return files_in(folder)
    rows: list[str] = []
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (name,) in found:
            asked = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(name))
            rows += [row for (row,) in connection.execute(asked)]
    # The text of bytes is hex; read, it may be text too.
    raw = [bytes.fromhex(text) for row in rows for text in re.findall(r"\\x((?:[0-9a-f]{2})+)", row)]
    return "\n".join(rows).encode() + b"\n".join(raw)


@asynccontextmanager
async def running(
    folder: Path, admin_key: str, *flags: str
) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    """A server that is a process of its own, and when it has ended, all that it wrote."""
    written: list[str] = []
    process = Process(
        folder, "serve", "--port", "0", "--admin-key", admin_key, "--allow-http", "--egress-allow", "127.0.0.0/8",
        "--log-level", "debug", *flags,
    )  # fmt: skip
    try:
        written.append(process.line())
        while "listens on" not in written[-1]:
            written.append(process.line())
        url = written[-1].split("listens on ")[1].split()[0]
        headers = {"authorization": f"Bearer {admin_key}"}
        async with httpx.AsyncClient(
            base_url=url, headers=headers, trust_env=False, timeout=WAIT_S
        ) as client:
            yield client, written
    finally:
        process.stop()
        written += [process.rest("out"), process.rest("err")]


@pytest.mark.parametrize(("kind", "format"), [("sqlite", "json"), ("postgresql", "console")])
async def test_no_secret_is_seen(tmp_path: Path, receiver: Receiver, kind: str, format: str) -> None:
    """Takes seconds: a server of its own is given every secret in every place, rightly and wrongly, with all its logs.

    Secrets of ours that are stored are sealed or digested; secrets of others are not stored at all.
    """
    token = canary("answered")

    def respond(request: Received) -> Reply:
        if request.path == "/token":
            return Reply(
                body=json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 60}).encode()
            )
        return Reply()

    receiver.respond = respond
    database = f"sqlite:///{tmp_path / 'tellwire.db'}" if kind == "sqlite" else database_in(tmp_path)
    admin_key, vault_key = canary("admin"), secrets.token_hex(32)
    flags = ("--database-url", database, "--secret-key", vault_key, "--log-format", format)
    async with running(tmp_path, admin_key, *flags) as (client, written):
        watched = Watched(client)
        known = [token, admin_key, vault_key, *await live(watched, receiver)]
        for path in (
            "/v1/endpoints",
            "/v1/keys",
            "/v1/audit?limit=250",
            "/v1/deliveries",
            "/v1/events",
            "/metrics",
        ):
            await watched.ask("GET", path)
        at_work = everything_in(database, tmp_path)
    assert [
        request for request in receiver.requests if request.headers.get("authorization") == f"Bearer {token}"
    ]
    assert seen_in(known, "\n".join(watched.texts).encode()) == []
    logs = "".join(written)
    assert "attempt" in logs
    assert seen_in(known, logs.encode()) == []
    assert seen_in(known, at_work) == []
    assert seen_in(known, everything_in(database, tmp_path)) == []
    assert b"as it was" in at_work  # it is read rightly: what is no secret is found
