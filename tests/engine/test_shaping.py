"""The shape of requests: envelopes and methods, each of them signed over the bytes that are sent."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from .conftest import Received, Receiver, Server
from .test_api_control import URL, created, locs

DATA = b'{"amount": 1.10, "n": 12345678901234567890.123456789, "name": "\xc3\x85sa"}'


async def published(server: Server, receiver: Receiver, type: str = "order.paid") -> Received:
    """The request that one more event makes."""
    before = len(receiver.requests)
    content = b'{"type":"%b","data":%b}' % (type.encode(), DATA)
    answer = await server.client.post(
        "/v1/events", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 201, 202), answer.text
    return (await receiver.met(before + 1))[before]


def verified(request: Received, secret: str) -> None:
    Webhook(secret).verify(request.body, request.headers)


async def shaped(server: Server, receiver: Receiver, envelope: str, **more: Any) -> dict[str, Any]:
    subscriptions = [{"events": ["order.*"], "envelope": envelope}]
    return await created(server, url=receiver.url, subscriptions=subscriptions, **more)


async def test_raw_is_the_data_as_published(server: Server, receiver: Receiver) -> None:
    """Byte for byte, with every digit, and signed."""
    made = await shaped(server, receiver, "raw")
    assert made["subscriptions"][0]["envelope"] == "raw"
    request = await published(server, receiver)
    assert request.body == DATA
    assert request.headers["content-type"] == "application/json"
    verified(request, made["secret"])


async def test_cloudevents_as_one_document(server: Server, receiver: Receiver) -> None:
    """Attributes beside the untouched data, with a media type of its own."""
    made = await shaped(server, receiver, "cloudevents")
    request = await published(server, receiver)
    verified(request, made["secret"])
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.body.endswith(b',"data":' + DATA + b"}")
    event = json.loads(request.body)
    assert event["id"] == request.headers["webhook-id"]
    assert (event["specversion"], event["source"], event["type"]) == (
        "1.0", "/tenants/default", "order.paid",
    )  # fmt: skip


async def test_cloudevents_in_headers(server: Server, receiver: Receiver) -> None:
    """The attributes are headers, which custom ones do not replace; other such headers are extensions."""
    headers = {"CE-Id": "mine", "ce-shop": "north"}
    made = await shaped(server, receiver, "cloudevents_binary", headers=headers)
    request = await published(server, receiver)
    verified(request, made["secret"])
    assert request.body == DATA
    assert [value for name, value in request.raw_headers if name == "ce-id"] == [
        request.headers["webhook-id"]
    ]
    assert request.headers["ce-type"] == "order.paid"
    assert request.headers["ce-shop"] == "north"


async def test_every_attempt_has_the_same_body(server: Server, receiver: Receiver) -> None:
    """What is sent again is what was sent before; a change of the envelope holds from the next attempt on."""
    made = await shaped(server, receiver, "cloudevents")
    first = await published(server, receiver)
    delivery = (await server.client.get("/v1/deliveries")).json()["data"][0]["id"]
    again = await server.client.post(f"/v1/deliveries/{delivery}/retry")
    assert again.is_success, again.text
    assert (await receiver.met(2))[1].body == first.body
    path = f"/v1/endpoints/{made['id']}"
    changed = await server.client.patch(path, json={"subscriptions": [{"events": ["order.*"]}]})
    assert changed.json()["subscriptions"][0]["envelope"] == "standard"
    assert (await published(server, receiver)).body.startswith(b'{"type":"order.paid"')


async def test_an_example_event_has_the_shape_of_the_first_subscription(
    server: Server, receiver: Receiver
) -> None:
    """So a consumer can be tried out before anything happens."""
    made = await shaped(server, receiver, "cloudevents_binary")
    await server.client.post(f"/v1/endpoints/{made['id']}/test")
    request = (await receiver.met(1))[0]
    assert request.headers["ce-type"] == "tellwire.test"


async def test_patterns_come_and_go_and_the_envelope_stays(server: Server, receiver: Receiver) -> None:
    """Subscribing widens a subscription, which keeps its form."""
    made = await shaped(server, receiver, "raw")
    path = f"/v1/endpoints/{made['id']}"
    for action in ("subscribe", "unsubscribe"):
        answer = await server.client.post(f"{path}/{action}", json={"events": ["a.b"]})
        assert answer.is_success, answer.text
        assert answer.json()["subscriptions"][0]["envelope"] == "raw"


@pytest.mark.parametrize("bad", ["xml", "", 1, {"raw": True}])
async def test_an_envelope_that_there_is_not_is_refused(server: Server, bad: object) -> None:
    """Where it stands."""
    subscriptions = [{"events": ["a"], "envelope": bad}]
    answer = await server.client.post("/v1/endpoints", json={"url": URL, "subscriptions": subscriptions})
    assert locs(answer) == [["subscriptions", 0, "envelope"]]


async def test_a_method_of_its_own(server: Server, receiver: Receiver) -> None:
    """PUT, with all that a POST has; null takes it back."""
    made = await created(server, url=receiver.url, events=["*"], method="PUT")
    request = await published(server, receiver)
    assert request.method == "PUT"
    verified(request, made["secret"])
    path = f"/v1/endpoints/{made['id']}"
    authentication = {"type": "bearer", "token": "abc"}
    await server.client.patch(path, json={"authentication": authentication})
    request = await published(server, receiver)
    assert (request.method, request.headers["authorization"]) == ("PUT", "Bearer abc")
    assert (await server.client.patch(path, json={"method": None})).json()["method"] == "POST"
    assert (await published(server, receiver)).method == "POST"
    assert locs(await server.client.patch(path, json={"method": "GET"})) == [["method"]]


async def test_a_new_subscription_takes_the_envelope_of_its_tenant(
    server: Server, receiver: Receiver
) -> None:
    """However it is made: with the endpoint, by a patch, by subscribing. One that says its own keeps that."""
    await server.client.patch("/v1/tenants/default", json={"defaults": {"envelope": "cloudevents"}})
    made = await created(server, url=receiver.url, events=["order.*"])
    path = f"/v1/endpoints/{made['id']}"
    assert made["subscriptions"][0]["envelope"] == "cloudevents"
    request = await published(server, receiver)
    assert request.headers["content-type"] == "application/cloudevents+json"
    both = {"subscriptions": [{"events": ["a"], "envelope": "standard"}, {"events": ["b"], "envelope": None}]}
    changed = (await server.client.patch(path, json=both)).json()["subscriptions"]
    assert [one["envelope"] for one in changed] == ["standard", "cloudevents"]
    await server.client.patch(path, json={"subscriptions": []})
    subscribed = await server.client.post(f"{path}/subscribe", json={"events": ["c"]})
    assert [one["envelope"] for one in subscribed.json()["subscriptions"]] == ["cloudevents"]
    body: dict[str, Any] = {"subscriptions": [{"events": ["order.*"]}], "bodies": True}
    (previewed,) = (await server.client.post("/v1/subscriptions/preview", json=body)).json()["data"]
    assert previewed["request"]["content_type"] == "application/cloudevents+json"


async def test_subscriptions_that_are_there_keep_their_envelope(server: Server, receiver: Receiver) -> None:
    """Receivers read the form that they have always got, whatever their tenant's default becomes."""
    made = await created(server, url=receiver.url, events=["order.*"])
    await server.client.patch("/v1/tenants/default", json={"defaults": {"envelope": "raw"}})
    request = await published(server, receiver)
    assert json.loads(request.body)["type"] == "order.paid"
    path = f"/v1/endpoints/{made['id']}"
    shown = (await server.client.get(path)).json()
    assert shown["subscriptions"][0]["envelope"] == "standard"
    again = await server.client.patch(path, json={"subscriptions": shown["subscriptions"]})
    assert again.json()["subscriptions"] == shown["subscriptions"]
    wider = await server.client.post(f"{path}/subscribe", json={"events": ["more"]})
    assert wider.json()["subscriptions"][0]["envelope"] == "standard"


async def test_an_envelope_by_default_has_to_suit_the_endpoint(server: Server, receiver: Receiver) -> None:
    """What cannot be together is refused with the same words as if it had been asked for; nothing is stored."""
    await server.client.patch("/v1/tenants/default", json={"defaults": {"envelope": "raw"}})
    body: dict[str, Any] = {"url": receiver.url, "events": ["a"], "batch": {}}
    answer = await server.client.post("/v1/endpoints", json=body)
    assert locs(answer) == [["batch"]]
    assert "envelope is raw" in answer.json()["errors"][0]["msg"]
    body["subscriptions"] = [{"events": ["a"], "envelope": "standard"}]
    del body["events"]
    made = await created(server, **body)
    await server.client.patch(f"/v1/endpoints/{made['id']}", json={"subscriptions": []})
    answer = await server.client.post(f"/v1/endpoints/{made['id']}/subscribe", json={"events": ["b"]})
    assert locs(answer) == [["batch"]]
    wrong = await server.client.patch("/v1/tenants/default", json={"defaults": {"envelope": "xml"}})
    assert locs(wrong) == [["defaults", "envelope"]]
    cleared = await server.client.patch("/v1/tenants/default", json={"defaults": {"envelope": None}})
    assert cleared.json()["defaults"] == {"retry": None, "envelope": None}
