"""What surrounds the routes: request ids, problems, health, the description of the API and its page."""

import json
import re
from typing import Any

import pytest

from tellwire import StoreUnavailableError, Tellwire
from tellwire.api.problems import DOCS, KINDS
from tellwire.api.routes import ROUTES

from .conftest import Server
from .test_api_control import locs


async def test_every_answer_has_a_request_id(server: Server) -> None:
    """Good or bad, an answer names its request; no two are the same."""
    answers = [
        await server.client.get(path)
        for path in (
            "/v1/events",
            "/v1/events/x",
            "/nope",
            "/healthz",
            "/docs",
            "/openapi.json",
            "/v1/events?x=1",
        )
    ]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(one) == 1 and one[0].startswith("req_") for one in ids)
    assert len({one[0] for one in ids}) == len(ids)


async def test_unknown_routes_and_methods(server: Server) -> None:
    """An unknown route is 404, another method 405 with Allow; both are problems."""
    for path in (
        "/",
        "/v1",
        "/v1/events/",
        "/v1/unknown",
        "/v1/endpoints/x/replays",
        "//v1/events",
    ):
        assert locs(await server.client.get(server.url + path), 404) == []
    for method, path, allow in [
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/v1/endpoints", "GET, HEAD, POST"),
        ("POST", "/v1/endpoints/x", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/v1/endpoints/x/enable", "POST"),
        ("OPTIONS", "/v1/keys", "GET, HEAD, POST"),
        ("PUT", "/v1/tenants/x", "DELETE, GET, HEAD, PATCH"),
    ]:
        answer = await server.client.request(method, path)
        assert locs(answer, 405) == []
        assert answer.headers["allow"] == allow


async def test_head_is_get_without_the_body(server: Server) -> None:
    """HEAD answers with the headers of GET and nothing else."""
    for path, status in (("/v1/events", 200), ("/healthz", 200), ("/v1/events/x", 404), ("/docs", 200)):
        answer = await server.client.head(path)
        assert (answer.status_code, answer.content) == (status, b"")
        assert int(answer.headers["content-length"]) > 0


async def test_fault_of_ours_tells_nothing_of_itself(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is a 500 with a request id; what happened is in the log, under that id."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(server.tellwire.events, "list", broken)
    monkeypatch.setattr(server.tellwire, "accept", broken)
    monkeypatch.setattr(server.tellwire, "submit", broken)
    for answer in (
        await server.client.get("/v1/events"),
        await server.client.post("/v1/events", json={"type": "a", "data": {}}),
    ):
        assert locs(answer, 500) == []
        assert "internals" not in answer.text
        (record,) = [one for one in caplog.records if answer.headers["x-request-id"] in one.getMessage()]
        assert record.exc_info is not None
    assert (await server.client.get("/healthz")).status_code == 200


async def test_health(server: Server, tellwire: Tellwire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive as long as it answers; ready only while the database can be written."""
    assert (await server.client.get("/readyz")).json() == {"status": "ready"}

    async def locked() -> None:
        raise StoreUnavailableError("disk full at /secret/path")

    monkeypatch.setattr(tellwire, "ready", locked)
    answer = await server.client.get("/readyz")
    assert locs(answer, 503) == []
    assert "retry-after" in answer.headers
    assert "path" not in answer.text
    assert (await server.client.get("/healthz")).json() == {"status": "ok"}


async def document(server: Server) -> dict[str, Any]:
    made: dict[str, Any] = (await server.client.get("/openapi.json")).json()
    return made


async def test_description_has_every_route(server: Server) -> None:
    """Every route stands in the document, with a name, words, a tag, problems and the key that it needs."""
    made = await document(server)
    assert made["openapi"].startswith("3.1.")
    described = {(method.upper(), path) for path, item in made["paths"].items() for method in item}
    publishing = {("POST", "/v1/events"), ("POST", "/v1/events/batch")}
    assert described == {(route.method, route.path) for route in ROUTES} | publishing
    operations = [operation for item in made["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"][0] in {tag["name"] for tag in made["tags"]}
        is_open = operation["tags"] == ["health"] or operation["operationId"] == "get_public_keys"
        assert bool(operation.get("security")) != is_open
        assert {"500"} <= operation["responses"].keys()
        if operation.get("x-required-scope"):
            assert {"401", "403", "422"} <= operation["responses"].keys()
        if "requestBody" in operation:
            assert {"408", "413", "415"} <= operation["responses"].keys()


async def test_description_is_sound(server: Server) -> None:
    """Every reference leads somewhere, every body has an example, no name of our modules shows."""
    made = await document(server)
    text = json.dumps(made)
    for reference in set(re.findall(r'"#/([^"]+)"', text)):
        place: Any = made
        for step in reference.split("/"):
            place = place[step]
    assert "Output" not in text
    assert "HTTPValidationError" not in text
    for item in made["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = json.dumps(content["schema"])
                names = re.findall(r"#/components/schemas/(\w+)", schema)
                shown = [json.dumps(made["components"]["schemas"][name]) for name in names]
                assert "example" in content or '"example' in "".join(shown)


async def test_examples_of_the_description_are_accepted(server: Server) -> None:
    """Who copies an example from the document gets what it promises."""
    made = await document(server)
    schemas = made["components"]["schemas"]
    for tenant in schemas["TenantBody"]["examples"]:
        assert (await server.client.post("/v1/tenants", json=tenant)).status_code == 201
    for path, status in (("/v1/events", 202), ("/v1/events/batch", 202)):
        example = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert (await server.client.post(path, json=example)).status_code == status
    for endpoint in schemas["EndpointBody"]["examples"]:
        id = (await server.client.post("/v1/endpoints", json=endpoint)).json()["id"]
    for patch in schemas["EndpointPatch"]["examples"]:
        assert (await server.client.patch(f"/v1/endpoints/{id}", json=patch)).status_code == 200
    for key in schemas["KeyBody"]["examples"]:
        assert (await server.client.post("/v1/keys", json=key)).status_code == 201


async def test_page_loads_nothing_from_elsewhere(server: Server) -> None:
    """All that the page names is served by ourselves, and its policy lets a browser load nothing else."""
    page = await server.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 5
    assert not re.search(r"https?:|//", page.text)
    for reference in named:
        assert (await server.client.get(f"/{reference}")).status_code == 200, reference
    start = (await server.client.get("/docs/start.js")).text
    assert "validatorUrl: null" in start
    assert not re.search(r"https?:|//", start)
    style = (await server.client.get("/docs/swagger-ui.css")).text
    assert "@import" not in style
    assert not re.search(r"url\(['\"]?(?!data:|['\"]?data:)", style)
    assert locs(await server.client.get("/docs/..%2fmain.py"), 404) == []


def test_kinds_of_problems_are_distinct() -> None:
    """No two kinds share a name."""
    assert len({kind.name for kind in KINDS}) == len(KINDS)


async def test_type_leads_to_a_page(server: Server) -> None:
    """The type of a problem is the path of a page that says what the reference says, for everybody."""
    refused = await server.client.get("/v1/events", headers={"authorization": "Bearer tw_x"})
    page = await server.client.get(refused.json()["type"], headers={"authorization": ""})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "401 unauthorized" in page.text
    assert "<code>Authorization: Bearer tw_...</code>" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    listed = (await server.client.get(DOCS)).text
    for kind in KINDS:
        path = f"{DOCS}/{kind.name}"
        assert f'"{path}"' in listed
        text = (await server.client.get(path)).text
        assert not re.search(r"[`]|\]\(", text), kind
    assert locs(await server.client.get(f"{DOCS}/none"), 404) == []
    assert locs(await server.client.get(f"{DOCS}/%3Cb%3E"), 404) == []
