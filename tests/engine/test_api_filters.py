"""Filters tried out over HTTP, and subscriptions previewed on the last events."""

from typing import Any

import pytest

from .conftest import Server
from .test_api_control import created, locs

LARGE = {"data": {"amount": {"$gte": 1000}}}


async def tried(server: Server, **asked: Any) -> dict[str, Any]:
    """What the test of a filter answers."""
    answer = await server.client.post("/v1/filters/test", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def published(server: Server, type: str, tenant: str = "default", **data: Any) -> str:
    """The id of a new event."""
    answer = await server.client.post("/v1/events", json={"type": type, "tenant": tenant, "data": data})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id


async def previewed(server: Server, **asked: Any) -> dict[str, Any]:
    """What a preview answers."""
    answer = await server.client.post("/v1/subscriptions/preview", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_filter_is_tested_on_a_described_event(server: Server) -> None:
    """The answer says whether it matches, and of each condition where it was asked and what was found."""
    assert await tried(server, filter=LARGE, type="order.paid", data={"amount": 4200}) == {
        "matches": True,
        "reasons": [
            {
                "path": ["data", "amount"],
                "condition": {"$gte": 1000},
                "matches": True,
                "msg": "4200 is at least 1000",
            }
        ],
    }
    filter = {"type": {"$startsWith": "order."}, "tenant": "acme", "data": {"a": 1, "b": {"$gt": 5}}}
    found = await tried(server, filter=filter, type="order.paid", data={"b": "x"})
    assert found["matches"] is False
    assert [(reason["path"], reason["matches"], reason["msg"]) for reason in found["reasons"]] == [
        (["type"], True, '"order.paid" starts with "order."'),
        (["tenant"], False, '"default" is not "acme"'),
        (["data", "a"], False, "is not there"),
        (["data", "b"], False, '"x" is a string, which is never compared with 5'),
    ]


async def test_numbers_keep_their_digits(server: Server) -> None:
    """What no double could tell apart is told apart, in the data as it was sent."""
    for number, matches in [("0.1", True), ("0.1000000000000000000001", False), ("1e-1", True)]:
        body = f'{{"filter":{{"data":{{"n":0.1}}}},"data":{{"n":{number}}}}}'
        answer = await server.client.post(
            "/v1/filters/test", content=body, headers={"content-type": "application/json"}
        )
        assert answer.json()["matches"] is matches


@pytest.mark.parametrize(
    ("condition", "data", "msg"),
    [
        ({"x": {"sku": "b"}}, {"x": [{"sku": "a"}, {"sku": "c"}]}, "none of the 2 elements is so"),
        ({"x": ["a", "b"]}, {"x": ["a"]}, "none of the 1 elements is so"),
        ({"x": ["a"]}, {"x": "a"}, '"a" is no array'),
        ({"x": {"y": 1}}, {"x": 5}, "5 is no object"),
        ({"x": {"$not": 5}}, {"x": 5}, "what must not be so is so"),
        ({"x": {"$exist": False}}, {"x": None}, "is there"),
        ({"x": {"$nin": [1, 2]}}, {"x": 2}, "2 is one of [1,2]"),
        ({"$or": [{"x": 1}, {"x": 2}]}, {"x": 3}, "3 is not 1"),
        ({"x": {"$contains": "z"}}, {"x": "y" * 100}, '"' + "y" * 60 + '... does not contain "z"'),
    ],
)
async def test_the_reason_is_told(server: Server, condition: Any, data: dict[str, Any], msg: str) -> None:
    """For each kind of condition, there is a sentence why it is not fulfilled."""
    found = await tried(server, filter={"data": condition}, data=data)
    assert found["matches"] is False
    assert msg in [reason["msg"] for reason in found["reasons"] if not reason["matches"]]


async def test_a_filter_is_tested_on_a_stored_event(server: Server) -> None:
    """An event is named by its id; one that is not there is a 404."""
    id = await published(server, "order.paid", amount=999)
    assert (await tried(server, filter=LARGE, event=id))["matches"] is False
    assert (await tried(server, filter={"type": "order.paid"}, event=id))["matches"] is True
    answer = await server.client.post("/v1/filters/test", json={"filter": LARGE, "event": "evt_nope"})
    assert locs(answer, 404) == []


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["filter"]),
        ({"filter": 1}, ["filter"]),
        ({"filter": {"amount": 1}}, ["filter", "amount"]),
        ({"filter": {"data": {"x": {"$in": 5}}}}, ["filter", "data", "x", "$in"]),
        ({"filter": {}, "event": "evt_1", "data": {}}, ["event"]),
        ({"filter": {}, "type": "no type"}, ["type"]),
        ({"filter": {}, "data": []}, ["data"]),
        ({"filter": {}, "other": 1}, ["other"]),
    ],
)
async def test_a_bad_test_is_refused(server: Server, body: dict[str, Any], loc: list[Any]) -> None:
    """Each fault is named at its place."""
    assert locs(await server.client.post("/v1/filters/test", json=body)) == [loc]


async def test_subscriptions_are_previewed(server: Server) -> None:
    """Newest first, each of the last events with whether it would have been received, and why or why not."""
    await server.client.post("/v1/tenants", json={"id": "acme"})
    await published(server, "order.paid", tenant="acme", amount=5000)
    ids = [
        await published(server, "invoice.paid", amount=1),
        await published(server, "order.paid", amount=1),
        await published(server, "order.paid", amount=2000),
        await published(server, "user.created"),
    ]
    subscriptions = [{"events": ["order.*"], "filter": LARGE}, {"events": ["invoice.*"]}]
    found = await previewed(server, subscriptions=subscriptions)
    none = [{"subscription": n, "path": ["type"], "msg": "has no pattern for user.created"} for n in (0, 1)]
    assert [(one["id"], one["matches"], one["reasons"]) for one in found["data"]] == [
        (ids[3], False, none),
        (ids[2], True, [{"subscription": 0, "path": ["data", "amount"], "msg": "2000 is at least 1000"}]),
        (ids[1], False, [{"subscription": 0, "path": ["data", "amount"], "msg": "1 is less than 1000"}]),
        (ids[0], True, [{"subscription": 1, "path": ["type"], "msg": "invoice.paid is wanted, whatever its data"}]),
    ]  # fmt: skip
    assert found["matched"] == 2
    assert (await previewed(server, events=["*"], limit=2))["matched"] == 2
    assert (await previewed(server, events=["*"], tenant="acme"))["matched"] == 1


async def test_an_endpoint_is_previewed(server: Server) -> None:
    """An endpoint with the subscriptions that it has, or with others, on the events of its own tenant."""
    await server.client.post("/v1/tenants", json={"id": "acme"})
    made = await created(server, tenant="acme", subscriptions=[{"events": ["order.*"], "filter": LARGE}])
    await published(server, "order.paid", amount=5000)
    await published(server, "order.paid", tenant="acme", amount=999)
    await published(server, "order.paid", tenant="acme", amount=1000)
    found = await previewed(server, endpoint=made["id"])
    assert [one["matches"] for one in found["data"]] == [True, False]
    assert (await previewed(server, endpoint=made["id"], events=["order.paid"]))["matched"] == 2
    answer = await server.client.post("/v1/subscriptions/preview", json={"endpoint": "ep_nope"})
    assert locs(answer, 404) == []


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["subscriptions"]),
        ({"events": ["a"], "subscriptions": []}, ["subscriptions"]),
        ({"events": ["-"]}, ["events", 0]),
        ({"subscriptions": [{"events": ["a"], "filter": {"x": 1}}]}, ["subscriptions", 0, "filter", "x"]),
        ({"events": ["a"], "tenant": "nobody"}, ["tenant"]),
        ({"endpoint": "ep_1", "tenant": "default"}, ["tenant"]),
        ({"events": ["a"], "limit": 0}, ["limit"]),
        ({"events": ["a"], "limit": 251}, ["limit"]),
    ],
)
async def test_a_bad_preview_is_refused(server: Server, body: dict[str, Any], loc: list[Any]) -> None:
    """Each fault is named at its place."""
    answer = await server.client.post("/v1/subscriptions/preview", json=body)
    assert loc in locs(answer)
