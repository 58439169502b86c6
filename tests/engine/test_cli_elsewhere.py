"""The command line with a server elsewhere: the same commands, answers and exit codes as on a database."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tellwire.cli.app import app

from .conftest import Server


async def run(server: Server, *args: str, input: str | None = None, **more: str) -> Result:
    """Runs one command in a thread, which has no database to go to."""
    environment = {
        "TELLWIRE_URL": server.url,
        "TELLWIRE_KEY": server.key,
        "TELLWIRE_DATABASE_URL": "",
        **more,
    }

    def invoke() -> Result:
        return CliRunner().invoke(app, list(args), input=input, env=environment, catch_exceptions=False)

    return await asyncio.to_thread(invoke)


def found(result: Result) -> Any:
    """The JSON document of a command that went well."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_commands_go_to_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each noun is made, changed and looked at over HTTP, and no database appears here."""
    monkeypatch.chdir(tmp_path / "..")
    before = set(Path.cwd().glob("*.db"))
    made = found(
        await run(server, "endpoints", "create", "https://example.com/hook", "-e", "order.*", "--json")
    )
    assert (await server.client.get(f"/v1/endpoints/{made['id']}")).json()["url"] == made["url"]
    patched = await run(server, "endpoints", "update", made["id"], "--url", "https://example.com/b", "--json")
    assert found(patched)["url"] == "https://example.com/b"
    found(await run(server, "endpoints", "pause", made["id"], "--json"))
    receipt = found(await run(server, "publish", "order.paid", '{"n": 1}', "--json"))
    assert receipt["deliveries"] == 1
    event = found(await run(server, "events", "get", receipt["id"], "--json"))
    assert event["data"] == {"n": 1}
    (delivery,) = found(await run(server, "deliveries", "list", "--json"))["data"]
    assert found(await run(server, "deliveries", "cancel", delivery["id"], "--json"))["state"] == "cancelled"
    found(await run(server, "event-types", "put", "order.paid", "--example", '{"n": 0.5}', "--json"))
    shown = await run(server, "event-types", "get", "order.paid")
    assert '"n": 0.5' in shown.output
    found(await run(server, "tenants", "create", "acme", "--json"))
    key = found(await run(server, "keys", "create", "n", "--scope", "read", "--json"))
    assert key["key"].startswith("tw_")
    found(await run(server, "filters", "preview", "--events", "order.*", "--json"))
    assert found(await run(server, "audit", "list", "--limit", "1", "--json"))["data"][0]["actor"] == "admin"
    assert found(await run(server, "stats", "--json"))["by"] == "hour"
    assert set(Path.cwd().glob("*.db")) == before


async def test_refusals_have_the_same_codes(server: Server) -> None:
    """An id of nothing is 3, a conflict 4, a bad field 1, a key that is missing 6, a wrong one 1."""
    assert (await run(server, "events", "get", "evt_none")).exit_code == 3
    assert (await run(server, "tenants", "create", "default")).exit_code == 4
    assert (await run(server, "tenants", "create", "no id")).exit_code == 1
    keyless = await run(server, "tenants", "list", TELLWIRE_KEY="")
    assert (keyless.exit_code, "TELLWIRE_KEY" in keyless.output) == (6, True)
    assert (await run(server, "tenants", "list", "--key", "tw_wrong")).exit_code == 1


async def test_flags_win(server: Server) -> None:
    """--server and --key come before the environment; --database-url leads to a database."""
    given = ("--server", server.url, "--key", server.key)
    assert found(await run(server, "tenants", "list", "--json", *given, TELLWIRE_URL="http://127.0.0.1:1"))
    here = await run(server, "tenants", "list", "--database-url", "sqlite:///none.db")
    assert here.exit_code == 5
