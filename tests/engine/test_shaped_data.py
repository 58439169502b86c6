"""Fields and transforms of subscriptions, from the API to the receiver."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from .conftest import Receiver, Server
from .test_api_control import URL, created, locs
from .test_api_filters import previewed

DATA: dict[str, Any] = {"order_id": "o_1", "customer": {"id": 7, "email": "a@b.example"}, "items": [{"p": 1}]}


async def publish(server: Server, data: dict[str, Any] | None = None, type: str = "order.paid") -> str:
    body = {"type": type, "data": DATA if data is None else data}
    answer = await server.client.post("/v1/events", json=body)
    assert answer.is_success, answer.text
    id: str = answer.json()["id"]
    return id


async def delivered(server: Server, event: str, state: str) -> dict[str, Any]:
    """The only delivery of an event with its attempts, once it is in this state."""
    (found,) = (await server.client.get("/v1/deliveries", params={"event": event})).json()["data"]

    async def seen() -> dict[str, Any]:
        whole: dict[str, Any] = (await server.client.get(f"/v1/deliveries/{found['id']}")).json()
        return whole

    whole = await seen()
    while whole["state"] != state:
        whole = await seen()
    return whole


async def subscribed(server: Server, receiver: Receiver, **subscription: Any) -> dict[str, Any]:
    asked = {"events": ["order.*"], **subscription}
    made = await created(server, url=receiver.url, subscriptions=[asked])
    assert asked.items() <= made["subscriptions"][0].items()
    return made


async def test_only_these_fields_are_sent(server: Server, receiver: Receiver) -> None:
    """In the envelope, signed, and nothing else of the data."""
    made = await subscribed(server, receiver, fields=["order_id", "customer.id", "nothing"])
    await publish(server)
    (request,) = await receiver.met(1)
    assert request.body.endswith(b',"data":{"order_id":"o_1","customer":{"id":7}}}')
    Webhook(made["secret"]).verify(request.body, request.headers)


async def test_the_result_of_a_transform_is_sent(server: Server, receiver: Receiver) -> None:
    """With the envelope raw it is the whole body."""
    made = await subscribed(
        server, receiver, envelope="raw", transform="{text: data.order_id, of: tenant, is: type}"
    )
    await publish(server)
    (request,) = await receiver.met(1)
    assert json.loads(request.body) == {"text": "o_1", "of": "default", "is": "order.paid"}
    Webhook(made["secret"]).verify(request.body, request.headers)


async def test_large_bodies_are_shaped_too(server: Server, receiver: Receiver) -> None:
    """Beside the event loop, with the same outcome."""
    await subscribed(server, receiver, envelope="cloudevents", transform="data.items[*].p")
    await publish(server, {"items": [{"p": n, "x": "x" * 90} for n in range(1_000)]})
    (request,) = await receiver.met(1)
    assert json.loads(request.body)["data"] == list(range(1_000))


async def test_long_work_on_small_data_is_done_too(server: Server, receiver: Receiver) -> None:
    """What takes more steps than the event loop is to wait for goes beside it, up to the bound."""
    await subscribed(server, receiver, envelope="raw", transform="data.i" + "|[@,@][]" * 10 + "|length(@)")
    await publish(server, {"i": [1, 2]})
    (request,) = await receiver.met(1)
    assert request.body == b"2048"
    too_much = [{"events": ["a.*"], "transform": "data.i" + "|[@,@][]" * 20}]
    await created(server, url=receiver.url, subscriptions=too_much)
    whole = await delivered(server, await publish(server, {"i": [1]}, type="a.b"), "exhausted")
    assert whole["last_error"] == "transform"


async def test_a_transform_that_fails_sends_nothing_and_is_not_tried_again(
    server: Server, receiver: Receiver
) -> None:
    """The attempt says why; once the transform is mended, the delivery can be made pending by hand. The receiver is
    not to blame: its circuit breaker does not count that."""
    made = await subscribed(server, receiver, transform="sum(data.items[*].name)")
    breaks = {"circuit": {"failures": 1, "probe_after_s": 3600}}
    assert (await server.client.patch(f"/v1/endpoints/{made['id']}", json=breaks)).is_success
    event = await publish(server, {"items": [{"name": "secret"}]})
    whole = await delivered(server, event, "exhausted")
    (attempt,) = whole["attempts"]
    assert (attempt["outcome"], attempt["error"], whole["last_error"]) == ("failed", "transform", "transform")
    assert receiver.requests == []
    path = f"/v1/endpoints/{made['id']}"
    better = [{"events": ["order.*"], "transform": "data.items[*].name"}]
    assert (await server.client.patch(path, json={"subscriptions": better})).is_success
    assert (await server.client.post(f"/v1/deliveries/{whole['id']}/retry")).is_success
    (request,) = await receiver.met(1)
    assert json.loads(request.body)["data"] == ["secret"]


async def test_every_attempt_has_the_same_body(server: Server, receiver: Receiver) -> None:
    """Byte for byte, while the subscription stays what it is."""
    await subscribed(server, receiver, transform="{b: data.customer, a: data.items}")
    event = await publish(server)
    (first,) = await receiver.met(1)
    (found,) = (await server.client.get("/v1/deliveries", params={"event": event})).json()["data"]
    assert (await server.client.post(f"/v1/deliveries/{found['id']}/retry")).is_success
    assert (await receiver.met(2))[1].body == first.body


@pytest.mark.parametrize(
    ("subscription", "at"),
    [
        ({"fields": []}, ["fields"]),
        ({"fields": ["a", "b..c"]}, ["fields", 1]),
        ({"fields": ["a"], "transform": "data"}, ["transform"]),
        ({"transform": "data.["}, ["transform"]),
        ({"transform": "now()"}, ["transform"]),
        ({"transform": 1}, ["transform"]),
        ({"fields": "a"}, ["fields"]),
    ],
)
async def test_what_cannot_be_done_is_refused(
    server: Server, subscription: dict[str, Any], at: list[Any]
) -> None:
    """When the subscription is made, changed or previewed; where it stands."""
    body = {"subscriptions": [{"events": ["a"], **subscription}]}
    expected = [["subscriptions", 0, *at]]
    assert locs(await server.client.post("/v1/endpoints", json={"url": URL, **body})) == expected
    made = await created(server, url=URL)
    assert locs(await server.client.patch(f"/v1/endpoints/{made['id']}", json=body)) == expected
    assert locs(await server.client.post("/v1/subscriptions/preview", json=body)) == expected


async def test_batches_send_events_whole(server: Server) -> None:
    """So a subscription that leaves something out does not go with them."""
    for shape in ({"fields": ["a"]}, {"transform": "data"}):
        body = {"url": URL, "batch": {}, "subscriptions": [{"events": ["a"], **shape}]}
        answer = await server.client.post("/v1/endpoints", json=body)
        assert locs(answer) == [["batch"]]


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"authentication": {"type": "api_key", "key": "k", "header": "CE-Id"}}, "authentication"),
        ({"authentication": {"type": "api_key", "key": "k", "header": "ce-shop"}}, "authentication"),
        ({"signing": {"legacy": [{"header": "ce-type", "secret": "s"}]}}, "signing"),
    ],
)
async def test_attributes_are_nothing_to_prove_oneself_with(
    server: Server, settings: dict[str, Any], at: str
) -> None:
    """In the binary mode of CloudEvents, headers that begin with ce- are attributes; elsewhere they are headers."""
    body: dict[str, Any] = {"subscriptions": [{"events": ["a"], "envelope": "cloudevents_binary"}]}
    answer = await server.client.post("/v1/endpoints", json={"url": URL, **body, **settings})
    assert locs(answer) == [[at]]
    made = await created(server, url=URL, events=["a"], **settings)
    assert locs(await server.client.patch(f"/v1/endpoints/{made['id']}", json=body)) == [[at]]


async def test_preview_shows_bodies(server: Server) -> None:
    """What would be sent, or why nothing; of those that match, and only where it is asked for."""
    for data in (DATA, {"order_id": 3}, {"order_id": "x" * 9_000}):
        await publish(server, data)
    await publish(server, type="user.created")
    subscription = {"events": ["order.*"], "envelope": "raw", "transform": "{long: length(data.order_id)}"}
    found = await previewed(server, subscriptions=[subscription], bodies=True)
    seen = [one["request"] for one in found["data"]]
    assert seen[0] is None
    assert seen[1] == {
        "content_type": "application/json",
        "body": '{"long":9000}',
        "size_bytes": 13,
        "error": None,
    }
    assert seen[2]["body"] is None
    assert "length takes string or array or object, and got number" in seen[2]["error"]
    assert seen[3]["body"] == '{"long":3}'
    found = await previewed(server, events=["order.*"], bodies=True)
    assert (len(found["data"][1]["request"]["body"]), found["data"][1]["request"]["size_bytes"] > 9_000) == (
        8_192,
        True,
    )
    assert json.loads(found["data"][3]["request"]["body"])["data"] == DATA
    found = await previewed(server, subscriptions=[subscription])
    assert [one["request"] for one in found["data"]] == [None] * 4
