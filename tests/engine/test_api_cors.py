"""Pages of other origins: none may read an answer, unless the setting names its origin; then every answer."""

from collections.abc import AsyncIterator

import pytest

from tellwire import Tellwire
from tellwire.server import build_app

from .conftest import Server, serving

PAGE = "https://portal.example"
EVENT = {"type": "a.b", "data": {}}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}


@pytest.fixture
def origins() -> tuple[str, ...]:
    return (PAGE, "http://localhost:3000")


@pytest.fixture
async def server(tellwire: Tellwire, origins: tuple[str, ...]) -> AsyncIterator[Server]:
    async with serving(tellwire, build_app(tellwire, cors_origins=origins)) as server:
        yield server


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/events", 200),
        ("POST", "/v1/events", 202),
        ("GET", "/none", 404),
        ("PUT", "/v1/events/batch", 405),
    ],
)
async def test_a_named_origin_may_read(server: Server, method: str, path: str, status: int) -> None:
    """Answers and problems alike; by both ways into publishing; and no cookie is asked for."""
    body = EVENT if method == "POST" else None
    answer = await server.client.request(method, path, json=body, headers={"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in answer.headers
    refused = await server.client.request(
        method, path, json=body, headers={"origin": PAGE, "authorization": ""}
    )
    assert refused.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/endpoints/x", "/v1/keys", "/none"])
async def test_preflight(server: Server, path: str) -> None:
    """Needs no key, does nothing, and allows what the API takes."""
    asked = {"origin": PAGE, "authorization": "", **PREFLIGHT}
    answer = await server.client.request("OPTIONS", path, headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    for name in ("authorization", "content-type", "idempotency-key", "if-match"):
        assert name in answer.headers["access-control-allow-headers"]
    assert answer.headers["x-request-id"].startswith("req_")
    assert (await server.client.request("OPTIONS", path, headers={"origin": PAGE})).status_code in {404, 405}


@pytest.mark.parametrize(
    "origin",
    ["https://portal.example.evil", "http://portal.example", "null", "*", "https://portal.example/", ""],
)
async def test_other_origins_may_not(server: Server, origin: str) -> None:
    """What is not named letter by letter reads nothing; requests without an origin are as ever."""
    for method in ("GET", "POST", "OPTIONS"):
        body = EVENT if method == "POST" else None
        headers = {"origin": origin, **(PREFLIGHT if method == "OPTIONS" else {})}
        answer = await server.client.request(method, "/v1/events", json=body, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "vary" not in (await server.client.get("/v1/events")).headers


@pytest.mark.parametrize("origins", [("*",)])
async def test_any_origin(server: Server) -> None:
    """A star lets every origin in: tokens in headers are no cookies, so that gives nobody's rights away."""
    answer = await server.client.get("/v1/events", headers={"origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "https://any.example"
