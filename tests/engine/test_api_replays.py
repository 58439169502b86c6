"""Replays over HTTP and from the command line."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .cli_process import Process
from .conftest import Receiver, Reply, Server

SINCE = "2026-01-01T00:00:00Z"


async def endpoint_of(server: Server, receiver: Receiver) -> str:
    made = await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"]})
    id: str = made.json()["id"]
    return id


@pytest.fixture
def recent() -> str:
    return (datetime.now(UTC) - timedelta(hours=1)).isoformat()


async def ended(server: Server, id: str) -> dict[str, Any]:
    """A replay, once it has ended: its deliveries have arrived before, so it ends without a wait worth the name."""
    while True:
        found: dict[str, Any] = (await server.client.get(f"/v1/replays/{id}")).json()
        if found["state"] != "running":
            return found


async def test_replay_over_http(server: Server, receiver: Receiver, recent: str) -> None:
    """A replay is answered with 202 and its whole form; it is shown, listed by endpoint and state, and sends."""
    endpoint = await endpoint_of(server, receiver)
    event = (await server.client.post("/v1/events", json={"type": "order.paid", "data": {}})).json()
    await receiver.met(1)
    await server.tellwire.drained()
    asked = {"since": recent, "types": ["order.*"], "states": ["succeeded"]}
    answer = await server.client.post(f"/v1/endpoints/{endpoint}/replay", json=asked)
    assert answer.status_code == 202
    started = answer.json()
    assert (started["endpoint_id"], started["tenant"], started["dry_run"]) == (endpoint, "default", False)
    assert (started["types"], started["states"], started["event_id"]) == (["order.*"], ["succeeded"], None)
    requests = await receiver.met(2)
    assert requests[0].headers["webhook-id"] == requests[1].headers["webhook-id"] == event["id"]
    assert requests[0].body == requests[1].body
    done = await ended(server, started["id"])
    assert (done["state"], done["progress"], done["retried"]) == ("succeeded", 1.0, 1)
    for query, count in [("", 1), (f"?endpoint={endpoint}", 1), ("?state=running", 0), ("?tenant=acme", 0)]:
        listed = (await server.client.get(f"/v1/replays{query}")).json()
        assert [one["id"] for one in listed["data"]] == [started["id"]] * count
    again = await server.client.post(f"/v1/replays/{started['id']}/cancel")
    assert again.status_code == 409


async def test_running_replay_is_cancelled(server: Server, receiver: Receiver, recent: str) -> None:
    """A replay that waits for its endpoint says so, and can be cancelled."""
    endpoint = await endpoint_of(server, receiver)
    await server.client.post(f"/v1/endpoints/{endpoint}/disable")
    started = (await server.client.post(f"/v1/endpoints/{endpoint}/replay", json={"since": recent})).json()
    assert started["waiting_for"] == "disabled"
    cancelled = (await server.client.post(f"/v1/replays/{started['id']}/cancel")).json()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by hand")


@pytest.mark.parametrize(
    ("asked", "status", "loc"),
    [
        ({}, 422, "since"),
        ({"since": "tuesday"}, 422, "since"),
        ({"since": SINCE, "until": "2025-01-01T00:00:00Z"}, 422, "since"),
        ({"since": SINCE}, 422, "since"),
        ({"since": SINCE, "states": ["pending"]}, 422, "states"),
        ({"since": SINCE, "states": []}, 422, "states"),
        ({"since": SINCE, "types": ["a..b"]}, 422, "types"),
        ({"since": SINCE, "from": SINCE}, 422, "from"),
        ({"since": SINCE, "dry_run": "yes"}, 422, "dry_run"),
        ({"since": SINCE, "event": "evt_x"}, 422, "event"),
        ({"event": "evt_x"}, 404, None),
    ],
)
async def test_bad_replay_is_refused(
    server: Server, receiver: Receiver, asked: dict[str, Any], status: int, loc: str | None
) -> None:
    """What cannot be replayed is refused and named, and no replay is stored."""
    endpoint = await endpoint_of(server, receiver)
    answer = await server.client.post(f"/v1/endpoints/{endpoint}/replay", json=asked)
    assert answer.status_code == status, answer.text
    assert [fault["loc"][0] for fault in answer.json().get("errors", [])] == ([] if loc is None else [loc])
    assert (await server.client.get("/v1/replays")).json()["data"] == []


async def test_replay_from_the_command_line(
    server: Server, receiver: Receiver, tmp_path: Path, recent: str
) -> None:
    """The command starts a replay in the database, and the running server works it off."""
    receiver.respond = lambda request: Reply(410)
    endpoint = await endpoint_of(server, receiver)
    await server.client.post("/v1/events", json={"type": "order.paid", "data": {}})
    await receiver.met(1)
    await server.tellwire.drained()
    receiver.respond = lambda request: Reply()
    await server.client.post(f"/v1/endpoints/{endpoint}/enable")

    async def run(*arguments: str) -> dict[str, Any]:
        database = ("--database-url", f"sqlite:///{tmp_path / 'tellwire.db'}", "--json")
        process = Process(tmp_path, "replays", *arguments, *database)
        assert await asyncio.to_thread(process.wait) == 0, process.rest("err")  # the server works meanwhile
        found: dict[str, Any] = json.loads(process.line())
        return found

    started = await run(
        "start", endpoint, "--since", "1h", "--type", "order.*,invoice.*", "--state", "exhausted"
    )
    assert (started["state"], started["types"]) == ("running", ["order.*", "invoice.*"])
    await receiver.met(2)
    await ended(server, started["id"])
    assert (await run("get", started["id"]))["retried"] == 1
    assert [one["id"] for one in (await run("list", "--state", "succeeded"))["data"]] == [started["id"]]
