"""What the HTTP API can do, the command line can: every route of the OpenAPI document is asked by some command."""

import asyncio
import re
from typing import Any

import pytest

from tellwire import Options

from ..proxy import Link, Proxy
from .conftest import ADMIN_KEY, LOOPBACK, Server
from .test_cli_elsewhere import found, run

URL = "https://example.com/hook"


@pytest.fixture
def options() -> Options:
    """Nothing is delivered: what is published waits to be looked at."""
    return Options(admin_key=ADMIN_KEY, egress=LOOPBACK, deliver=False)


async def commands(server: Server) -> list[tuple[str, ...]]:
    """A command for each route; what they name is there."""
    hub = server.tellwire
    await hub.tenants.create("acme")
    endpoint = (await hub.endpoints.create(URL, events=["order.*"]))[0].id
    other = (await hub.endpoints.create(URL))[0].id
    key = (await hub.keys.create("n"))[0].id
    event = (await hub.publish("order.paid", {"n": 1})).id
    delivery = (await hub.deliveries.list()).data[0].id
    replay = (await hub.replays.start(endpoint, event=event, dry_run=True)).id
    return [
        ("publish", "order.paid", "{}"), ("publish", "-"),
        ("events", "list"), ("events", "get", event), ("events", "cancel", event),
        ("endpoints", "create", URL), ("endpoints", "list"), ("endpoints", "get", endpoint),
        ("endpoints", "update", endpoint, "--url", URL), ("endpoints", "delete", other),
        ("endpoints", "secret", endpoint), ("endpoints", "rotate", endpoint),
        ("endpoints", "disable", endpoint), ("endpoints", "enable", endpoint),
        ("endpoints", "pause", endpoint), ("endpoints", "resume", endpoint), ("endpoints", "verify", endpoint),
        ("endpoints", "subscribe", endpoint, "a.b"), ("endpoints", "unsubscribe", endpoint, "a.b"),
        ("endpoints", "test", endpoint), ("replays", "start", endpoint, "--since", "1h", "--dry-run"),
        ("stats", "--endpoint", endpoint), ("stats",),
        ("replays", "list"), ("replays", "get", replay), ("replays", "cancel", replay),
        ("filters", "preview", "--events", "order.*"), ("filters", "test", "{}"),
        ("deliveries", "list"), ("deliveries", "get", delivery), ("deliveries", "retry", delivery),
        ("deliveries", "cancel", delivery),
        ("event-types", "put", "a.b"), ("event-types", "list"), ("event-types", "get", "a.b"),
        ("event-types", "delete", "a.b"),
        ("tenants", "list"), ("tenants", "create", "beta"), ("tenants", "get", "acme"),
        ("tenants", "update", "acme", "--name", "A"), ("tenants", "delete", "beta"),
        ("tokens", "portal", "acme", "--capability", "events:read"), ("tokens", "access", key),
        ("keys", "create", "m"), ("keys", "list"), ("keys", "get", key), ("keys", "rotate", key),
        ("keys", "revoke", key), ("keys", "public"),
        ("audit", "list"), ("health",), ("metrics",),
    ]  # fmt: skip


async def test_every_route_has_a_command(server: Server) -> None:
    """A route that is added without a command fails here. Refusals of what is asked count: the route was found."""
    asked: set[tuple[str, str]] = set()

    def note(link: Link, piece: bytes) -> bool:
        for method, path in re.findall(rb"(?m)^([A-Z]+) (/[^ ?]*)\S* HTTP/1\.1\r$", piece):
            asked.add((method.decode(), path.decode()))
        return True

    lines = await commands(server)
    async with Proxy(server.url) as proxy:
        proxy.before_server = note
        for line in lines:
            given = '{"type": "order.paid", "data": {}}' if line == ("publish", "-") else None
            url = f"http://127.0.0.1:{proxy.port}"
            result = await run(server, *line, "--json", input=given, TELLWIRE_URL=url)
            assert result.exit_code in {0, 1, 4}, (line, result.output)
            assert result.exit_code != 1 or line[1:2] == ("access",), (line, result.output)

    document = (await server.client.get("/openapi.json")).json()
    missing = [
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if not any(
            asking == method.upper() and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), at)
            for asking, at in asked
        )
    ]
    assert missing == []


async def test_events_from_standard_input(server: Server) -> None:
    """They go to a server as they go to a database: bad lines are told with their numbers, the others are published."""
    lines = '{"type": "a.b", "data": {"n": 1}, "idempotency_key": "k"}\nno\n{"type": "a.c", "data": {}}\n'
    result = await run(server, "publish", "-", input=lines)
    assert (result.exit_code, "line 2:" in result.output) == (1, True)
    assert "2 events accepted, 1 line refused" in result.output
    again = await run(
        server, "publish", "-", input='{"type": "a.b", "data": {"n": 1}, "idempotency_key": "k"}'
    )
    assert (again.exit_code, "1 event accepted, 1 duplicate among them" in again.output) == (0, True)
    assert [one.type for one in (await server.tellwire.events.list()).data] == ["a.c", "a.b"]
    key = (await server.client.post("/v1/keys", json={"name": "n", "scopes": ["read"]})).json()["key"]
    refused = await run(server, "publish", "-", input=lines, TELLWIRE_KEY=key)
    assert (refused.exit_code, "stopped before line 1" in refused.output) == (1, True)


async def test_events_of_a_bound_key(server: Server) -> None:
    """A line that names no tenant is of the key's; one that names another is refused."""
    await server.tellwire.tenants.create("acme")
    made = {"name": "n", "scopes": ["publish"], "tenant": "acme"}
    key = (await server.client.post("/v1/keys", json=made)).json()["key"]
    lines = '{"type": "a.b", "data": {}}\n{"type": "a.c", "data": {}, "tenant": "acme"}\n'
    assert (await run(server, "publish", "-", input=lines, TELLWIRE_KEY=key)).exit_code == 0
    other = '{"type": "a.d", "data": {}, "tenant": "default"}'
    assert (await run(server, "publish", "-", input=other, TELLWIRE_KEY=key)).exit_code == 1
    assert {(one.type, one.tenant) for one in (await server.tellwire.events.list()).data} == {
        ("a.b", "acme"), ("a.c", "acme"),
    }  # fmt: skip


async def test_access_tokens(server: Server) -> None:
    """A key is exchanged for a token that may do what was asked for."""
    key = (await server.client.post("/v1/keys", json={"name": "n"})).json()
    given = ("tokens", "access", key["id"], "--scope", "read", "--json")
    token = found(await run(server, *given, TELLWIRE_KEY=key["key"]))
    assert token["scopes"] == ["read"]
    assert found(await run(server, "events", "list", "--json", TELLWIRE_KEY=token["token"]))["data"] == []


async def test_what_is_in_no_database(server: Server, tmp_path: Any) -> None:
    """Commands say so where only a server, or only a database, has what is asked for."""
    nowhere = {"TELLWIRE_URL": "", "XDG_CONFIG_HOME": str(tmp_path)}
    for line in (("metrics",), ("tokens", "access", "key_1")):
        result = await run(server, *line, **nowhere)
        assert (result.exit_code, "only a server" in result.output) == (2, True)
    endpoint = (await server.tellwire.endpoints.create(URL))[0].id
    result = await run(server, "endpoints", "disable", endpoint, "--reason", "r")
    assert (result.exit_code, "--reason" in result.output) == (2, True)


async def test_profiles_lead_to_servers(server: Server, tmp_path: Any) -> None:
    """Named by flag, environment or as the default; nearer ones win, and a key goes to its own server alone."""
    home = {"XDG_CONFIG_HOME": str(tmp_path), "TELLWIRE_URL": "", "TELLWIRE_KEY": ""}
    add = ("profiles", "add", "here", "--url", server.url, "--key", "-", "--default")
    assert (await run(server, *add, input=f"{server.key}\n", **home)).exit_code == 0
    away = ("profiles", "add", "away", "--url", "ftp://x")
    assert (await run(server, *away, **home)).exit_code == 6
    assert found(await run(server, "tenants", "list", "--json", **home))["data"]
    for more in ({"TELLWIRE_PROFILE": "here"}, {"TELLWIRE_PROFILE": "no"}):
        named = await run(server, "tenants", "list", "--profile", "here", **{**home, **more})
        assert named.exit_code == 0, named.output
    unknown = await run(server, "tenants", "list", **home, TELLWIRE_PROFILE="no")
    assert (unknown.exit_code, "there are: here" in unknown.output) == (6, True)
    keyless = await run(server, "tenants", "list", "--url", server.url, **home)
    assert (keyless.exit_code, "TELLWIRE_KEY" in keyless.output) == (6, True)
    both = await run(server, "tenants", "list", "--url", server.url, "--profile", "here", **home)
    assert both.exit_code == 2
    local = await run(server, "tenants", "list", "--database-url", f"sqlite:///{tmp_path}/none.db", **home)
    assert local.exit_code == 5
    near = {**home, "TELLWIRE_DATABASE_URL": f"sqlite:///{tmp_path}/none.db"}
    assert (await run(server, "tenants", "list", **near)).exit_code == 5
    await asyncio.to_thread((tmp_path / "tellwire" / "config.toml").chmod, 0o644)
    warned = await run(server, "tenants", "list", **home)
    assert (warned.exit_code, "chmod 600" in warned.output) == (0, True)
