"""Metrics of a running server: what happened is on the page, and who may read it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds
from tellwire.policy.retry import RetrySchedule
from tellwire.server import build_app, http_server

from .conftest import ADMIN_KEY, LOOPBACK, Receiver, Reply, Server
from .embedded import until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def options() -> Options:
    engine = EngineOptions(schedule=RetrySchedule((3_600_000,)), grace_s=1, bounds=LaneBounds(per_endpoint=2))
    return Options(admin_key=ADMIN_KEY, egress=LOOPBACK, engine=engine)


def samples(text: str) -> Samples:
    return {
        (sample.name.removeprefix("tellwire_"), frozenset(sample.labels.items())): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    }


async def shown(server: Server) -> Samples:
    answer = await server.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def when(server: Server, name: str, value: float, **labels: str) -> Samples:
    """The page, as soon as a metric has reached a value."""

    async def reached() -> Samples | None:
        found = await shown(server)
        return found if found[key(name, **labels)] >= value else None

    found = await until(reached)
    assert found is not None
    return found


async def test_what_happened_is_on_the_page(server: Server, receiver: Receiver) -> None:
    """Published, duplicate, delivered and refused events are counted, and how long each part of it took."""
    receiver.respond = lambda request: Reply(503 if b"order.bad" in request.body else 200)
    await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"]})
    for type, idempotency_key in (
        ("order.paid", "a"),
        ("order.paid", "a"),
        ("order.paid", "b"),
        ("order.bad", "c"),
    ):
        event = {"type": type, "data": {}, "idempotency_key": idempotency_key}
        assert (await server.client.post("/v1/events", json=event)).is_success
    await when(server, "attempts_total", 2, outcome="succeeded", error="none", trigger="schedule")
    found = await when(server, "attempts_total", 1, outcome="failed", error="status_5xx", trigger="schedule")

    assert found[key("events_published_total")] == 3
    assert found[key("events_duplicate_total")] == 1
    assert found[key("deliveries_fanned_out_total")] == 3
    assert found[key("deliveries_finished_total", state="succeeded")] == 2
    assert found[key("publish_to_first_attempt_seconds_count")] == 3
    assert found[key("attempt_duration_seconds_count")] == 3
    assert found[key("end_to_end_seconds_count")] == 2
    assert found[key("commit_items_count", stage="publish")] >= 1
    assert found[key("database_seconds_sum", stage="record")] > 0
    assert found[key("database_seconds_sum", stage="commit")] > 0
    assert found[key("endpoints", state="enabled")] == 1
    assert found[key("lanes", state="limited")] == 1  # 503 slows it down
    assert (found[key("processes")], found[key("database_up")]) == (1, 1)
    assert found[key("lag_seconds")] == 0


async def test_the_queues_are_shown(server: Server, receiver: Receiver) -> None:
    """What is in the air, held and waiting is there to be seen, and the lag grows with what waits."""
    unblocked = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await unblocked.wait()
        writer.close()

    listener = await asyncio.start_server(stall, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        await server.client.post("/v1/endpoints", json={"url": url, "events": ["*"]})
        batch = {"events": [{"type": "a.b", "data": {}}] * 5}
        assert (await server.client.post("/v1/events/batch", json=batch)).status_code == 202
        found = await when(server, "lag_seconds", 0.001)
        assert found[key("deliveries_in_flight")] == 2
        assert found[key("deliveries_waiting")] == 3
        assert found[key("deliveries_held")] == 5
        unblocked.set()
        await when(server, "attempts_total", 5, outcome="failed", error="protocol", trigger="schedule")


async def test_the_lag_of_what_waits_in_the_store(tellwire: Tellwire, receiver: Receiver) -> None:
    """A due delivery that nobody has claimed makes lag; one whose endpoint is paused does not."""
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
    await tellwire.endpoints.pause(endpoint.id)
    await tellwire.publish("a.b", {})
    assert await tellwire.deliveries.lag_ms() == 0
    await tellwire.endpoints.resume(endpoint.id)
    await receiver.met(1)
    await tellwire.drained()
    assert await tellwire.deliveries.lag_ms() == 0


@pytest.mark.parametrize("order", ["none", "endpoint", "key"])
async def test_the_lag_while_nobody_delivers(tmp_path: Path, receiver: Receiver, order: str) -> None:
    """Where no process claims, the lag counts from the moment the delivery was due; also of what stands in line."""
    async with Tellwire(
        f"sqlite:///{tmp_path / 'a.db'}", Options(egress=LOOPBACK, deliver=False)
    ) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": order})
        await tellwire.publish("a.b", {}, ordering_key="k")

        async def lags() -> bool:
            return await tellwire.deliveries.lag_ms() >= 20

        assert await until(lags)


async def test_a_key_with_the_scope_read_is_needed(server: Server) -> None:
    """By default metrics are for who shows a good key; publishing does not suffice."""
    assert (await server.client.get("/metrics", headers={"authorization": ""})).status_code == 401
    for scope, status in (("publish", 403), ("read", 200)):
        made = (await server.client.post("/v1/keys", json={"name": scope, "scopes": [scope]})).json()
        answer = await server.client.get("/metrics", headers={"authorization": f"Bearer {made['key']}"})
        assert answer.status_code == status


@asynccontextmanager
async def served(tellwire: Tellwire, access: str) -> AsyncIterator[httpx.AsyncClient]:
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    app = build_app(tellwire, metrics_access=access)
    web = http_server(app, "127.0.0.1", 0, grace_s=1, started=url.set_result)
    task = asyncio.create_task(web.serve())
    try:
        async with httpx.AsyncClient(base_url=await url, trust_env=False) as client:
            yield client
    finally:
        web.should_exit = True
        await task


@pytest.mark.parametrize(("access", "status"), [("open", 200), ("off", 404), ("key", 401)])
async def test_the_setting_says_who_may_read(tellwire: Tellwire, access: str, status: int) -> None:
    """Metrics are open to everybody, to nobody, or to who has a key; the description says the same."""
    async with served(tellwire, access) as client:
        assert (await client.get("/metrics")).status_code == status
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert ("/metrics" in paths) == (access != "off")
        if access != "off":
            assert bool(paths["/metrics"]["get"].get("security")) == (access == "key")


async def test_openmetrics_for_who_asks(server: Server) -> None:
    """A client that prefers OpenMetrics gets it."""
    answer = await server.client.get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
