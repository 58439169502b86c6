"""Whatever a request says, it is answered, and never with a fault of ours: each parser is fed by Hypothesis.

Bounded and the same everywhere: some dozens of examples for each, not drawn at random.
"""

import asyncio
import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tellwire import Options
from tellwire.api.routes import ROUTES

from .conftest import ADMIN_KEY, LOOPBACK, WAIT_S, Server

few = settings(
    max_examples=25, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

_PIECES = [
    b'{"type":', b'"a.b"', b',"data":', b"{", b"}", b"[", b"]", b'"', b"\\ud800", b"NaN", b"1e999", b"null", b",", b":",
    b',"tenant":', b',"occurred_at":', b'{"events":[', b"\xff", b"\n", b"9" * 5_000, b"[" * 500, b'{"a":' * 200,
    b',"idempotency_key":', b',"deliver_at":"9999-12-31T23:59:59Z"', b',"expires_at":"0001-01-01T00:00:00Z"',
]  # fmt: skip
BODIES = st.lists(st.sampled_from(_PIECES) | st.binary(max_size=3), max_size=20).map(b"".join)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
PART = st.binary(max_size=30).map(lambda raw: urlsafe_b64encode(raw).decode().rstrip("="))
TEXT = (
    st.text(max_size=40)
    | PART
    | st.sampled_from(["", "0", "-1", "9" * 40, "2026-01-31T09:30:00Z", "\x00", "*", "a.*"])
)
TAGS = st.lists(st.sampled_from(['"a"', 'W/"b"', "*", '"', "", " ", "\xff"]), max_size=4).map(",".join)
OPERATORS = st.sampled_from([
    "$eq", "$neq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$startsWith", "$endsWith", "$contains", "$exist",
    "$or", "$and", "$not", "data", "type", "tenant", "x", "$no", "",
])  # fmt: skip
FILTERS = st.recursive(
    JSON,
    lambda inner: st.dictionaries(OPERATORS, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=12,
)


def check(answer: httpx.Response) -> None:
    """No fault of ours; a refusal is a problem that says what is wrong."""
    assert answer.status_code < 500, (answer.request.url, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.json()["status"] == answer.status_code


@few
@given(
    body=BODIES, path=st.sampled_from(["/v1/events", "/v1/events/batch", "/v1/endpoints", "/v1/filters/test"])
)
def bodies(client: httpx.Client, body: bytes, path: str) -> None:
    """Bytes that are nearly JSON, or are not."""
    check(client.post(path, content=body, headers={"content-type": "application/json"}))


@few
@given(
    fields=st.dictionaries(
        st.sampled_from(["type", "data", "tenant", "idempotency_key", "deliver_at", "x"]), JSON
    )
)
def events(client: httpx.Client, fields: dict[str, Any]) -> None:
    """Sound JSON of any shape, alone and in a batch."""
    for path, body in (("/v1/events", fields), ("/v1/events/batch", {"events": [fields, fields]})):
        content = json.dumps(body).encode()  # not UTF-8 in part: a lone surrogate stays an escape
        check(client.post(path, content=content, headers={"content-type": "application/json"}))


@few
@given(filter=FILTERS, data=JSON)
def filters(client: httpx.Client, filter: object, data: object) -> None:
    """Filters of any shape, on data of any shape."""
    content = json.dumps({"filter": filter, "data": data}).encode()
    check(client.post("/v1/filters/test", content=content, headers={"content-type": "application/json"}))


@few
@given(value=HEADER, token=st.lists(PART, min_size=1, max_size=4).map(".".join))
def credentials(client: httpx.Client, value: str, token: str) -> None:
    """Any header is refused with 401, as are tokens of any parts."""
    for shown in (
        value,
        f"Bearer {value}",
        f"Bearer {token}",
        f"Bearer tw_at_{token}",
        f"Bearer tw_pt_{token}",
    ):
        answer = client.get("/v1/events", headers={b"authorization": shown.strip().encode("latin-1")})
        check(answer)
        assert answer.status_code in {401, 429}


@few
@given(
    value=HEADER,
    tags=TAGS,
)
def headers(client: httpx.Client, value: str, tags: str) -> None:
    """Tags, idempotency keys, content types, traces."""
    for text in (value, tags):
        raw = text.strip().encode("latin-1")
        check(client.get("/v1/tenants/default", headers={b"if-none-match": raw}))
        check(client.patch("/v1/tenants/default", json={"name": "n"}, headers={b"if-match": raw}))
        check(client.post("/v1/events/evt_1/cancel", headers={b"idempotency-key": raw}))
        body = {"type": "a.b", "data": {"n": text}}
        for name in (b"idempotency-key", b"traceparent", b"content-type"):
            check(client.post("/v1/events", json=body, headers={name: raw}))


LISTS = [
    route.path
    for route in ROUTES
    if route.method == "GET" and "{" not in route.path and route.path[:3] == "/v1"
]
NAMES = [
    "cursor",
    "limit",
    "tenant",
    "type",
    "since",
    "until",
    "endpoint",
    "event",
    "state",
    "by",
    "actor",
    "subject",
    "x",
]


@few
@given(path=st.sampled_from(LISTS), query=st.lists(st.tuples(st.sampled_from(NAMES), TEXT), max_size=4))
def queries(client: httpx.Client, path: str, query: list[tuple[str, str]]) -> None:
    """Cursors that no list has given, limits, times, ids and names that are none."""
    sound = httpx.QueryParams([(name, text.encode("utf-8", "replace").decode()) for name, text in query])
    check(client.get(path, params=sound))


@few
@given(path=st.sampled_from(LISTS), cursor=TEXT)
def cursors(client: httpx.Client, path: str, cursor: str) -> None:
    """A cursor is one, or is refused."""
    answer = client.get(path, params={"cursor": cursor.encode("utf-8", "replace").decode()})
    check(answer)
    assert answer.status_code in {200, 422}


_HEAD_LINES = st.sampled_from([
    b"content-length: 5", b"content-length: -1", b"content-length: 99999999999999999999", b"transfer-encoding: chunked",
    b"expect: 100-continue", b"authorization: Bearer x", b"content-type: application/json", b"host: x", b"a: \xff",
    b": x", b"x", b" folded", b"connection: close", b"idempotency-key: k",
])  # fmt: skip


@few
@given(lines=st.lists(_HEAD_LINES | st.binary(max_size=20), max_size=6), body=BODIES, at=st.integers(0, 200))
def pieces(client: httpx.Client, lines: list[bytes], body: bytes, at: int) -> None:
    """Requests to publish in two pieces, with any head: an answer comes that is no fault, or the connection ends."""
    head = b"\r\n".join([b"POST /v1/events HTTP/1.1", *lines, b"content-length: %d" % len(body), b"", b""])
    whole = head + body
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port or 80), timeout=WAIT_S) as connection:
        with suppress(OSError):  # the server may have had enough before
            for piece in (whole[:at], whole[at:]):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        try:
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionError:
            return
    assert not answer.startswith(b"HTTP/1.1 5"), answer


@pytest.fixture
def options() -> Options:
    """Nothing is delivered."""
    return Options(admin_key=ADMIN_KEY, egress=LOOPBACK, deliver=False)


@pytest.mark.parametrize(
    "attack",
    [bodies, events, filters, credentials, headers, queries, cursors, pieces],
    ids=lambda attack: attack.__name__,
)
async def test_hostile(server: Server, attack: Callable[[httpx.Client], None]) -> None:
    """Every example is answered, with no fault of ours; then the server still answers."""

    def run() -> None:
        shown = {"authorization": f"Bearer {ADMIN_KEY}"}
        with httpx.Client(base_url=server.url, headers=shown, trust_env=False, timeout=WAIT_S) as client:
            attack(client)

    await asyncio.to_thread(run)
    assert (await server.client.get("/readyz")).status_code == 200
