"""Traces: from the request that publishes through every attempt, checked with OpenTelemetry's in-memory exporter."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.errors import InvalidInputError, SettingsError
from tellwire.observe.traces import Traces
from tellwire.policy.retry import RetrySchedule
from tellwire.server import traced_by
from tellwire.settings import Settings
from tellwire.telemetry import AttemptFinished, Fact

from .conftest import LOOPBACK, Receiver, Reply, Server
from .embedded import KEY
from .tracing import Spans, ids, parent_of, provider_to

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
EVENT = {"type": "order.paid", "data": {"card": "do-not-tell"}}


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def provider(spans: Spans) -> TracerProvider:
    return provider_to(spans)


@pytest.fixture(params=["sqlite", "postgres"])
async def tellwire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tellwire]:
    sqlite = f"sqlite:///{tmp_path / 'tellwire.db'}"
    url = sqlite if request.param == "sqlite" else database_in(tmp_path)
    engine = EngineOptions(schedule=RetrySchedule((10, 10)), grace_s=1)
    options = Options(
        secret_key=KEY, admin_key="tw_admin_of_the_tests", egress=LOOPBACK, engine=engine, fan_out_at_once=2
    )
    async with Tellwire(url, options) as tellwire:
        yield tellwire


async def test_a_trace_leads_from_the_caller_through_every_attempt(
    server: Server, receiver: Receiver, provider: TracerProvider, spans: Spans
) -> None:
    """The span of publishing is a child of the caller's, each attempt a child of that: with its times, its number, what
    came of it, and nothing of what was published."""
    Traces(provider).follow(server.tellwire)
    receiver.respond = lambda request: Reply(500 if len(receiver.requests) < 2 else 200)
    made = await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"]})
    sent = await server.client.post("/v1/events", json=EVENT, headers={"traceparent": TRACEPARENT})
    await receiver.met(2)
    assert await server.tellwire.drained()
    (publishing,) = spans.named("publish order.paid")
    trace, publish_id = ids(publishing)
    assert (trace, parent_of(publishing), publishing.kind) == (TRACE, CALLER, SpanKind.PRODUCER)
    assert publishing.attributes is not None
    assert publishing.attributes["tellwire.event_id"] == sent.json()["id"]
    attempts = spans.named("attempt order.paid")
    assert [ids(span)[0] for span in attempts] == [TRACE, TRACE]
    assert [parent_of(span) for span in attempts] == [publish_id, publish_id]
    told = [span.attributes or {} for span in attempts]
    assert [one["tellwire.attempt"] for one in told] == [1, 2]
    assert [one["http.response.status_code"] for one in told] == [500, 200]
    assert {one["tellwire.endpoint_id"] for one in told} == {made.json()["id"]}
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    (delivery,) = (await server.tellwire.deliveries.list()).data
    _, stored = await server.tellwire.deliveries.get(delivery.id)
    for span, attempt in zip(attempts, stored, strict=True):
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time // 1_000_000 == round(attempt.started_at.timestamp() * 1000)
        assert (span.end_time - span.start_time) // 1_000_000 == attempt.duration_ms
    everything = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "do-not-tell" not in everything
    assert "127.0.0.1" not in everything


async def test_the_current_span_is_continued_in_python(
    tellwire: Tellwire, receiver: Receiver, provider: TracerProvider, spans: Spans
) -> None:
    """Whoever publishes inside a span of his own has the event in its trace; a refusal ends its span as an error."""
    Traces(provider).follow(tellwire)
    await tellwire.endpoints.create(receiver.url, events=["*"])
    with provider.get_tracer("shop").start_as_current_span("pay"):
        await tellwire.publish_many([EVENT, EVENT])
        with pytest.raises(InvalidInputError):
            await tellwire.publish("order.paid", {"card": 4_711}, tenant="nobody-0815")
    await receiver.met(2)
    assert await tellwire.drained()
    (pay,) = spans.named("pay")
    published = spans.named("publish order.paid")
    assert [parent_of(span) for span in published] == [ids(pay)[1]] * 3
    (refused,) = [span for span in published if span.status.status_code is StatusCode.ERROR]
    assert refused.status.description == "InvalidInputError", "what the error says may be what was published"
    attempts = spans.named("attempt order.paid")
    good = [ids(span)[1] for span in published if span.status.status_code is not StatusCode.ERROR]
    assert sorted(parent_of(span) or "" for span in attempts) == sorted(good)


async def test_the_context_is_passed_on_to_who_asks_for_it(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any tracer: the event keeps what came with it, and the endpoint with `trace` gets it, on the fast path,
    from the store, in a page of a wide event and in a replay; another endpoint does not, and rubbish is ignored."""
    facts: list[Fact] = []
    server.tellwire.telemetry.subscribe(facts.append)
    base = receiver.url.removesuffix("/hook")
    created = []
    for number in range(3):
        new = {"url": f"{base}/{number}", "events": ["*"], **({"trace": True} if number < 2 else {})}
        made = await server.client.post("/v1/endpoints", json=new)
        assert made.json()["trace"] is (number < 2)
        created.append(made.json()["id"])
    await server.client.post(f"/v1/endpoints/{created[1]}/pause")
    sent = await server.client.post("/v1/events", json=EVENT, headers={"traceparent": TRACEPARENT})
    await receiver.met(2)
    await server.client.post(f"/v1/endpoints/{created[1]}/resume")
    await receiver.met(3)
    assert await server.tellwire.drained()
    await server.client.post(f"/v1/endpoints/{created[0]}/replay", json={"event": sent.json()["id"]})
    await receiver.met(4)
    got = [(one.path, one.headers.get("traceparent")) for one in receiver.requests]
    assert sorted(got, key=str) == [
        ("/0", TRACEPARENT),
        ("/0", TRACEPARENT),
        ("/1", TRACEPARENT),
        ("/2", None),
    ]
    await server.client.post("/v1/events", json=EVENT, headers={"traceparent": "00-rubbish"})
    batch = {"events": [EVENT, EVENT]}
    await server.client.post("/v1/events/batch", json=batch, headers={"traceparent": TRACEPARENT})
    await receiver.met(4 + 9)
    assert await server.tellwire.drained()
    later = [one.headers.get("traceparent") for one in receiver.requests[4:]]
    assert sorted(map(str, later)) == sorted([TRACEPARENT] * 4 + ["None"] * 5)
    told = [fact for fact in facts if isinstance(fact, AttemptFinished)]
    assert {fact.trace_id for fact in told} == {TRACE, None}


async def test_a_server_sends_its_spans_to_a_collector(
    tellwire: Tellwire, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting `traces`, where OpenTelemetry's own variables say; what is left is sent when it stops."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url.removesuffix("/hook"))
    async with traced_by(tellwire, Settings(traces="otlp")):
        await tellwire.publish("order.paid", {"card": "do-not-tell"})
    (request,) = await receiver.met(1)
    assert request.path == "/v1/traces"
    assert b"publish order.paid" in request.body
    assert b"tellwire.event_id" in request.body
    assert b"do-not-tell" not in request.body


async def test_a_server_without_the_extra_says_what_to_install(
    tellwire: Tellwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a traceback."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "tellwire.observe.otlp", raising=False)
    with pytest.raises(SettingsError, match=r"pip install 'tellwire\[otel\]'"):
        async with traced_by(tellwire, Settings(traces="otlp")):
            pass


def test_nothing_of_opentelemetry_is_imported_without_need() -> None:
    """A Tellwire, and a server without the setting, do not load it; FastAPI loads no more of it than its own API."""
    code = "import sys, tellwire, tellwire.server; print([name for name in sys.modules if 'opentelemetry.sdk' in name])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
