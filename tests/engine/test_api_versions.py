"""Versions over HTTP: who changes what somebody else has changed meanwhile is told, and nothing is lost."""

import asyncio
from typing import Any

import pytest

from .conftest import Server
from .test_api_control import URL, locs

MADE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/v1/endpoints", {"url": URL}, {"description": "d"}),
    ("/v1/tenants", {"id": "acme"}, {"name": "Acme"}),
    ("/v1/keys", {"name": "n"}, {}),
]


async def made(server: Server, path: str, body: dict[str, Any]) -> str:
    answer = await server.client.post(path, json=body)
    assert answer.status_code == 201
    return f"{path}/{answer.json()['id']}"


@pytest.mark.parametrize(("path", "body", "patch"), MADE[:2])
async def test_lost_updates_are_refused(
    server: Server, path: str, body: dict[str, Any], patch: dict[str, Any]
) -> None:
    """A change of the version that was seen passes, and gives the next; of an older one it is refused, with 412."""
    thing = await made(server, path, body)
    seen = (await server.client.get(thing)).headers["etag"]
    changed = await server.client.patch(thing, json=patch, headers={"if-match": seen})
    assert changed.status_code == 200
    assert changed.headers["etag"] != seen
    assert (await server.client.get(thing)).headers["etag"] == changed.headers["etag"]
    for request in ({"method": "PATCH", "json": {"metadata": {"a": "1"}}}, {"method": "DELETE"}):
        refused = await server.client.request(url=thing, headers={"if-match": seen}, **request)
        assert locs(refused, 412) == []
        assert refused.json()["type"].endswith("precondition-failed")
    now = await server.client.get(thing)
    assert (now.headers["etag"], now.json()["metadata"]) == (changed.headers["etag"], {})
    either = {"if-match": f'{seen}, W/"x", "y,z", {changed.headers["etag"]}'}
    assert (await server.client.patch(thing, json={"metadata": {"a": "1"}}, headers=either)).is_success
    assert (await server.client.delete(thing, headers={"if-match": "*"})).is_success


async def test_of_two_at_once_one_wins(server: Server) -> None:
    """The version is compared inside the transaction."""
    thing = await made(server, "/v1/endpoints", {"url": URL})
    seen = (await server.client.get(thing)).headers["etag"]
    answers = await asyncio.gather(
        *(
            server.client.patch(thing, json={"description": f"d{n}"}, headers={"if-match": seen})
            for n in range(10)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    (winner,) = [answer.json()["description"] for answer in answers if answer.status_code == 200]
    assert (await server.client.get(thing)).json()["description"] == winner


async def test_a_revoked_key_has_another_version(server: Server) -> None:
    """Being used does not change a key, being revoked does."""
    answer = await server.client.post("/v1/keys", json={"name": "n"})
    thing = f"/v1/keys/{answer.json()['id']}"
    seen = (await server.client.get(thing)).headers["etag"]
    await server.client.get("/v1/events", headers={"authorization": f"Bearer {answer.json()['key']}"})
    await server.tellwire.keys.last_uses.write()
    assert (await server.client.get(thing)).headers["etag"] == seen
    assert (await server.client.delete(thing, headers={"if-match": seen})).status_code == 204
    assert (await server.client.delete(thing, headers={"if-match": seen})).status_code == 412


@pytest.mark.parametrize(("path", "body", "patch"), MADE)
async def test_what_is_known_is_not_sent_again(
    server: Server, path: str, body: dict[str, Any], patch: dict[str, Any]
) -> None:
    """304 without a body for a version that is known already, also by HEAD; the whole for any other."""
    thing = await made(server, path, body)
    seen = (await server.client.get(thing)).headers["etag"]
    for known in (seen, f"W/{seen}", f'"x",{seen}', f'"a,b" , W/"," ,{seen}', "*"):
        for method in ("GET", "HEAD"):
            answer = await server.client.request(method, thing, headers={"if-none-match": known})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", seen)
    assert (await server.client.get(thing, headers={"if-none-match": '"x"'})).status_code == 200
    assert (await server.client.get(path, headers={"if-none-match": "*"})).status_code == 200


async def test_headers_that_cannot_be_heeded_are_refused(server: Server) -> None:
    """A malformed tag, and a version where nothing has one: not heeding it would be worse than refusing."""
    thing = await made(server, "/v1/endpoints", {"url": URL})
    for bad in ("x", '"', "", '"a" "b"', "*, *", ", ".join(['"x"'] * 21)):
        answer = await server.client.patch(thing, json={}, headers={"if-match": bad})
        assert locs(answer) == [["If-Match"]]
        assert locs(await server.client.get(thing, headers={"if-none-match": bad})) == [["If-None-Match"]]
    for method, path in (
        ("POST", f"{thing}/pause"),
        ("GET", thing),
        ("POST", "/v1/endpoints"),
        ("GET", "/v1/keys"),
    ):
        answer = await server.client.request(method, path, headers={"if-match": '"x"'})
        assert locs(answer) == [["If-Match"]]
