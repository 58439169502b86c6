"""The shortcut of single events: whatever way a request takes, its answer is the same and nothing is mixed up."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.engine.conftest import Server

from tellwire import StoreUnavailableError
from tellwire.api.publish import PublishRoutes
from tellwire.api.shortcut import ShortcutProtocol

EVENT = b'{"type":"order.paid","data":{"n":1}}'


def request(key: str, body: bytes = EVENT, *more: str, version: str = "1.1") -> bytes:
    """A publish request as a client writes it."""
    head = [f"POST /v1/events HTTP/{version}", "Host: a", f"Authorization: Bearer {key}"]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    """The next answer on a connection: its status and its document."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = int(head.split(" ", 2)[1])
    length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
    body = await reader.readexactly(int(length.partition(":")[2]))
    return status, json.loads(body)


class Connection:
    """A connection to the server under test."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __aenter__(self) -> "Connection":
        parts = urlsplit(self._server.url)
        self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def answers(self, pieces: Iterable[bytes], count: int = 1) -> list[tuple[int, dict[str, object]]]:
        """Write the pieces, each in a packet of its own, and read so many answers."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)  # so that the pieces do not arrive as one
        async with asyncio.timeout(20):
            return [await read_answer(self.reader) for _ in range(count)]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the publish routes said of each request that the shortcut offered them."""
    said: list[bool] = []
    take = PublishRoutes.take

    def watched(self: PublishRoutes, *args: object) -> bool:
        said.append(take(self, *args))  # type: ignore[arg-type]
        return said[-1]

    monkeypatch.setattr(PublishRoutes, "take", watched)
    return said


async def test_an_ordinary_request_takes_the_shortcut(server: Server, taken: list[bool]) -> None:
    """Whole, or head and body apart; one after the other on one connection; its event is stored."""
    whole = request(server.key)
    async with Connection(server) as connection:
        for pieces in ([whole], [whole[: -len(EVENT)], EVENT], [whole]):
            ((status, document),) = await connection.answers(pieces)
            assert (status, document["type"], document["duplicate"]) == (202, "order.paid", False)
            event = await server.tellwire.events.get(str(document["id"]))
            assert event.data == b'{"n":1}'
    assert taken == [True, True, True]


@pytest.mark.parametrize("more", ["Expect: 100-continue", "Connection: close", "X-A: 1\r\nX-A: 2"])
async def test_an_unusual_request_takes_the_long_way(server: Server, taken: list[bool], more: str) -> None:
    """What the shortcut does not know is left to the server, which answers it all the same."""
    async with Connection(server) as connection:
        if more.startswith("Expect"):
            connection.writer.write(request(server.key, EVENT, more)[: -len(EVENT)])
            assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            ((status, _),) = await connection.answers([EVENT])
        else:
            ((status, _),) = await connection.answers([request(server.key, EVENT, more)])
        assert status == 202
    assert not taken


async def test_a_slow_body_takes_the_long_way(
    server: Server, taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose bytes trickle in is handed over from its first byte, and answered."""
    monkeypatch.setattr("tellwire.api.shortcut._PIECES_WITHIN_S", 0.0)
    whole = request(server.key)
    async with Connection(server) as connection:
        ((status, _),) = await connection.answers([whole[:40], whole[40:-10], whole[-10:]])
        assert status == 202
    assert not taken


async def test_pipelined_requests_are_answered_in_order(server: Server, taken: list[bool]) -> None:
    """Several requests in one packet, and one that comes while another is stored: no answer overtakes another."""
    bodies = [b'{"type":"order.n%d","data":{}}' % number for number in range(6)]
    one, two, *others = [request(server.key, body) for body in bodies]
    async with Connection(server) as connection:
        connection.writer.write(one)
        await asyncio.sleep(0)
        answers = await connection.answers([two + others[0], b"".join(others[1:])], 6)
    assert [document["type"] for _, document in answers] == [f"order.n{number}" for number in range(6)]


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        (b'{"type":"order.paid","data":{"n":1', (), 422),
        (b'{"type":"order.paid","data":{},"x":1}', (), 422),
        (b'{"type":"order.paid","data":{},"tenant":"nobody"}', (), 422),
        (b'{"type":"order.paid","data":{"a":"%s"}}' % (b"x" * 300_000), (), 413),
        (EVENT, ("Idempotency-Key: " + "k" * 200,), 422),
    ],
)
async def test_faults_are_told_as_on_the_long_way(
    server: Server, body: bytes, more: tuple[str, ...], status: int
) -> None:
    """A refused request gets the very problem that it gets where there is no shortcut, and the connection goes on."""
    async with Connection(server) as connection:
        ((short, problem),) = await connection.answers([request(server.key, body, *more)])
        slow = await server.client.post(
            "/v1/events?",
            content=body,
            headers={"content-type": "application/json", **dict(line.split(": ") for line in more)},
        )
        assert short == slow.status_code == status
        assert {**problem, "request_id": ""} == {**slow.json(), "request_id": ""}
        if status != 413:
            assert (await connection.answers([request(server.key)]))[0][0] == 202
    wrong = request("tw_wrong")
    async with Connection(server) as connection:
        assert (await connection.answers([wrong]))[0][0] == 401


async def test_idempotency_on_the_shortcut(server: Server, taken: list[bool]) -> None:
    """The same key again gives 200 and the first event; with other content 409."""
    async with Connection(server) as connection:
        first, again, other = [
            (await connection.answers([request(server.key, body, "Idempotency-Key: k1")]))[0]
            for body in (EVENT, EVENT, b'{"type":"order.paid","data":{"n":2}}')
        ]
    assert (first[0], again[0], other[0]) == (202, 200, 409)
    assert (again[1]["id"], again[1]["duplicate"]) == (first[1]["id"], True)
    assert taken == [True, True, True]


async def test_an_unavailable_store_is_a_503(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that could not be stored is answered with 503 and Retry-After, never with 202."""

    def submit(events: object, answer: ShortcutProtocol) -> None:
        answer.set_exception(StoreUnavailableError("disk full"))

    monkeypatch.setattr(server.tellwire, "submit", submit)
    async with Connection(server) as connection:
        connection.writer.write(request(server.key))
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 503 ")
    assert "retry-after: " in head


async def test_a_client_that_leaves_harms_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed before its answer: the event is stored, the next connection is served."""
    submitted, submit = asyncio.Event(), server.tellwire.submit

    def noted(*args: Any) -> None:
        submit(*args)
        submitted.set()

    monkeypatch.setattr(server.tellwire, "submit", noted)
    async with Connection(server) as connection:
        connection.writer.write(request(server.key, b'{"type":"order.left","data":{}}'))
        await connection.writer.drain()
        await submitted.wait()
        connection.writer.transport.abort()
    async with asyncio.timeout(20):
        await server.tellwire.publish("order.later", {})  # shares its commit or follows it
        assert len((await server.tellwire.events.list(type="order.left")).data) == 1
    assert (await server.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"HELLO\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /v1/events HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_told_so(server: Server, sent: bytes) -> None:
    """Bytes that are no request are answered with a problem document, then the connection is closed."""
    async with Connection(server) as connection:
        ((status, problem),) = await connection.answers([sent])
        assert (status, problem["status"]) == (400, 400)
        assert str(problem["type"]).endswith("/problems/malformed")
        assert await connection.reader.read() == b""
    assert (await server.client.get("/healthz")).status_code == 200
