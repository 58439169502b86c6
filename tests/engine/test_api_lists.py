"""Lists over HTTP: pages that add up to everything, filters, and queries that are refused."""

from typing import Any

import pytest

from .conftest import Server
from .test_api_control import URL, created, locs


async def everything(server: Server, path: str, **query: str) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    items: list[dict[str, Any]] = []
    while True:
        page = (await server.client.get(path, params=query)).json()
        assert page.keys() == {"data", "next"}
        assert len(page["data"]) <= int(query["limit"])
        items += page["data"]
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]


@pytest.fixture
async def filled(server: Server) -> Server:
    """A server with 23 of each noun; deliveries wait because the endpoints are paused."""
    for number in range(23):
        tenant = "default" if number < 3 else "acme"
        if number == 3:
            await server.client.post("/v1/tenants", json={"id": "acme"})
        await server.client.post("/v1/keys", json={"name": f"k{number}"})
        await server.client.post("/v1/tenants", json={"id": f"t{number}"})
        made = await created(server, tenant=tenant, events=[f"a.b{number}"])
        await server.client.post(f"/v1/endpoints/{made['id']}/pause")
        await server.client.post("/v1/events", json={"type": f"a.b{number}", "data": {}, "tenant": tenant})
    return server


async def test_pages_add_up_to_everything(filled: Server) -> None:
    """Whatever the page size, every item comes once, in the list's order."""
    for noun, count in [("events", 23), ("endpoints", 23), ("deliveries", 23), ("keys", 23), ("tenants", 25)]:
        whole = await everything(filled, f"/v1/{noun}", limit="250")
        ids = [item["id"] for item in whole]
        assert len(ids) == len(set(ids)) == count
        assert ids == sorted(ids, reverse=noun != "tenants")
        for limit in ("1", "7", "23"):
            assert await everything(filled, f"/v1/{noun}", limit=limit) == whole


async def test_filters_narrow_lists(filled: Server) -> None:
    """Tenant, type, state, endpoint, event and times narrow a list; together they narrow it further."""
    deliveries = await everything(filled, "/v1/deliveries", limit="250")
    one, middle = deliveries[5], deliveries[10]["created_at"]
    later = [item["id"] for item in deliveries if item["created_at"] >= middle]
    for query, expected in [
        ({"tenant": "default"}, [item["id"] for item in deliveries[-3:]]),
        ({"type": "a.*"}, [item["id"] for item in deliveries]),
        ({"type": one["type"]}, [one["id"]]),
        ({"type": "b.*"}, []),
        ({"state": "pending", "tenant": "default"}, [item["id"] for item in deliveries[-3:]]),
        ({"state": "succeeded"}, []),
        ({"endpoint": one["endpoint_id"]}, [one["id"]]),
        ({"event": one["event_id"]}, [one["id"]]),
        ({"since": middle}, later),
        ({"until": middle}, [item["id"] for item in deliveries if item["id"] not in later]),
    ]:
        found = await everything(filled, "/v1/deliveries", limit="250", **query)
        assert [item["id"] for item in found] == expected, query
    events = await everything(filled, "/v1/events", limit="9", type="a.b1", tenant="default")
    assert [event["type"] for event in events] == ["a.b1"]
    assert "data" not in events[0]
    assert len(await everything(filled, "/v1/endpoints", limit="9", tenant="acme")) == 20


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("limit=0", "limit"), ("limit=251", "limit"), ("limit=-1", "limit"), ("limit=1.0", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"), ("limit=1_0", "limit"), ("limit=1&limit=1", "limit"), ("limit=99999999999", "limit"),
        ("cursor=", "cursor"), ("cursor=*", "cursor"), ("cursor=%ff", "cursor"),
        ("page=2", "page"), ("Limit=5", "Limit"),
    ],
)  # fmt: skip
async def test_bad_page_is_refused(server: Server, query: str, loc: str) -> None:
    """Every list refuses limits and cursors that are none, and parameters that it does not know."""
    for noun in ("events", "endpoints", "deliveries", "replays", "tenants", "keys"):
        assert locs(await server.client.get(f"/v1/{noun}?{query}")) == [[loc]]


@pytest.mark.parametrize(
    ("query", "loc"),
    [("type=a.!", "type"), ("state=running", "state"), ("since=2026-01-31", "since"), ("until=0", "until"),
     ("since=2026-01-31T09:30:00", "since")],
)  # fmt: skip
async def test_bad_filter_is_refused(server: Server, query: str, loc: str) -> None:
    """A filter that can match nothing because it is malformed is a 422, not an empty list."""
    assert locs(await server.client.get(f"/v1/deliveries?{query}")) == [[loc]]


async def test_routes_without_a_query_refuse_one(server: Server) -> None:
    """A parameter that a route does not take is refused before anything is done."""
    made = await created(server)
    path = f"/v1/endpoints/{made['id']}"
    assert locs(await server.client.get(f"{path}?expand=1")) == [["expand"]]
    assert locs(await server.client.delete(f"{path}?force=1")) == [["force"]]
    assert locs(await server.client.post("/v1/endpoints?x=1", json={"url": URL})) == [["x"]]
    event = {"type": "a.b", "data": {}}
    assert locs(await server.client.post("/v1/events?x=1&y", json=event)) == [["x"], ["y"]]
    assert locs(await server.client.post("/v1/events/batch?x=1", json={"events": [event]})) == [["x"]]
    assert len((await server.client.get("/v1/endpoints")).json()["data"]) == 1


@pytest.mark.parametrize(
    "id", ["x", "evt_", "evt_x", "ep_01m8572nsqe9s9cxpe1th23b1x", "%00", "a%2Fb", "%ff", "x" * 3000]
)
async def test_malformed_and_unknown_ids_are_not_found(server: Server, id: str) -> None:
    """An id that is none, and one that is not there, are 404 alike."""
    for noun in ("events", "endpoints", "deliveries", "tenants", "keys"):
        assert locs(await server.client.get(f"/v1/{noun}/{id}"), 404) == []
