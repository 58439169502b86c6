"""Slow and contradictory clients: each gets an end, and none gets in the way of others."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from tests.engine.conftest import Server, serving
from tests.engine.embedded import until

from tellwire import Tellwire
from tellwire.api import bodies
from tellwire.api.app import build_watch
from tellwire.api.auth import Door
from tellwire.api.gate import Gate, Rates
from tellwire.api.patience import PatientProtocol
from tellwire.clock import SystemClock


async def _answer(server: Server, request: bytes) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A connection that sends nothing, or stops within the head of a request, is closed after a while."""
    monkeypatch.setattr(PatientProtocol, "head_timeout_s", 0.05)
    try:
        assert await _answer(server, sent) == b""
    except ConnectionResetError:
        pass
    assert (await server.client.get("/healthz")).status_code == 200


def _head(route: str, size_bytes: int) -> bytes:
    return f"{route} HTTP/1.1\r\nhost: a\r\nx: {'x' * size_bytes}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "sent",
    [
        _head("GET /healthz", 70_000),
        _head("POST /v1/events", 70_000),
        f"GET /healthz?{'x' * 70_000} HTTP/1.1\r\nhost: a\r\n\r\n".encode(),
        b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 12_000 + b"\r\n",
    ],
    ids=["header", "event", "target", "many"],
)
async def test_a_head_that_is_too_large_is_refused(server: Server, sent: bytes) -> None:
    """Target and headers have a limit together: the answer names it and ends the connection."""
    head, _, document = (await _answer(server, sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(document)["type"].endswith("/problems/head-too-large")


async def test_a_head_below_the_limit_passes(server: Server) -> None:
    """Many proxies add headers: 60 KiB of them are no reason to refuse."""
    sent = _head("GET /healthz", 60_000).replace(b"host: a", b"host: a\r\nconnection: close")
    assert (await _answer(server, sent)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ",
        b"GET /",
        b"POST /nope HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nx: ",
    ],
    ids=["header", "target", "trailer"],
)
async def test_what_has_no_end_is_not_kept(server: Server, begun: bytes) -> None:
    """A header, target or trailer without an end is cut off long before memory could be short."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(begun)
    sent_bytes = 0
    try:
        async with asyncio.timeout(20):
            while sent_bytes < 64 * 1024 * 1024 and not reader.at_eof():
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent_bytes += 65_536
                await asyncio.sleep(0)
    except ConnectionError:
        pass
    writer.close()
    assert sent_bytes < 64 * 1024 * 1024
    assert (await server.client.get("/healthz")).status_code == 200


async def test_a_body_that_never_begins_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose body does not follow its head is answered with 408."""
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.05)
    head = f"POST /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {server.key}\r\n"
    head += "content-type: application/json\r\ncontent-length: 10\r\n\r\n"
    assert (await _answer(server, head.encode())).startswith(b"HTTP/1.1 408 ")


async def test_the_limit_that_is_named_is_the_limit(server: Server) -> None:
    """A body that comes in pieces is refused with the whole limit, not with what was left of it."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b" " * 65_536

    response = await server.client.post(
        "/v1/events", content=pieces(), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert response.json()["maximum"] == 256 * 1024 + 16 * 1024


async def test_a_repeated_key_is_refused(server: Server) -> None:
    """Two idempotency keys contradict each other: nothing is published."""
    response = await server.client.post(
        "/v1/events",
        content=b'{"type":"order.paid","data":{}}',
        headers=[("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "b")],
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["idempotency-key"]


async def test_routes_without_a_body_refuse_fields(server: Server, tellwire: Tellwire) -> None:
    """Fields that nobody would read are refused; an empty object is no field."""
    created = await server.client.post(
        "/v1/endpoints", json={"url": "http://127.0.0.1:9000/", "events": ["*"]}
    )
    path = f"/v1/endpoints/{created.json()['id']}/pause"
    refused = await server.client.post(path, json={"nope": 1})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["nope"])
    assert (await server.client.post(path, json={})).status_code == 200
    assert (await server.client.post(path)).status_code == 200


async def test_headers_merge_whatever_their_case(tellwire: Tellwire) -> None:
    """A patch names a header in any case: clearing it clears it, changing it leaves one of it."""
    endpoint, _ = await tellwire.endpoints.create("http://127.0.0.1:9000/", headers={"X-A": "1", "X-B": "1"})
    changed = await tellwire.endpoints.update(endpoint.id, {"headers": {"x-a": None, "x-b": "2"}})
    assert changed.headers == {"x-b": "2"}


async def test_a_scope_is_named_in_words(server: Server) -> None:
    """A 403 says which scope is missing, as the documentation writes it."""
    key = (await server.client.post("/v1/keys", json={"name": "p", "scopes": ["publish"]})).json()["key"]
    response = await server.client.get("/v1/events", headers={"authorization": f"Bearer {key}"})
    assert response.status_code == 403
    assert "the scope 'read'" in response.json()["detail"]


async def test_the_database_is_private(tellwire: Tellwire, tmp_path: Path) -> None:
    """A new database and its log can be read by their owner alone, and nobody else can come to what wakes it."""
    assert _modes(tmp_path) == {
        "tellwire.db": 0o600,
        "tellwire.db-wal": 0o600,
        "tellwire.db-shm": 0o600,
        "tellwire.db-bells": 0o700,
    }


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("tellwire.db*")}


@pytest.fixture
def three_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the server that is started after this."""
    monkeypatch.setattr("tellwire.server._max_connections", lambda: 3)


_HEALTH = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"


async def _connected(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that the server has taken, and answered on."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(_HEALTH)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    return reader, writer


async def test_a_connection_too_many_is_refused_with_a_problem(
    three_connections: None, server: Server
) -> None:
    """On any route, with the time to try again; the others go on, and there is room when one of them has gone."""
    kept = [await _connected(server) for _ in range(2)]
    body = b'{"type":"a","data":{}}'
    event = f"POST /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {server.key}\r\n"
    event += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    for request in (_HEALTH, event.encode() + body):
        head, _, document = (await _answer(server, request)).partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        assert lines[0] == "http/1.1 503 service unavailable"
        assert {"content-type: application/problem+json", "retry-after: 2", "connection: close"} <= set(lines)
        told = json.loads(document)
        assert told["type"].endswith("/problems/unavailable")
        assert told["stored"] is False
        assert f"x-request-id: {told['request_id']}" in lines
    assert (await server.tellwire.events.list()).data == []
    for _, writer in kept:
        writer.close()
        await writer.wait_closed()
    last = _HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

    async def has_room() -> bool:
        return (await _answer(server, last)).startswith(b"HTTP/1.1 200 ")

    await until(has_room)


async def test_what_is_no_http_is_told_so_by_every_server(tellwire: Tellwire) -> None:
    """Also by one without publish routes, such as that of a worker's health: with a problem document."""
    ids = (f"req_{number}" for number in count())
    gate, door = Gate(tellwire, Rates(), SystemClock()), Door(tellwire)
    watch = build_watch(tellwire, lambda: next(ids), door, gate, None, metrics_open=False)
    async with serving(tellwire, watch) as server:
        head, _, document = (await _answer(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(document)["type"].endswith("/problems/malformed")
        assert (await server.client.get("/healthz")).status_code == 200
