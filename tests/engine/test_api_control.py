"""The control plane over HTTP: every route, good and bad."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from tellwire.model.endpoint_settings import DEFAULT_SETTINGS

from .conftest import WAIT_S, Receiver, Reply, Server

URL = "https://example.com/hook"
PLAIN = {"envelope": "standard", "fields": None, "transform": None}
"""The shape of a subscription that says nothing of it."""


async def created(server: Server, **fields: Any) -> dict[str, Any]:
    """A new endpoint."""
    answer = await server.client.post("/v1/endpoints", json={"url": URL} | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def locs(answer: httpx.Response, status: int = 422) -> list[list[str | int]]:
    """Where the faults of a refusal are."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [fault["loc"] for fault in answer.json().get("errors", [])]


async def delivery_in(server: Server, id: str, state: str) -> dict[str, Any]:
    """A delivery, once it is in ``state``."""
    async with asyncio.timeout(WAIT_S):
        while True:
            shown: dict[str, Any] = (await server.client.get(f"/v1/deliveries/{id}")).json()
            if shown["state"] == state:
                return shown


async def test_endpoint_is_created_shown_and_listed(server: Server) -> None:
    """The answer has every field; the secret is in the 201 alone."""
    made = await created(
        server,
        subscriptions=[
            {"events": ["order.*"], "filter": {"data": {"amount": {"$gte": 0.1}, "n": 2**70}}},
            {"events": ["invoice.paid", "order.*"]},
        ],
        description="the shop",
        headers={"X-Shop": "north"},
        metadata={"plan": "gold"},
    )
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made == {
        "id": made["id"],
        "tenant": "default",
        "url": URL,
        "description": "the shop",
        "events": ["order.*", "invoice.paid"],
        "subscriptions": [
            {"events": ["order.*"], "filter": {"data": {"amount": {"$gte": 0.1}, "n": 2**70}}, **PLAIN},
            {"events": ["invoice.paid", "order.*"], "filter": None, **PLAIN},
        ],
        "headers": {"X-Shop": "***"},
        "metadata": {"plan": "gold"},
        "state": "enabled",
        "state_reason": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        **msgspec.json.decode(msgspec.json.encode(msgspec.structs.asdict(DEFAULT_SETTINGS))),
    }
    assert (await server.client.get(f"/v1/endpoints/{made['id']}")).json() == made
    assert (await server.client.get("/v1/endpoints")).json() == {"data": [made], "next": None}
    assert (await server.client.get(f"/v1/endpoints/{made['id']}/secret")).json() == {"secret": secret}


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["url"]),
        ({"url": 1}, ["url"]),
        ({"url": "ftp://example.com"}, ["url"]),
        ({"url": "http://10.0.0.1/"}, ["url"]),
        ({"url": URL, "events": "order.*"}, ["events"]),
        ({"url": URL, "events": []}, ["events"]),
        ({"url": URL, "events": ["a", "b!"]}, ["events", 1]),
        ({"url": URL, "subscriptions": [{"events": ["a", "b!"]}]}, ["subscriptions", 0, "events", 1]),
        ({"url": URL, "subscriptions": [{"events": ["a"], "filter": 1}]}, ["subscriptions", 0, "filter"]),
        (
            {"url": URL, "subscriptions": [{"events": ["a"], "filter": {"data": {"n": {"$gt": None}}}}]},
            ["subscriptions", 0, "filter", "data", "n", "$gt"],
        ),
        (
            {"url": URL, "subscriptions": [{"events": ["a"], "filter": {"data": {"n": "x" * 4096}}}]},
            ["subscriptions", 0, "filter"],
        ),
        ({"url": URL, "events": ["a"], "subscriptions": []}, ["subscriptions"]),
        ({"url": URL, "tenant": "nobody"}, ["tenant"]),
        ({"url": URL, "headers": {"Host": "x"}}, ["headers", "Host"]),
        ({"url": URL, "headers": {"X-A": "a\r\nb"}}, ["headers", "X-A"]),
        ({"url": URL, "metadata": {"a": 1}}, ["metadata", "a"]),
        ({"url": URL, "metadata": {"a": "x" * 5000}}, ["metadata"]),
        ({"url": URL, "description": "x" * 2000}, ["description"]),
        ({"url": URL, "secret": "whsec_short"}, ["secret"]),
        ({"url": URL, "state": "paused"}, ["state"]),
    ],
)
async def test_bad_endpoint_is_refused_and_named(
    server: Server, body: dict[str, Any], loc: list[Any]
) -> None:
    """Each fault is a 422 at its place, and nothing is stored."""
    assert locs(await server.client.post("/v1/endpoints", json=body)) == [loc]
    assert (await server.client.get("/v1/endpoints")).json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [b'{"url":NaN}', b'{"url":"a","url":"b"}', b'{"url":"\xff"}', b'{"url":"\\ud800"}', b"[" * 70 + b"]" * 70, b"[]",
     b"null", b"1.5", b"", b"{"],
)  # fmt: skip
async def test_bad_json_is_refused(server: Server, body: bytes) -> None:
    """The control plane reads JSON as strictly as publishing does."""
    headers = {"content-type": "application/json"}
    for path in ("/v1/endpoints", "/v1/tenants", "/v1/keys"):
        assert len(locs(await server.client.post(path, content=body, headers=headers))) == 1


async def test_other_content_type_is_refused(server: Server) -> None:
    """415 for bodies that do not say they are JSON; a merge patch may say so too, but only to PATCH."""
    made = await created(server)
    patch = {"content-type": "application/merge-patch+json"}
    for content_type in ("text/plain", "application/merge-patch+json"):
        headers = {"content-type": content_type}
        assert (
            locs(await server.client.post("/v1/tenants", content=b'{"id":"a"}', headers=headers), 415) == []
        )
    answer = await server.client.patch(
        f"/v1/endpoints/{made['id']}", content=b'{"description":"x"}', headers=patch
    )
    assert (answer.status_code, answer.json()["description"]) == (200, "x")


async def test_values_of_headers_are_masked(server: Server, receiver: Receiver) -> None:
    """Everywhere; what was shown comes back and changes nothing, and it cannot stand for a value that there is not."""
    made = await created(server, url=receiver.url, events=["*"], headers={"X-Key": "s3cret", "X-B": "2"})
    path = f"/v1/endpoints/{made['id']}"
    masks = {"X-Key": "***", "X-B": "***"}
    assert made["headers"] == masks
    seen = [
        (await server.client.get(path)).json(),
        (await server.client.get("/v1/endpoints")).json()["data"][0],
    ]
    assert [one["headers"] for one in seen] == [masks, masks]
    assert (await server.client.patch(path, json={"headers": masks | {"x-b": "3"}})).status_code == 422
    changed = await server.client.patch(path, json={"headers": {"x-key": "***", "X-B": "3", "X-C": "4"}})
    assert changed.json()["headers"] == {"x-key": "***", "X-B": "***", "X-C": "***"}
    await server.client.post("/v1/events", json={"type": "a.b", "data": {}})
    (request,) = await receiver.met(1)
    assert [request.headers[name] for name in ("x-key", "x-b", "x-c")] == ["s3cret", "3", "4"]
    answer = await server.client.patch(path, json={"headers": {"X-New": "***"}})
    assert locs(answer) == [["headers", "X-New"]]
    answer = await server.client.post("/v1/endpoints", json={"url": URL, "headers": {"X-A": "***"}})
    assert locs(answer) == [["headers", "X-A"]]


async def test_patch_is_a_merge_patch(server: Server) -> None:
    """Null clears, what is left out stays, maps merge name by name."""
    made = await created(
        server, description="x", events=["a"], headers={"X-A": "1"}, metadata={"a": "1", "b": "2"}
    )
    path = f"/v1/endpoints/{made['id']}"
    patch = {"description": None, "metadata": {"a": None, "c": "3"}, "headers": None, "url": f"{URL}/2"}
    changed = (await server.client.patch(path, json=patch)).json()
    assert changed | {"updated_at": ""} == {name: value for name, value in made.items() if name != "secret"} | {
        "description": "", "metadata": {"b": "2", "c": "3"}, "headers": {}, "url": f"{URL}/2", "updated_at": "",
    }  # fmt: skip
    changed = (
        await server.client.patch(path, json={"subscriptions": [{"events": ["b"]}, {"events": ["c"]}]})
    ).json()
    assert (changed["events"], changed["metadata"]) == (["b", "c"], {"b": "2", "c": "3"})
    assert locs(await server.client.patch(path, json={"url": None})) == [["url"]]
    assert locs(await server.client.patch(path, json={"tenant": "x", "secret": "x"})) == [
        ["tenant"],
        ["secret"],
    ]
    assert locs(await server.client.patch("/v1/endpoints/nope", json={}), 404) == []


async def test_endpoint_is_subscribed_and_unsubscribed(server: Server) -> None:
    """Patterns are added once and taken out again; a bad one is named."""
    path = f"/v1/endpoints/{(await created(server, events=['a']))['id']}"
    for verb, events, after in [
        ("subscribe", ["b.*", "a"], ["a", "b.*"]),
        ("unsubscribe", ["a", "never"], ["b.*"]),
        ("unsubscribe", ["b.*"], []),
        ("subscribe", ["c"], ["c"]),
    ]:
        answer = await server.client.post(f"{path}/{verb}", json={"events": events})
        assert (answer.status_code, answer.json()["events"]) == (200, after)
    assert locs(await server.client.post(f"{path}/subscribe", json={"events": ["x", "-"]})) == [["events", 1]]
    assert locs(await server.client.post(f"{path}/subscribe", json={})) == [["events"]]


async def test_subscriptions_with_a_filter_are_left_alone(server: Server) -> None:
    """Subscribing and unsubscribing change the subscriptions without a filter; a patch changes all of them."""
    filtered = {"events": ["a", "b"], "filter": {"data": {"n": 1}}, **PLAIN}
    path = f"/v1/endpoints/{(await created(server, subscriptions=[filtered]))['id']}"
    for verb, events, plain in [
        ("subscribe", ["a", "a"], [["a"]]),
        ("subscribe", ["c"], [["a", "c"]]),
        ("unsubscribe", ["a", "b"], [["c"]]),
        ("unsubscribe", ["c"], []),
    ]:
        answer = (await server.client.post(f"{path}/{verb}", json={"events": events})).json()
        assert answer["subscriptions"] == [
            filtered,
            *({"events": one, "filter": None, **PLAIN} for one in plain),
        ]
    changed = {"events": ["a"], "filter": {"tenant": "x"}, **PLAIN, "envelope": "raw"}
    answer = (await server.client.patch(path, json={"subscriptions": [changed]})).json()
    assert answer["subscriptions"] == [changed]
    answer = (await server.client.patch(path, json={"events": ["a"]})).json()
    assert answer["subscriptions"] == [{"events": ["a"], "filter": None, **PLAIN}]


async def test_endpoint_is_switched(server: Server) -> None:
    """Pause, resume, disable and enable answer with the endpoint in its new state."""
    path = f"/v1/endpoints/{(await created(server))['id']}"
    for verb, state in [
        ("pause", "paused"),
        ("resume", "enabled"),
        ("disable", "disabled"),
        ("enable", "enabled"),
    ]:
        answer = await server.client.post(f"{path}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
        assert (answer.json()["state_reason"] is None) == (state == "enabled")


async def test_secret_is_rotated(server: Server) -> None:
    """A new secret is made, or taken; a bad one or a bad overlap is refused."""
    made = await created(server)
    path = f"/v1/endpoints/{made['id']}/secret"
    first = (await server.client.post(f"{path}/rotate")).json()["secret"]
    own = "whsec_" + "QUJD" * 8
    second = (await server.client.post(f"{path}/rotate", json={"secret": own, "overlap_s": 0})).json()[
        "secret"
    ]
    assert len({made["secret"], first, second}) == 3
    assert (await server.client.get(path)).json() == {"secret": own}
    for body, loc in [
        ({"overlap_s": "1"}, "overlap_s"),
        ({"overlap_s": 1.5}, "overlap_s"),
        ({"overlap_s": True}, "overlap_s"),
        ({"overlap_s": -1}, "overlap_s"),
        ({"secret": "x"}, "secret"),
        ({"since": 1}, "since"),
    ]:
        assert locs(await server.client.post(f"{path}/rotate", json=body)) == [[loc]]


async def test_integers_may_have_a_fraction_of_zero(server: Server) -> None:
    """30.0 is an integer for JSON Schema, so it is one for fields that the document calls so; 30.5 is none."""
    made = await created(server, max_in_flight=3.0, retry={"max_age_s": 3600.0, "first_s": 10.0})
    assert (made["max_in_flight"], made["retry"]["max_age_s"]) == (3, 3600)
    path = f"/v1/endpoints/{made['id']}"
    assert (await server.client.post(f"{path}/secret/rotate", json={"overlap_s": 30.0})).status_code == 200
    assert (await server.client.patch(path, json={"max_in_flight": 4.0})).json()["max_in_flight"] == 4
    assert locs(await server.client.patch(path, json={"max_in_flight": 4.5})) == [["max_in_flight"]]
    limits = {"id": "acme", "limits": {"endpoints": 1e2}}
    assert (await server.client.post("/v1/tenants", json=limits)).json()["limits"]["endpoints"] == 100


async def test_example_event_goes_to_this_endpoint_alone(server: Server, receiver: Receiver) -> None:
    """202 with the delivery; the receiver gets it although it is subscribed to nothing."""
    id = (await created(server, url=receiver.url))["id"]
    await created(server, url=f"{receiver.url}/other", events=["*"])
    answer = await server.client.post(f"/v1/endpoints/{id}/test", json={"type": "order.paid"})
    assert (answer.status_code, answer.json()["type"]) == (202, "order.paid")
    shown = await delivery_in(server, answer.json()["id"], "succeeded")
    assert [attempt["trigger"] for attempt in shown["attempts"]] == ["test"]
    assert [request.path for request in receiver.requests] == ["/hook"]
    assert (await server.client.post(f"/v1/endpoints/{id}/test")).json()["type"] == "tellwire.test"
    assert locs(await server.client.post(f"/v1/endpoints/{id}/test", json={"type": "!"})) == [["type"]]
    assert locs(await server.client.post(f"/v1/endpoints/{id}/test", json={"type": 1})) == [["type"]]


async def test_deleted_endpoint_is_gone(server: Server) -> None:
    """204, then 404 for every route of it."""
    path = f"/v1/endpoints/{(await created(server))['id']}"
    answer = await server.client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    posts = ("secret/rotate", "test", "enable", "disable", "pause", "resume")
    rest = [("GET", ""), ("DELETE", ""), ("GET", "/secret"), *(("POST", f"/{verb}") for verb in posts)]
    for method, rest_of_path in rest:
        assert locs(await server.client.request(method, path + rest_of_path), 404) == []


async def test_delivery_shows_its_evidence(server: Server, receiver: Receiver) -> None:
    """A delivery and its attempts have exactly the listed fields; odd answers are shown as text."""
    receiver.respond = lambda _: Reply(500, b"no\x00\xff", [("Set-Cookie", "a=1"), ("set-cookie", "b=2")])
    await created(server, url=receiver.url, events=["*"])
    published = (await server.client.post("/v1/events", json={"type": "order.paid", "data": {}})).json()
    async with asyncio.timeout(WAIT_S):
        while not (listed := (await server.client.get("/v1/deliveries")).json()["data"])[0]["attempt_count"]:
            pass
    shown = (await server.client.get(f"/v1/deliveries/{listed[0]['id']}")).json()
    (attempt,) = shown.pop("attempts")
    assert shown == listed[0]
    assert list(shown) == ["id", "event_id", "endpoint_id", "tenant", "type", "state", "attempt_count", "due_at",
                           "last_status_code", "last_error", "created_at", "finished_at", "waiting_for",
                           "batch_id", "waiting_until"]  # fmt: skip
    assert (shown["event_id"], shown["state"], shown["last_status_code"]) == (published["id"], "pending", 500)
    assert list(attempt) == ["id", "number", "started_at", "duration_ms", "outcome", "status_code", "error",
                             "response_headers", "response_body", "trigger"]  # fmt: skip
    assert (attempt["outcome"], attempt["status_code"], attempt["error"]) == ("failed", 500, None)
    assert attempt["response_headers"]["set-cookie"] == "a=1, b=2"
    assert attempt["response_body"] == "no\x00\ufffd"
    assert (attempt["number"], attempt["trigger"]) == (1, "schedule")


async def test_delivery_is_retried_and_cancelled(server: Server, receiver: Receiver) -> None:
    """A retry sends it again at once; a cancelled one stays so; what cannot be is a conflict."""
    receiver.respond = lambda _: Reply(500)
    await created(server, url=receiver.url, events=["*"])
    await server.client.post("/v1/events", json={"type": "a", "data": {}})
    await receiver.met(1)
    id = (await server.client.get("/v1/deliveries")).json()["data"][0]["id"]
    receiver.respond = lambda _: Reply(200)
    answer = await server.client.post(f"/v1/deliveries/{id}/retry")
    assert (answer.status_code, answer.json()["state"]) == (200, "pending")
    await delivery_in(server, id, "succeeded")
    assert locs(await server.client.post(f"/v1/deliveries/{id}/cancel"), 409) == []
    await server.client.post(f"/v1/endpoints/{answer.json()['endpoint_id']}/pause")
    await server.client.post(f"/v1/deliveries/{id}/retry")
    assert (await server.client.post(f"/v1/deliveries/{id}/cancel")).json()["state"] == "cancelled"
    assert locs(await server.client.post(f"/v1/deliveries/{id}/retry"), 409) == []
