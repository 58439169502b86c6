"""Traces, on every way that an event can take: each attempt belongs to the trace of its own event, and to no other."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from tellwire import SyncTellwire, Tellwire
from tellwire.client import Client, SyncClient
from tellwire.model.delivery import State
from tellwire.model.event import Receipt
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.observe.traces import Traces, pass_on
from tellwire.options import Options
from tellwire.store.postgres import PostgresStore

from .callers import MODES, Mode, caller
from .conftest import Received, Receiver, Reply, Server
from .embedded import KEY, LOOPBACK, all_are, deliveries, until
from .replaying import URLS, ended
from .tracing import Spans, check, check_passed_on, event_of, ids, parent_of, provider_to, traced

pytestmark = pytest.mark.filterwarnings("ignore:.*pixeltable.*")


@pytest.fixture(params=[*URLS.values()], ids=[*URLS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Callable[[Path], str] = request.param
    return make(tmp_path)


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def endpoint_at(tellwire: Tellwire, receiver: Receiver, path: str = "/hook", **settings: Any) -> str:
    """An endpoint for all events, which asks for the context; gives its id."""
    url = receiver.url.removesuffix("/hook") + path
    made, _ = await tellwire.endpoints.create(url, events=["*"], settings={"trace": True, **settings})
    return made.id


async def publish(tellwire: Tellwire, count: int, **rest: Any) -> list[Receipt]:
    """So many events, each by a caller with a trace of its own."""
    tracer = provider_to(Spans()).get_tracer("shop")
    receipts = []
    for n in range(count):
        with tracer.start_as_current_span(f"pay {n}"):
            receipts.append(await tellwire.publish("order.paid", {"n": n}, **rest))
    return receipts


async def test_replays_of_what_failed_and_of_what_was_missed(
    url: str, receiver: Receiver, spans: Spans
) -> None:
    """Whoever starts a replay, within whatever trace: its attempts belong to the events."""
    receiver.respond = lambda request: Reply(500)
    async with traced(url, spans, delays_ms=()) as tellwire:
        since = tellwire.now() - timedelta(hours=1)
        failed = await endpoint_at(tellwire, receiver, "/failed")
        await publish(tellwire, 3)
        await all_are(tellwire, State.EXHAUSTED, 3)
        receiver.respond = lambda request: Reply()
        missed = await endpoint_at(tellwire, receiver, "/missed")
        with provider_to(Spans()).get_tracer("support").start_as_current_span("replay"):
            replays = [await tellwire.replays.start(id, since=since) for id in (failed, missed)]
        for replay in replays:
            await ended(tellwire, replay)
        await all_are(tellwire, State.SUCCEEDED, 6)
        assert await tellwire.drained()
    check(spans, events=3, attempts=9)
    check_passed_on(receiver.requests, spans)
    triggers = [(span.attributes or {})["tellwire.trigger"] for span in spans.attempts]
    assert triggers == ["schedule"] * 3 + ["replay"] * 6


async def test_a_retry_by_hand(url: str, receiver: Receiver, spans: Spans) -> None:
    """It is one attempt more in the trace of its event, whatever is current where somebody asks for it."""
    async with traced(url, spans) as tellwire:
        await endpoint_at(tellwire, receiver)
        await publish(tellwire, 2)
        for delivery in await all_are(tellwire, State.SUCCEEDED, 2):
            with provider_to(Spans()).get_tracer("support").start_as_current_span("retry"):
                await tellwire.deliveries.retry(delivery.id)
        await receiver.met(4)
        await all_are(tellwire, State.SUCCEEDED, 2)
        assert await tellwire.drained()
    check(spans, events=2, attempts=4)
    check_passed_on(receiver.requests, spans)


async def test_events_of_one_batch(url: str, receiver: Receiver, spans: Spans) -> None:
    """One request, and an attempt for each of its events, in the trace of that one, with the times of the request."""
    async with traced(url, spans) as tellwire:
        receiver.respond = lambda request: Reply(500 if len(receiver.requests) < 2 else 200)
        await tellwire.endpoints.create(
            receiver.url, events=["*"], settings={"batch": {"max_events": 4, "max_wait_s": 60}}
        )
        receipts = await publish(tellwire, 4)
        await all_are(tellwire, State.SUCCEEDED, 4)
        assert await tellwire.drained()
    check(spans, events=4, attempts=8)
    for request in receiver.requests:
        assert [one["id"] for one in json.loads(request.body)] == [one.id for one in receipts]
        assert "traceparent" not in request.headers
    for attempts in (spans.attempts[:4], spans.attempts[4:]):
        assert {event_of(span) for span in attempts} == {one.id for one in receipts}
        assert len({(span.start_time, span.end_time) for span in attempts}) == 1


@pytest.mark.parametrize("order", ["endpoint", "key"])
async def test_events_in_order(url: str, receiver: Receiver, spans: Spans, order: str) -> None:
    """Those that wait for another one, and go right behind it, belong to their own traces nevertheless."""
    receiver.respond = lambda request: Reply(500 if len(receiver.requests) % 3 == 1 else 200)
    async with traced(url, spans, delays_ms=(10,) * 20) as tellwire:
        endpoint = await endpoint_at(tellwire, receiver, order=order)
        await tellwire.endpoints.pause(endpoint)
        await publish(tellwire, 4, ordering_key="a")
        await tellwire.endpoints.resume(endpoint)
        await publish(tellwire, 4, ordering_key="a")
        await all_are(tellwire, State.SUCCEEDED, 8)
        assert await tellwire.drained()
    check(spans, events=8, attempts=len(receiver.requests))
    check_passed_on(receiver.requests, spans)


async def test_events_ahead_of_their_time(url: str, receiver: Receiver, spans: Spans) -> None:
    """The span of publishing has ended long ago when the attempt begins, and is its parent."""
    async with traced(url, spans) as tellwire:
        await endpoint_at(tellwire, receiver)
        await publish(tellwire, 2, deliver_at=tellwire.now() + timedelta(seconds=1))
        await all_are(tellwire, State.SUCCEEDED, 2)
        assert await tellwire.drained()
    check(spans, events=2, attempts=2)
    check_passed_on(receiver.requests, spans)


async def test_wide_events(url: str, receiver: Receiver, spans: Spans) -> None:
    """What is fanned out in the background belongs to the event, and not to who was published last."""
    async with traced(url, spans, at_once=2) as tellwire:
        for number in range(5):
            await endpoint_at(tellwire, receiver, f"/{number}")
        await publish(tellwire, 3)
        await all_are(tellwire, State.SUCCEEDED, 15)
        assert await tellwire.drained()
    check(spans, events=3, attempts=15)
    check_passed_on(receiver.requests, spans)


async def test_another_process_delivers(url: str, receiver: Receiver, spans: Spans) -> None:
    """The one that publishes has the spans of publishing, the one that sends has those of attempts."""
    theirs = Spans()
    async with traced(url, spans, deliver=False) as tellwire, traced(url, theirs) as other:
        await endpoint_at(other, receiver)
        await publish(tellwire, 3)
        await all_are(other, State.SUCCEEDED, 3)
        assert await other.drained()
    assert (spans.attempts, theirs.published) == ([], [])
    check(theirs, events=3, attempts=3, published=spans)
    check_passed_on(receiver.requests, spans)


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_in_the_callers_own_transaction(
    mode: Mode, tmp_path: Path, receiver: Receiver, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the event loop and in threads: the current span is continued. What is rolled back has no attempts."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    url, tracer = URLS[mode.store](tmp_path), provider_to(spans).get_tracer("shop")
    async with traced(url, spans) as tellwire, caller(mode, tellwire, url, KEY) as shop:
        if shop._sync:
            await asyncio.to_thread(shop._sync.call, partial(follow, spans))
        await endpoint_at(tellwire, receiver)
        with tracer.start_as_current_span("undone"):
            await shop.publish("order.paid", {"n": 0})
        await shop.rollback()
        for n in range(2):
            with tracer.start_as_current_span("pay"):
                await shop.publish("order.paid", {"n": n})
        with tracer.start_as_current_span("pay"):
            await shop.publish_many([{"type": "order.sent", "data": {}}])
        await shop.commit()
        await receiver.met(3)
        await all_are(tellwire, State.SUCCEEDED, 3)
        assert await tellwire.drained()
    check(spans, events=4, attempts=3)
    check_passed_on(receiver.requests, spans)
    parents = {ids(span)[1] for span in (*spans.named("undone"), *spans.named("pay"))}
    assert {parent_of(span) for span in spans.published} == parents


async def follow(spans: Spans, tellwire: Tellwire) -> None:
    Traces(provider_to(spans)).follow(tellwire)


def test_from_sync_code(tmp_path: Path, spans: Spans) -> None:
    """The span that is current in the calling thread is continued, though an event loop elsewhere publishes."""
    tracer = provider_to(spans).get_tracer("shop")
    with SyncTellwire(URLS["sqlite"](tmp_path), Options(secret_key=KEY, egress=LOOPBACK)) as tellwire:
        tellwire.call(partial(follow, spans))
        for n in range(2):
            with tracer.start_as_current_span("pay"):
                tellwire.publish("order.paid", {"n": n})
        with tracer.start_as_current_span("pay"):
            tellwire.publish_many([{"type": "order.paid", "data": {}}])
        tellwire.publish("order.paid", {})
    parents = [*(ids(span)[1] for span in spans.named("pay")), None]
    assert [parent_of(span) for span in spans.published] == parents


async def test_from_the_client(server: Server, receiver: Receiver, spans: Spans) -> None:
    """What it publishes, also from threads, belongs to the span that is current there, where that is asked for."""
    Traces(provider_to(spans)).follow(server.tellwire)
    tracer = provider_to(spans).get_tracer("shop")
    await endpoint_at(server.tellwire, receiver)
    async with Client(server.url, server.key) as client:
        with tracer.start_as_current_span("untold"):
            await client.publish("order.paid", {})
        pass_on(client)
        await client.publish("order.paid", {})
        with tracer.start_as_current_span("pay"):
            await client.publish("order.paid", {})
        with tracer.start_as_current_span("pay"):
            await client.publish_many([{"type": "order.paid", "data": {}}])

    def in_a_thread() -> None:
        with SyncClient(server.url, server.key) as client, tracer.start_as_current_span("pay"):
            pass_on(client)
            client.publish("order.paid", {})

    await asyncio.to_thread(in_a_thread)
    await receiver.met(5)
    assert await server.tellwire.drained()
    check(spans, events=5, attempts=5)
    check_passed_on(receiver.requests, spans)
    paid = [ids(span)[1] for span in spans.named("pay")]
    assert [parent_of(span) for span in spans.published] == [None, None, *paid]


@asynccontextmanager
async def statements(tellwire: Tellwire) -> AsyncIterator[list[str]]:
    """What the writer's connection sends to PostgreSQL meanwhile."""
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query)

    store = tellwire._store
    assert isinstance(store, PostgresStore)
    driver = await store._publish_writer.driver()
    driver.add_query_logger(note)
    yield sent
    driver.remove_query_logger(note)


async def test_one_statement(tmp_path: Path, receiver: Receiver, spans: Spans) -> None:
    """On PostgreSQL, an event that is written in one round trip has its context with it, as has what comes of it."""
    async with traced(URLS["postgres"](tmp_path), spans) as tellwire:
        await endpoint_at(tellwire, receiver)
        async with statements(tellwire) as sent:

            async def at_once() -> bool:
                await publish(tellwire, 1)
                assert await tellwire.drained()
                return any(one.startswith("WITH") and "INTO events" in one for one in sent)

            await until(at_once)
        whole = next(one for one in sent if one.startswith("WITH") and "INTO events" in one)
        assert "traceparent" in whole
        events = len(spans.published)
        await tellwire.deliveries.retry((await deliveries(tellwire))[-1].id)  # it is read again
        await receiver.met(events + 1)
        assert await tellwire.drained()
    check(spans, events=events, attempts=events + 1)
    check_passed_on(receiver.requests, spans)


async def test_nothing_leaks_from_one_event_into_another(url: str, receiver: Receiver, spans: Spans) -> None:
    """What is published outside of any span has a trace of its own; events of Tellwire's own, made in the transaction
    of what they tell of, and examples have none, and nothing of one is passed on."""
    gone: list[Received] = []

    def respond(request: Received) -> Reply:
        if request.path != "/gone":
            return Reply()
        gone.append(request)
        return Reply(410)

    receiver.respond = respond
    async with traced(url, spans) as tellwire:
        ops, _ = await tellwire.endpoints.create(
            receiver.url, events=["endpoint.disabled"], tenant=OPERATIONAL_TENANT, settings={"trace": True}
        )
        endpoint = await endpoint_at(tellwire, receiver, "/gone")
        await publish(tellwire, 1)
        await receiver.met(2)
        await tellwire.endpoints.enable(endpoint)
        await tellwire.publish("order.paid", {"n": 1})
        await receiver.met(4)
        with provider_to(Spans()).get_tracer("support").start_as_current_span("test"):
            await tellwire.endpoints.test(ops.id)
        await receiver.met(5)
        assert await tellwire.drained()
    told = [one for one in receiver.requests if one.path != "/gone"]
    assert [one.headers.get("traceparent") for one in told] == [None] * 3
    check_passed_on(gone, spans)
    alone = [span for span in spans.attempts if span.parent is None]
    assert {event_of(span) for span in alone} == {one.headers["webhook-id"] for one in told}
    assert len({ids(span)[0] for span in spans.attempts}) == 5
    assert [parent_of(span) is None for span in spans.published] == [False, True]
    assert not trace.get_current_span().get_span_context().is_valid
