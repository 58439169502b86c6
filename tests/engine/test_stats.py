"""Statistics: counted while things happen, exact against the rows; over HTTP and on the command line."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.clock import to_ms
from tellwire.deliver.engine import EngineOptions
from tellwire.ids import ENDPOINT, encode, time_ms
from tellwire.model.delivery import State
from tellwire.model.stats import Counts, Percentiles, Span
from tellwire.policy.histogram import histogram_of, percentiles
from tellwire.policy.retry import RetrySchedule
from tellwire.store.tables import STATES, attempts, deliveries

from .cli_process import Process
from .conftest import LOOPBACK, Received, Receiver, Reply, Server
from .embedded import until

ENGINE = EngineOptions(schedule=RetrySchedule((10, 10)), grace_s=1)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tellwire.db'}" if request.param == "sqlite" else database_in(tmp_path)


def options_of(engine: EngineOptions = ENGINE) -> Options:
    return Options(secret_key="ab" * 32, egress=LOOPBACK, engine=engine)


def answer(request: Received) -> Reply:
    """To some endpoints good, to some by chance of the event's id, to some never good."""
    good = {"/good": True, "/bad": False}.get(
        request.path, request.headers["webhook-id"][-1] in "02468acegikmoqsuwy"
    )
    return Reply(200 if good else 500)


async def raw(tellwire: Tellwire, endpoint: str | None, span: Span) -> dict[int, Counts]:
    """The statistics as the rows have them, by the beginning of the piece."""

    def read(connection: Connection) -> tuple[Any, Any]:
        tries = select(attempts, deliveries.c.endpoint_id).join(
            deliveries, deliveries.c.id == attempts.c.delivery_id
        )
        return connection.execute(tries).all(), connection.execute(select(deliveries)).all()

    tries, ends = await tellwire._store.read(read)
    counted: dict[int, Counter[str]] = {}
    took: dict[int, list[int]] = {}
    ages: dict[int, list[int]] = {}
    for row in tries:
        if endpoint in (None, encode(ENDPOINT, row.endpoint_id)):
            start = row.started_ms - row.started_ms % span.ms
            good = row.error is None and 200 <= row.status_code < 300
            counted.setdefault(start, Counter())["tries good" if good else "tries bad"] += 1
            took.setdefault(start, []).append(row.duration_ms)
    for row in ends:
        if row.finished_ms is not None and endpoint in (None, encode(ENDPOINT, row.endpoint_id)):
            start = row.finished_ms - row.finished_ms % span.ms
            counted.setdefault(start, Counter())[STATES[row.state]] += 1
            if STATES[row.state] is State.SUCCEEDED:
                ages.setdefault(start, []).append(row.finished_ms - time_ms(row.event_id))
    return {
        start: _counts(found, took.get(start, []), ages.get(start, [])) for start, found in counted.items()
    }


def _counts(found: Counter[str], took: list[int], ages: list[int]) -> Counts:
    ended = found["succeeded"] + found["exhausted"]
    return Counts(
        found["succeeded"],
        found["exhausted"],
        found["cancelled"],
        round(found["succeeded"] / ended, 4) if ended else None,
        found["tries good"],
        found["tries bad"],
        _percentiles(took),
        _percentiles(ages),
    )


def _percentiles(times: list[int]) -> Percentiles | None:
    found = percentiles(histogram_of(times), (50, 90, 95, 99))
    return None if found is None else Percentiles(*found)


def told(data: Any) -> dict[int, Counts]:
    """The pieces that were answered."""
    return {
        to_ms(piece.start): Counts(*[getattr(piece, name) for name in Counts.__struct_fields__])
        for piece in data
    }


async def nothing_pending(tellwire: Tellwire) -> bool:
    return not (await tellwire.deliveries.list(state=State.PENDING)).data


PATIENT = {"circuit": {"failures": 1000}}
"""So that all that fails does it soon."""


async def test_statistics_are_what_the_rows_say(url: str, receiver: Receiver) -> None:
    """For each endpoint and all, by hour and day: while it is in the journal, added up, and by another process."""
    receiver.respond = answer
    base = receiver.url.removesuffix("/hook")
    async with Tellwire(url, options_of()) as tellwire:
        ids = [
            (await tellwire.endpoints.create(base + path, events=["*"], settings=PATIENT))[0].id
            for path in ("/good", "/bad", "/some")
        ]
        paused, _ = await tellwire.endpoints.create(base + "/paused", events=["*"])
        await tellwire.endpoints.pause(paused.id)
        await asyncio.gather(*(tellwire.publish("order.paid", {"n": n}) for n in range(60)))
        waiting = (await tellwire.deliveries.list(endpoint=paused.id)).data
        await tellwire.deliveries.cancel(waiting[0].id)
        await tellwire.endpoints.delete(paused.id)
        assert await tellwire.drained()
        await until(lambda: nothing_pending(tellwire))

        async def compare(one: Tellwire) -> None:
            for span in Span:
                for id in ids:
                    assert told((await one.stats.endpoint(id, by=span)).data) == await raw(one, id, span)
                whole = await raw(one, None, span)
                assert told((await one.stats.all(by=span)).data) == whole
                assert told((await one.stats.all(tenant="default", by=span)).data) == whole
                assert (await one.stats.all(tenant="acme", by=span)).data == []

        await compare(tellwire)
        total = (await tellwire.stats.all()).total
        assert (total.succeeded + total.exhausted, total.cancelled) == (180, 60)
        assert total.attempts_succeeded == total.succeeded >= 60
        assert total.attempts_failed >= 60 * 3
        assert tellwire.engine is not None
        await tellwire.engine._roller.roll_up()
        await compare(tellwire)
        async with Tellwire(url, options_of()) as other:
            await compare(other)


async def test_a_retry_by_hand_counts_again(tellwire: Tellwire, receiver: Receiver) -> None:
    """Statistics tell what happened, not what is: a delivery that ended twice counts twice."""
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
    await tellwire.publish("order.paid", {})
    assert await tellwire.drained()
    (delivery,) = (await tellwire.deliveries.list()).data
    await tellwire.deliveries.retry(delivery.id)
    await receiver.met(2)
    assert await tellwire.drained()
    total = (await tellwire.stats.endpoint(endpoint.id)).total
    assert (total.succeeded, total.attempts_succeeded, total.success_rate) == (2, 2, 1.0)


async def test_statistics_over_http(server: Server, receiver: Receiver) -> None:
    """Whole pieces from since to until, 24 hours if not asked; those in which nothing happened are left out."""
    made = await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"]})
    id = made.json()["id"]
    await server.client.post("/v1/events", json={"type": "order.paid", "data": {}})
    await receiver.met(1)
    await server.tellwire.drained()
    found = (await server.client.get(f"/v1/endpoints/{id}/stats")).json()
    since, until = (datetime.fromisoformat(found[name]) for name in ("since", "until"))
    assert until - since == timedelta(hours=24)
    assert until > datetime.now(UTC) > until - timedelta(hours=1)
    assert (found["tenant"], found["endpoint_id"], found["by"]) == ("default", id, "hour")
    (piece,) = found["data"]
    assert {name: value for name, value in piece.items() if name != "start"} == found["total"]
    assert (piece["succeeded"], piece["exhausted"], piece["success_rate"]) == (1, 0, 1.0)
    assert set(piece["attempt_ms"]) == set(piece["delivery_ms"]) == {"p50", "p90", "p95", "p99"}
    for path in ("/v1/stats", "/v1/stats?tenant=default"):
        whole = (await server.client.get(path)).json()
        assert (whole["total"], whole["endpoint_id"]) == (found["total"], None)
    assert whole["tenant"] == "default"
    by_day = (await server.client.get(f"/v1/stats?by=day&since={found['since']}")).json()
    assert by_day["since"].endswith("T00:00:00.000Z")
    assert by_day["total"] == found["total"]
    before = (await server.client.get(f"/v1/stats?since={found['since']}&until={piece['start']}")).json()
    assert (before["data"], before["total"]["success_rate"], before["total"]["attempt_ms"]) == (
        [],
        None,
        None,
    )
    await server.client.delete(f"/v1/endpoints/{id}")
    assert (await server.client.get(f"/v1/endpoints/{id}/stats")).status_code == 404
    assert (await server.client.get("/v1/stats")).json()["total"] == found["total"]


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("by=minute", "by"),
        ("since=tuesday", "since"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("since=2020-01-01T00:00:00Z&until=2020-03-01T00:00:00Z", "since"),
        ("tenant=", "tenant"),
        ("from=2026-01-02T00:00:00Z", "from"),
    ],
)
async def test_bad_range_is_refused(server: Server, query: str, loc: str) -> None:
    """With the name of the parameter."""
    found = await server.client.get(f"/v1/stats?{query}")
    assert found.status_code == 422, found.text
    assert [fault["loc"][0] for fault in found.json()["errors"]] == [loc]


async def test_a_bound_key_sees_its_tenants_statistics(server: Server, receiver: Receiver) -> None:
    """Whatever it asks for, what others did is not in them; not even the whole server's sum."""
    await server.client.post("/v1/tenants", json={"id": "acme"})
    for tenant, events in (("acme", 2), ("default", 3)):
        new = {"url": receiver.url, "events": ["*"], "tenant": tenant}
        await server.client.post("/v1/endpoints", json=new)
        for _ in range(events):
            await server.client.post("/v1/events", json={"type": "a.b", "data": {}, "tenant": tenant})
    await receiver.met(5)
    await server.tellwire.drained()
    key = (await server.client.post("/v1/keys", json={"name": "n", "tenant": "acme"})).json()["key"]
    bound = {"authorization": f"Bearer {key}"}
    for query, seen in (("", 2), ("?tenant=acme", 2), ("?tenant=default", 0), ("?tenant=*", 0)):
        found = (await server.client.get(f"/v1/stats{query}", headers=bound)).json()
        assert (found["total"]["succeeded"], found["tenant"]) == (seen, query.partition("=")[2] or "acme")
    assert (await server.client.get("/v1/stats")).json()["total"]["succeeded"] == 5


async def test_statistics_on_the_command_line(server: Server, receiver: Receiver, tmp_path: Path) -> None:
    """A table with a total for people, the answer of the API for machines; of an endpoint or a tenant, not both."""
    made = await server.client.post("/v1/endpoints", json={"url": receiver.url, "events": ["*"]})
    id = made.json()["id"]
    database = ("--database-url", f"sqlite:///{tmp_path / 'tellwire.db'}")

    async def run(*arguments: str) -> Process:
        """Run to its end, beside the event loop: the server may need that to end a transaction."""
        process = Process(tmp_path, "stats", *arguments, *database)
        await asyncio.to_thread(process.wait)
        return process

    assert "nothing was attempted" in (await run()).rest("out")
    await server.client.post("/v1/events", json={"type": "order.paid", "data": {}})
    await receiver.met(1)
    await server.tellwire.drained()
    assert "100.00%" in (await run("--endpoint", id, "--by", "day")).rest("out")
    machine = json.loads((await run("--json")).line())
    assert machine == (await server.client.get("/v1/stats")).json()
    assert (await run("--endpoint", id, "--tenant", "acme")).process.returncode == 2
