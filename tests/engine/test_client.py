"""The Python client and a running server: every call, every error, and what it does about trouble."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tellwire import (
    ClosedError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    Options,
    RemoteError,
    SettingsError,
    StoreUnavailableError,
    Subscription,
    Tellwire,
    UnauthorizedError,
)
from tellwire.client import Client, SyncClient, wire
from tellwire.model.delivery import State
from tellwire.model.event_type import EventType
from tellwire.model.key import Scope
from tellwire.model.tenant import TenantLimits

from ..proxy import Link, Proxy
from .conftest import ADMIN_KEY, LOOPBACK, Received, Receiver, Reply, Server

URL = "https://example.com/hook"


@pytest.fixture
def options() -> Options:
    """Nothing is delivered: what is published waits to be looked at."""
    return Options(admin_key=ADMIN_KEY, egress=LOOPBACK, deliver=False)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url, server.key) as client:
        yield client


async def test_publishing(client: Client, tellwire: Tellwire) -> None:
    """Data arrives byte for byte; without a key of one's own each event has one; times and tenants are kept."""
    raw = b'{"b": 1.10, "a": [1e2]}'
    receipt = await client.publish("order.paid", raw)
    stored = await client.events.get(receipt.id)
    assert (stored.data, stored.type, stored.tenant) == (raw, "order.paid", "default")
    assert (stored.idempotency_key or "").startswith("client_")
    at = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    first = await client.publish("a.b", {"n": 1}, idempotency_key="k", occurred_at=at)
    again = await client.publish("a.b", {"n": 1}, idempotency_key="k", occurred_at=at)
    assert (again.id, again.duplicate, first.occurred_at) == (first.id, True, at)
    with pytest.raises(ConflictError):
        await client.publish("a.b", {"n": 2}, idempotency_key="k")
    in_order = await client.publish("a.b", {}, ordering_key="o_1")
    assert (await client.events.get(in_order.id)).ordering_key == "o_1"
    many = await client.publish_many(
        [{"type": "a.b", "data": {}}, {"type": "a.c", "data": {}, "ordering_key": "o_2"}]
    )
    assert (await client.events.get(many[1].id)).ordering_key == "o_2"
    assert [one.type for one in many] == ["a.b", "a.c"]
    assert await client.publish_many([]) == []
    assert [one.id for one in (await client.events.list(type="a.c")).data] == [many[1].id]
    assert await tellwire.events.get(receipt.id) == stored


async def test_endpoints(client: Client, tellwire: Tellwire) -> None:
    """What the client says of an endpoint is what the hub says, after each change; but it sees no secrets."""
    wanted = [
        Subscription(("order.*",), {"data": {"amount": {"$gte": 1000}}}),
        Subscription(("a.b",), fields=("a.b", "c")),
        Subscription(("c.d",), transform="{a: data.b}"),
    ]
    endpoint, secret = await client.endpoints.create(
        URL, subscriptions=wanted, description="d", headers={"X-A": "1"}, metadata={"m": "2"},
        settings={"user_agent": "me/1"},
    )  # fmt: skip
    id = endpoint.id
    known = await tellwire.endpoints.get(id)
    assert endpoint == await client.endpoints.get(id) == replace(known, headers={"X-A": "***"})
    assert endpoint.settings.user_agent == "me/1"
    assert await client.endpoints.secret(id) == secret
    assert await client.endpoints.rotate_secret(id, overlap_s=0) == await tellwire.endpoints.secret(id)
    changed = await client.endpoints.update(id, {"description": None, "user_agent": None, "events": ["x"]})
    assert (changed.description, changed.settings.user_agent) == ("", None)
    assert (await client.endpoints.subscribe(id, ["y"])).subscriptions[0].events == ("x", "y")
    assert (await client.endpoints.unsubscribe(id, ["x"])).subscriptions[0].events == ("y",)
    for name in ("pause", "resume", "disable", "enable"):
        await getattr(client.endpoints, name)(id)
    delivery = await client.endpoints.test(id, type="order.paid")
    assert (delivery.type, delivery.state) == ("order.paid", State.PENDING)
    assert (await client.deliveries.get(delivery.id)) == (delivery, [])
    assert (await client.deliveries.list(state=State.PENDING)).data == [delivery]
    assert (await client.deliveries.retry(delivery.id)).id == delivery.id
    assert (await client.deliveries.cancel(delivery.id)).state is State.CANCELLED
    replay = await client.replays.start(id, since=datetime.now(UTC) - timedelta(hours=1), dry_run=True)
    assert (await client.replays.list(endpoint=id)).data == [await client.replays.get(replay.id)]
    assert (await client.replays.cancel(replay.id)).reason == "cancelled by hand"
    assert (await client.stats.endpoint(id)).endpoint_id == id
    assert (await client.stats.all(by="day")).by == "day"
    await client.endpoints.delete(id)
    with pytest.raises(NotFoundError) as absent:
        await client.endpoints.get(id)
    assert (absent.value.kind, absent.value.id) == ("endpoint", id)


async def test_control_plane(client: Client, server: Server, tellwire: Tellwire) -> None:
    """Tenants, keys, tokens, the audit log, the catalogue and filters, each as the hub tells them."""
    tenant = await client.tenants.create("acme", metadata={"a": "b"}, limits=TenantLimits(endpoints=5))
    assert tenant == await tellwire.tenants.get("acme") == await client.tenants.get("acme")
    assert (await client.tenants.update("acme", {"name": "A"})).name == "A"
    assert [one.id for one in (await client.tenants.list()).data] == ["acme", "default"]
    token = await client.tokens.portal("acme", ["endpoints:read"], subject="u")
    async with Client(server.url, token.token) as portal:
        assert (await portal.endpoints.list()).data == []
        with pytest.raises(ForbiddenError):
            await portal.audit.list()
    key, text = await client.keys.create("n", scopes=["read"], tenant="acme")
    assert (key.scopes, key.tenant) == ((Scope.READ,), "acme")
    async with Client(server.url, text) as reader:
        with pytest.raises(ForbiddenError) as forbidden:
            await reader.publish("a.b", {})
        assert forbidden.value.scope == "publish"
    newer, _ = await client.keys.rotate(key.id)
    assert {one.id for one in (await client.keys.list()).data} == {key.id, newer.id}
    assert (await client.keys.revoke(key.id)).revoked_at is not None
    kind, is_new = await client.event_types.put("a.b", schema={"type": "object"}, examples=[{"a": 0.5}])
    assert (kind, is_new) == (await tellwire.event_types.get("a.b"), True)
    assert isinstance(kind, EventType)
    assert (await client.event_types.put("a.b"))[1] is False
    assert [one.name for one in (await client.event_types.list()).data] == ["a.b"]
    await client.event_types.delete("a.b")
    receipt = await client.publish("a.b", {"n": 5})
    found = await client.filters.test({"data": {"n": {"$gt": 3}}}, event=receipt.id)
    assert found == await tellwire.filters.test({"data": {"n": {"$gt": 3}}}, event=receipt.id)
    (preview,) = await client.filters.preview(events=["a.*"])
    assert (preview.matches, preview.event.id) == (True, receipt.id)
    entries = (await client.audit.list(subject="acme", limit=1)).data
    assert [one.action for one in entries] == ["tenant.updated"] or entries
    assert (await client.tenants.delete("acme")).state == "deleting"
    assert await client.healthy()
    assert await client.ready()
    assert "keys" in await client.public_keys()
    assert "tellwire" in await client.metrics()


async def test_lists_are_gone_through(client: Client) -> None:
    """All items come, whatever the size of a page, in the order of the list."""
    made = [(await client.publish("a.b", {"n": n})).id for n in range(7)]
    assert [one.id async for one in client.each(client.events.list, limit=3)] == made[::-1]
    assert [one.id async for one in client.each(client.events.list, type="x.y")] == []


async def test_errors_are_those_of_the_hub(client: Client, server: Server) -> None:
    """Who catches errors of Tellwire catches those of a server elsewhere, with their fields and the request's id."""
    with pytest.raises(InvalidInputError) as invalid:
        await client.endpoints.create("ftp://x", events=["no pattern"])
    assert {fault.loc for fault in invalid.value.errors} == {("url",), ("events", 0)}
    assert any("request id: req_" in note for note in invalid.value.__notes__)
    with pytest.raises(LimitExceededError) as over:
        await client.events.list(limit=251)
    assert (over.value.limit, over.value.maximum) == ("page_items", 250)
    async with Client(server.url, "tw_wrong") as stranger:
        with pytest.raises(UnauthorizedError):
            await stranger.events.list()
    with pytest.raises(ConflictError):
        await client.tenants.create("default")
    with pytest.raises(RemoteError) as route:
        await client.events.get("../tenants")
    assert route.value.status == 404


async def test_bad_urls_and_keys(server: Server) -> None:
    """What cannot be used is refused before anything is sent; an unopened client says so."""
    for url, key in (("ftp://x", "k"), ("example.com", "k"), (server.url, ""), (server.url, "a\nb")):
        with pytest.raises(SettingsError):
            Client(url, key)
    with pytest.raises(ClosedError):
        await Client(server.url, "k").events.list()
    with pytest.raises(ClosedError):
        SyncClient(server.url, "k").call(lambda client: client.events.list())


PROBLEM = {"type": "/problems/unavailable", "detail": "away", "status": 503}
RECEIPT = {
    "id": "evt_01k5w3m8qhe5sbd3y0t2vwz9ra", "type": "a.b", "tenant": "default", "deliveries": 0,
    "occurred_at": "2026-01-31T09:30:00.123Z", "created_at": "2026-01-31T09:30:00.123Z", "duplicate": False,
}  # fmt: skip


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries take no time."""
    monkeypatch.setattr(wire, "_FIRST_WAIT_S", 0.0)


def failing(times: int, status: int, **more: Any) -> Any:
    """A receiver's answers: a problem so often, then a receipt."""
    left = [times]

    def respond(request: Received) -> Reply:
        left[0] -= 1
        if left[0] >= 0:
            return Reply(status, json.dumps({**PROBLEM, **more}).encode(), [("retry-after", "0")])
        return Reply(202, json.dumps(RECEIPT).encode())

    return respond


async def test_publishing_is_repeated(receiver: Receiver, hurry: None) -> None:
    """With the same idempotency key, also where nobody knows what became of it."""
    receiver.respond = failing(3, 503, stored=None)
    async with Client(receiver.url, "k") as client:
        assert (await client.publish("a.b", {})).id == RECEIPT["id"]
    keys = {json.loads(request.body)["idempotency_key"] for request in receiver.requests}
    assert (len(receiver.requests), len(keys)) == (4, 1)


async def test_answers_that_are_lost(client: Client, server: Server, hurry: None) -> None:
    """A server that does what it is asked, and whose first answer never arrives: each thing is made once."""
    lost: list[bytes] = []

    def lose(link: Link, piece: bytes) -> bool:
        if link.sent.startswith(b"POST") and not lost:
            lost.append(piece)
            return False
        return True

    async with Proxy(server.url) as proxy, Client(f"http://127.0.0.1:{proxy.port}", server.key) as far:
        proxy.after_server = lose
        endpoint, _ = await far.endpoints.create(URL, events=["order.*"])
        for make in (
            lambda: far.publish("order.paid", {}),
            lambda: far.publish_many([{"type": "order.paid", "data": {}}]),
            lambda: far.endpoints.create(URL),
            lambda: far.endpoints.test(endpoint.id),
            lambda: far.keys.create("n"),
            lambda: far.tenants.create("acme"),
            lambda: far.replays.start(
                endpoint.id, since=datetime.now(UTC) - timedelta(hours=1), dry_run=True
            ),
        ):
            lost.clear()
            await make()
            assert lost[0].startswith(b"HTTP/1.1 20"), lost
    assert len((await client.events.list(type="order.paid")).data) == 2
    assert len((await client.endpoints.list()).data) == 2
    assert len((await client.deliveries.list(type="tellwire.test")).data) == 1
    assert len((await client.keys.list()).data) == 1
    assert [one.id for one in (await client.tenants.list()).data] == ["acme", "default"]
    assert len((await client.replays.list()).data) == 1


async def test_every_post_has_a_key(receiver: Receiver, hurry: None) -> None:
    """One for each call, and the same for each of its tries, also where the first is still being done."""
    answers_left = [Reply(409, json.dumps(PROBLEM).encode(), [("retry-after", "1")]), Reply(502), Reply(503)]
    receiver.respond = lambda request: answers_left.pop(0) if answers_left else Reply(404)
    async with Client(receiver.url, "k") as client:
        for call in (
            client.endpoints.pause("ep_1"), client.deliveries.retry("dlv_1"), client.events.cancel("evt_1"),
            client.keys.rotate("key_1"), client.tokens.portal("t", []), client.filters.preview(),
            client.endpoints.create(URL), client.endpoints.rotate_secret("ep_1"), client.replays.cancel("rpl_1"),
        ):  # fmt: skip
            with pytest.raises(RemoteError):
                await call
    keys = [dict(request.headers)["idempotency-key"] for request in receiver.requests]
    assert (len(keys), len(set(keys)), len(set(keys[:4]))) == (12, 9, 1)


async def test_what_is_in_doubt_is_not_asked_again(receiver: Receiver, hurry: None) -> None:
    """Where the server itself does not know whether it was done, under the same key it would only say so again."""
    async with Client(receiver.url, "k") as client:
        receiver.respond = failing(9, 503, stored=None)
        with pytest.raises(StoreUnavailableError) as unknown:
            await client.keys.create("n")
        assert (unknown.value.outcome_unknown, len(receiver.requests)) == (True, 1)
        receiver.respond = failing(9, 500, type="/problems/internal", request_id="req_1")
        with pytest.raises(RemoteError) as broken:
            await client.keys.create("n")
        assert (broken.value.status, broken.value.request_id, len(receiver.requests)) == (500, "req_1", 2)
        with pytest.raises(RemoteError):
            await client.publish("a.b", {})
        assert len(receiver.requests) == 2 + wire.MOST_TRIES


async def test_patience_is_bounded(receiver: Receiver, hurry: None) -> None:
    """A server that asks for an hour is not waited for."""
    receiver.respond = lambda request: Reply(429, b"slow down", [("retry-after", "3600")])
    async with Client(receiver.url, "k") as client:
        with pytest.raises(RemoteError) as busy:
            await client.events.list()
    assert (busy.value.status, len(receiver.requests)) == (429, 1)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"data": 5}', b'{"data": [{"id": 1}], "next": null}']
)
async def test_strange_answers_are_told(receiver: Receiver, body: bytes) -> None:
    """A server that is none of ours ends in an error of ours."""
    receiver.respond = lambda request: Reply(200, body)
    async with Client(receiver.url, "k") as client:
        with pytest.raises(RemoteError):
            await client.deliveries.list()


async def test_server_that_is_not_there(unused: str, hurry: None) -> None:
    """Where nothing listens, the error says so, with no status."""
    async with Client(unused, "k") as client:
        with pytest.raises(RemoteError) as away:
            await client.publish("a.b", {})
    assert away.value.status is None
    assert str(away.value).startswith(f"the server {unused} did not answer: Connection refused")


@pytest.fixture
async def unused() -> str:
    """A URL where nothing listens."""
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return f"http://127.0.0.1:{port}"


async def test_sync_face(server: Server) -> None:
    """The same calls from a thread without an event loop."""

    def use() -> list[str]:
        with SyncClient(server.url, server.key) as client:
            receipt = client.publish("a.b", {"n": 1})
            client.publish_many([{"type": "a.c", "data": {}}])
            assert client.call(lambda c: c.events.get(receipt.id)).data == b'{"n":1}'
            return [one.type for one in client.each(lambda c: c.events.list, limit=1)]

    assert await asyncio.to_thread(use) == ["a.c", "a.b"]


def test_every_route_has_a_call() -> None:
    """What the API can do, the client can: no route is missing in its modules."""
    from tellwire.api.routes import ROUTES

    text = "".join(path.read_text() for path in Path(wire.__file__).parent.glob("*.py"))
    for route in ROUTES:
        for piece in route.path.split("/{")[0].split("/"):
            assert piece in text, route
        last = route.path.rpartition("}")[2]
        assert last in text, route


HERE_ONLY = {
    ("endpoints", "count_by_state"), ("deliveries", "count_due"), ("deliveries", "backlog"),
    ("deliveries", "failing"), ("deliveries", "lag_ms"),
    ("keys", "catch_up"), ("keys", "find"), ("keys", "find_hashed"),
    ("tokens", "access"), ("tokens", "find"), ("tokens", "portal", "made_with"), ("tokens", "portal", "ends_ms"),
    ("endpoints", "disable", "reason"), ("keys", "list", "tenant"),
}  # fmt: skip
"""What the hub has for the process that it is in, and the API has not."""


async def test_calls_are_those_of_the_hub(client: Client, tellwire: Tellwire) -> None:
    """Each noun has the calls of the hub, with the same parameters."""
    nouns = (
        "endpoints", "tenants", "keys", "tokens", "events", "event_types", "filters", "deliveries", "replays",
        "audit", "stats",
    )  # fmt: skip
    for noun in nouns:
        for name, call in inspect.getmembers(getattr(tellwire, noun), inspect.ismethod):
            if name.startswith("_") or (noun, name) in HERE_ONLY or (noun, name) == ("audit", "write"):
                continue
            there = set(inspect.signature(call).parameters)
            here = set(inspect.signature(getattr(getattr(client, noun), name)).parameters)
            assert {one for one in there - here if (noun, name, one) not in HERE_ONLY} == set(), (noun, name)
            assert here <= there, (noun, name)


def test_nouns_are_whole() -> None:
    """The example of each answer in the document is read as the noun that it shows."""
    from tellwire.api.examples import ANSWERS
    from tellwire.client import answers
    from tellwire.model.delivery import Delivery
    from tellwire.model.replay import Replay
    from tellwire.model.tenant import Tenant

    assert answers.endpoint(ANSWERS["get_endpoint"]).url == "https://example.com/hook"
    for name, kind in (("get_delivery", Delivery), ("get_replay", Replay), ("get_tenant", Tenant)):
        assert isinstance(answers.noun(ANSWERS[name], kind), msgspec.Struct)
    assert answers.attempt(ANSWERS["get_delivery"]["attempts"][0]).response_body == b"down for maintenance"
