"""Publishing over HTTP, good and bad: what is accepted arrives byte for byte, what is refused leaves nothing behind."""

import asyncio
import gzip
import json
import re
from typing import Any

import httpx
import pytest

from tellwire.model.limits import KIB

from .conftest import WAIT_S, Receiver, Server

DATA = b'{"b":1.10, "a":12345678901234567890123, "text":"\\u00e9 \xc3\xa9","e":1E400,"deep":[{"":null}]}'
JSON = {"content-type": "application/json"}


async def refused(server: Server, answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of a refusal that is well formed, stored nothing and left the server alive."""
    problem: dict[str, Any] = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail"} <= problem.keys()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert (await server.client.get("/v1/events")).json() == {"data": [], "next": None}
    assert (await server.client.get("/v1/deliveries")).json() == {"data": [], "next": None}
    return problem


async def test_published_event_is_acknowledged_and_arrives_byte_for_byte(
    server: Server, receiver: Receiver
) -> None:
    """The bytes of data are the same at the receiver and in the API, numbers and spaces included."""
    await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["order.*"]})
    body = b'{"type":"order.paid","occurred_at":"2026-01-31T10:30:00.1239+01:00","data":' + DATA + b"}"
    answer = await server.client.post("/v1/events", content=body, headers=JSON)
    receipt = answer.json()
    assert answer.status_code == 202
    assert list(receipt) == ["id", "type", "tenant", "occurred_at", "created_at", "deliveries", "duplicate"]
    assert receipt["occurred_at"] == "2026-01-31T09:30:00.123Z"
    assert (receipt["deliveries"], receipt["duplicate"]) == (1, False)
    (request,) = await receiver.met(1)
    assert (
        request.body == b'{"type":"order.paid","timestamp":"2026-01-31T09:30:00.123Z","data":' + DATA + b"}"
    )
    shown = await server.client.get(f"/v1/events/{receipt['id']}")
    assert shown.content.endswith(b',"data":' + DATA + b"}")
    assert shown.headers["content-type"] == "application/json"


async def test_batch_answers_in_order(server: Server) -> None:
    """A batch gives one receipt for each event, in order."""
    events = [{"type": f"a.b{number}", "data": {"n": number}} for number in range(20)]
    answer = await server.client.post("/v1/events/batch", json={"events": events})
    assert answer.status_code == 202
    assert [receipt["type"] for receipt in answer.json()["data"]] == [event["type"] for event in events]


@pytest.mark.parametrize("header", [True, False], ids=["header", "field"])
async def test_same_key_and_content_again_answers_with_the_first_event(server: Server, header: bool) -> None:
    """An idempotency key works as a header and as a field; other content under it is a conflict."""

    async def publish(data: dict[str, int]) -> httpx.Response:
        event = {"type": "order.paid", "data": data} | ({} if header else {"idempotency_key": "k 1"})
        headers = {"idempotency-key": "k 1"} if header else {}
        return await server.client.post("/v1/events", json=event, headers=headers)

    first, again, other = await publish({"a": 1}), await publish({"a": 1}), await publish({"a": 2})
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 409)
    assert again.json() == first.json() | {"duplicate": True}
    assert other.json()["type"].endswith("/problems/conflict")
    assert len((await server.client.get("/v1/events")).json()["data"]) == 1


async def test_header_and_field_that_differ_are_refused(server: Server) -> None:
    """Two idempotency keys for one event cannot both be meant."""
    event = {"type": "a", "data": {}, "idempotency_key": "x"}
    answer = await server.client.post("/v1/events", json=event, headers={"idempotency-key": "y"})
    problem = await refused(server, answer, 422)
    assert problem["errors"][0]["loc"] == ["idempotency_key"]


async def test_conflict_in_a_batch_refuses_the_batch_and_names_the_index(server: Server) -> None:
    """A batch with one conflicting event stores none of the others."""
    await server.client.post("/v1/events", json={"type": "a", "data": {}, "idempotency_key": "k"})
    events = [{"type": "a", "data": {}}, {"type": "a", "data": {"other": 1}, "idempotency_key": "k"}]
    answer = await server.client.post("/v1/events/batch", json={"events": events})
    assert (answer.status_code, answer.json()["index"]) == (409, 1)
    assert len((await server.client.get("/v1/events")).json()["data"]) == 1


def event(**fields: Any) -> bytes:
    return json.dumps({"type": "order.paid", "data": {}} | fields).encode()


def with_data(data: bytes) -> bytes:
    return b'{"type":"order.paid","data":' + data + b"}"


BAD: dict[str, tuple[bytes, list[str]]] = {
    "nothing": (b"", []),
    "not JSON": (b"hello", []),
    "cut off": (b'{"type":"order.paid"', []),
    "invalid UTF-8": (with_data(b'{"a":"\xff"}'), ["data"]),
    "byte order mark": (b"\xef\xbb\xbf" + event(), []),
    "array": (b"[]", []),
    "null": (b"null", []),
    "no type": (b'{"data":{}}', ["type"]),
    "no data": (b'{"type":"order.paid"}', ["data"]),
    "data is an array": (with_data(b"[]"), ["data"]),
    "data is null": (with_data(b"null"), ["data"]),
    "type is a number": (event(type=1), ["type"]),
    "illegal type name": (event(type="order..paid"), ["type"]),
    "pattern for a type": (event(type="order.*"), ["type"]),
    "type too long": (event(type="a" * 129), ["type"]),
    "unknown field": (event(ttl=5), ["ttl"]),
    "unknown tenant": (event(tenant="nobody"), ["tenant"]),
    "illegal tenant": (event(tenant="a b"), ["tenant"]),
    "tenant is a number": (event(tenant=1), ["tenant"]),
    "empty key": (event(idempotency_key=""), ["idempotency_key"]),
    "key too long": (event(idempotency_key="k" * 129), ["idempotency_key"]),
    "time without zone": (event(occurred_at="2026-01-31T09:30:00"), ["occurred_at"]),
    "time as a number": (event(occurred_at=1769851800), ["occurred_at"]),
    "nesting": (with_data(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}"), ["data"]),
    "endless nesting": (with_data(b'{"a":' + b"[" * 100_000), ["data"]),
    "NaN": (with_data(b'{"a":NaN}'), ["data"]),
    "Infinity": (with_data(b'{"a":-Infinity}'), ["data"]),
    "lone surrogate": (with_data(b'{"a":"\\ud800"}'), ["data"]),
    "duplicate key": (with_data(b'{"a":1,"a":2}'), ["data"]),
    "duplicate field": (b'{"type":"a","type":"b","data":{}}', ["type"]),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_event_is_refused_and_named(server: Server, name: str) -> None:
    """Every kind of bad event is a 422 that names its place, alone and in a batch."""
    body, loc = BAD[name]
    answer = await server.client.post("/v1/events", content=body, headers=JSON)
    problem = await refused(server, answer, 422)
    assert problem["errors"][0]["loc"][:1] == loc
    batch = b'{"events":[' + event() + b"," + body + b"," + event() + b"]}"
    answer = await server.client.post("/v1/events/batch", content=batch, headers=JSON)
    problem = await refused(server, answer, 422)
    if loc and name != "endless nesting":
        assert problem["errors"][0]["loc"][:3] == ["events", 1, *loc]


async def test_every_bad_event_of_a_batch_is_named(server: Server) -> None:
    """A batch with bad events is refused as a whole, with the index of each."""
    events = [{"type": "a", "data": {}}, {"type": "!", "data": {}}, {"type": "a"}, {"type": "a", "data": {}}]
    answer = await server.client.post("/v1/events/batch", json={"events": events})
    problem = await refused(server, answer, 422)
    assert [fault["loc"] for fault in problem["errors"]] == [["events", 1, "type"], ["events", 2, "data"]]


async def test_batch_has_limits(server: Server) -> None:
    """No events, or too many of them: refused."""
    for events in ([], [{"type": "a", "data": {}}] * 501):
        problem = await refused(
            server, await server.client.post("/v1/events/batch", json={"events": events}), 422
        )
        assert problem["errors"][0]["loc"] == ["events"]


async def test_data_over_the_limit_is_refused(server: Server) -> None:
    """256 KiB of data pass, one byte more is 413 and names the limit; within a batch it is that event's fault."""
    room = 256 * KIB - len('{"a":""}')
    fitting, large = ({"type": "a", "data": {"a": "x" * size}} for size in (room, room + 1))
    bodies = [json.dumps(one, separators=(",", ":")) for one in (large, {"events": [large]}, fitting)]
    problem = await refused(
        server, await server.client.post("/v1/events", content=bodies[0], headers=JSON), 413
    )
    assert (problem["limit"], problem["maximum"]) == ("payload_bytes", 256 * KIB)
    answer = await server.client.post("/v1/events/batch", content=bodies[1], headers=JSON)
    assert (await refused(server, answer, 422))["errors"][0]["loc"] == ["events", 0, "data"]
    assert (await server.client.post("/v1/events", content=bodies[2], headers=JSON)).status_code == 202


async def connected(server: Server, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the head of a good request has been sent, and no body yet."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    start, _, more = head.partition("\n")
    lines = [
        f"{start} HTTP/1.1",
        "host: x",
        f"authorization: Bearer {server.key}",
        "content-type: application/json",
    ]
    writer.write("\r\n".join([*lines, more, "", ""]).encode())
    return reader, writer


@pytest.mark.parametrize(
    "start", ["POST /v1/events", "POST /v1/events/batch", "POST /v1/tenants", "PATCH /v1/endpoints/x"]
)
async def test_endless_body_is_refused_while_it_is_read(server: Server, start: str) -> None:
    """The whole 413 comes while the body still goes on; then the connection is closed."""
    reader, writer = await connected(server, f"{start}\ntransfer-encoding: chunked")

    async def send_on() -> None:
        while True:
            writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            await writer.drain()

    sending = asyncio.create_task(send_on())
    async with asyncio.timeout(WAIT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = re.search(rb"content-length: (\d+)", head)
        assert size is not None
        problem = json.loads(await reader.readexactly(int(size[1])))
    assert not sending.done()
    sending.cancel()
    writer.close()
    assert b"\r\nconnection: close\r\n" in head
    assert (problem["status"], problem["limit"]) == (413, "body_bytes")
    assert (await server.client.get("/v1/events")).json()["data"] == []


async def test_body_that_says_it_is_too_large_is_refused_unread(server: Server) -> None:
    """The answer to a Content-Length over the limit does not wait for the body."""
    reader, writer = await connected(server, "POST /v1/events\ncontent-length: 99999999")
    async with asyncio.timeout(WAIT_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_client_that_goes_away_within_a_body_leaves_nothing(server: Server) -> None:
    """Half a body and a closed connection store nothing, and the server lives on."""
    for start in ("POST /v1/events", "POST /v1/endpoints"):
        _, writer = await connected(server, f"{start}\ncontent-length: 40")
        writer.write(b'{"type":')
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await server.client.get("/v1/events")).json()["data"] == []


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=latin-1", "application/x-www-form-urlencoded"],
)
async def test_other_content_types_are_refused(server: Server, path: str, content_type: str) -> None:
    """Anything but JSON in UTF-8 is 415."""
    answer = await server.client.post(path, content=event(), headers={"content-type": content_type})
    await refused(server, answer, 415)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/endpoints"])
async def test_compressed_bodies_are_refused(server: Server, path: str) -> None:
    """A body in an encoding is 415, and told so, instead of bytes that are no JSON; ``identity`` is no encoding."""
    for content in (gzip.compress(event()), event()):
        headers = JSON | {"content-encoding": "gzip"}
        answer = await server.client.post(path, content=content, headers=headers)
        await refused(server, answer, 415)
        assert "Content-Encoding" in answer.json()["detail"]

    headers = JSON | {"content-encoding": "identity"}
    assert (await server.client.post("/v1/events", content=event(), headers=headers)).status_code == 202


@pytest.mark.parametrize("content_type", ["Application/JSON", 'application/json; charset="UTF-8"'])
async def test_json_by_any_spelling_is_taken(server: Server, content_type: str) -> None:
    """Content types are compared without regard to case; a charset of UTF-8 is allowed."""
    answer = await server.client.post("/v1/events", content=event(), headers={"content-type": content_type})
    assert answer.status_code == 202


async def test_wrong_method_names_the_right_ones(server: Server) -> None:
    """405 comes with Allow, also where a path is answered by both halves of the API."""
    for method, path, allow in [
        ("PUT", "/v1/events", "GET, HEAD, POST"),
        ("DELETE", "/v1/events", "GET, HEAD, POST"),
        ("GET", "/v1/events/batch", "POST"),
    ]:
        answer = await server.client.request(method, path)
        await refused(server, answer, 405)
        assert answer.headers["allow"] == allow


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer tw_wrong", "Basic dHc6", "Bearer \xff"])
async def test_no_or_wrong_key_is_refused_before_the_body_is_looked_at(
    server: Server, authorization: str
) -> None:
    """Without a good key even a bad body is 401, and says how to show a key."""
    for path in ("/v1/events", "/v1/events/batch", "/v1/endpoints"):
        headers = [
            (b"authorization", authorization.encode("latin-1")),
            (b"content-type", b"application/json"),
        ]
        answer = await server.client.post(path, content=b"no JSON", headers=headers)
        await refused(server, answer, 401)
        assert answer.headers["www-authenticate"].split()[0] == "Bearer"


async def test_key_without_the_scope_is_refused(server: Server) -> None:
    """A key that may read and manage does not publish."""
    made = await server.client.post("/v1/keys", json={"name": "n", "scopes": ["read", "manage"]})
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    answer = await server.client.post("/v1/events", json={"type": "a", "data": {}}, headers=headers)
    assert (await refused(server, answer, 403))["scope"] == "publish"
