"""Events that are published ahead of their time, and events that are not worth delivering late."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import database_in

from tellwire import (
    ConflictError,
    Event,
    InvalidInputError,
    NotFoundError,
    Options,
    SyncTellwire,
    Tellwire,
)
from tellwire.deliver.engine import EngineOptions
from tellwire.model.delivery import Delivery, State
from tellwire.policy.retry import RetrySchedule
from tellwire.server import build_app
from tellwire.telemetry import DeliveryExpired, Fact

from .callers import Mode, caller
from .conftest import LOOPBACK, Receiver, Reply, Server, serving
from .embedded import KEY, all_are, deliveries, until
from .test_api_control import created, locs


class OrderPaid(Event, name="order.paid"):
    n: int


def tellwire_on(url: str, *, fan_out_at_once: int = 200) -> Tellwire:
    engine = EngineOptions(grace_s=1, schedule=RetrySchedule((10, 600_000)))
    return Tellwire(
        url, Options(secret_key=KEY, egress=LOOPBACK, engine=engine, fan_out_at_once=fan_out_at_once)
    )


@pytest.fixture(params=["sqlite", "postgres"])
async def tellwire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tellwire]:
    """On either database, with a retry at once and another one much later."""
    on_postgres = request.param == "postgres"
    url = database_in(tmp_path) if on_postgres else f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with tellwire_on(url) as tellwire:
        yield tellwire


def soon(tellwire: Tellwire, seconds: float) -> datetime:
    """So many seconds ahead by the clock that rules, without what is finer than a millisecond."""
    at = tellwire.now() + timedelta(seconds=seconds)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def test_an_event_is_not_delivered_before_its_time(tellwire: Tellwire, receiver: Receiver) -> None:
    """It waits as a pending delivery that is due then, and is sent then; other events go ahead of it."""
    await tellwire.endpoints.create(receiver.url, events=["*"])
    at = soon(tellwire, 2)
    receipt = await tellwire.publish("order.paid", {"n": 1}, deliver_at=at)
    (waiting,) = await deliveries(tellwire)
    assert (waiting.due_at, receipt.deliveries) == (at, 1)
    await tellwire.publish("order.paid", {"n": 2})
    arrived = await receiver.met(1)
    ahead = b'"n":2' in arrived[0].body
    assert ahead or tellwire.now() >= at
    requests = await receiver.met(2)
    assert tellwire.now() >= at
    assert {b'"n":1' in request.body for request in requests} == {False, True}
    await all_are(tellwire, State.SUCCEEDED, 2)
    event = await tellwire.events.get(receipt.id)
    assert (event.deliver_at, event.expires_at) == (at, None)


async def test_every_way_to_publish_takes_the_times(tellwire: Tellwire) -> None:
    """Alone, declared, in a list: all of them are stored with both."""
    at, end = soon(tellwire, 3_600), soon(tellwire, 7_200)
    times: dict[str, Any] = {"deliver_at": at, "expires_at": end}
    await tellwire.publish(OrderPaid(n=1), **times)
    await tellwire.publish_many([{"type": "order.paid", "data": {}, **times}])
    found = (await tellwire.events.list()).data
    assert [(event.deliver_at, event.expires_at) for event in found] == [(at, end)] * 2


def test_sync_code_publishes_ahead_too(tmp_path: Path) -> None:
    """The sync face takes the same times and refuses the same faults."""
    with SyncTellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", Options(deliver=False)) as tellwire:
        now = tellwire.call(_now)
        receipt = tellwire.publish("order.paid", {}, deliver_at=now + timedelta(days=29))
        assert tellwire.call(lambda one: one.events.get(receipt.id)).deliver_at is not None
        with pytest.raises(InvalidInputError, match="deliver_at"):
            tellwire.publish("order.paid", {}, deliver_at=now + timedelta(days=31))


async def _now(tellwire: Tellwire) -> datetime:
    return tellwire.now()


MODES = [
    Mode("AsyncConnection+aiosqlite", "sqlite"),
    Mode("sqlite3", "sqlite", "thread"),
    Mode("asyncpg", "postgres"),
    Mode("psycopg", "postgres", "thread"),
]


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_in_the_callers_transaction_as_well(mode: Mode, tmp_path: Path, receiver: Receiver) -> None:
    """After the commit it waits for its time, and is delivered then."""
    url = database_in(tmp_path) if mode.store == "postgres" else f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with tellwire_on(url) as tellwire, caller(mode, tellwire, url, KEY) as one:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        at = soon(tellwire, 0.4)
        await one.publish("order.paid", {"n": 1}, deliver_at=at, expires_at=at + timedelta(hours=1))
        await one.commit()
        (waiting,) = await deliveries(tellwire)
        assert (waiting.due_at or tellwire.now()) >= at  # later, or sent already, where this took so long
        await receiver.met(1)
        assert tellwire.now() >= at


async def test_a_wide_event_waits_too(tmp_path: Path, receiver: Receiver) -> None:
    """What is fanned out in the background is due at the same time; cancelled, nothing of it is sent."""
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with tellwire_on(url, fan_out_at_once=2) as tellwire:
        for _ in range(5):
            await tellwire.endpoints.create(receiver.url, events=["*"])
        at = soon(tellwire, 0.5)
        await tellwire.publish("order.paid", {"n": 1}, deliver_at=at)
        later = await tellwire.publish("order.paid", {"n": 2}, deliver_at=at + timedelta(days=1))
        await receiver.met(5)
        assert tellwire.now() >= at
        event, cancelled = await tellwire.events.cancel(later.id)
        assert (event.deliveries, cancelled) == (5, 5)
        assert len(receiver.requests) == 5


async def test_an_event_is_cancelled_before_it_is_due(tellwire: Tellwire, receiver: Receiver) -> None:
    """All its deliveries end as cancelled; a second time, or once it is delivered, there is nothing to cancel."""
    for _ in range(2):
        await tellwire.endpoints.create(receiver.url, events=["*"])
    receipt = await tellwire.publish("order.paid", {}, deliver_at=soon(tellwire, 3_600))
    event, cancelled = await tellwire.events.cancel(receipt.id)
    assert (event.id, cancelled) == (receipt.id, 2)
    await all_are(tellwire, State.CANCELLED, 2)
    with pytest.raises(ConflictError, match="no pending delivery"):
        await tellwire.events.cancel(receipt.id)
    with pytest.raises(NotFoundError):
        await tellwire.events.cancel("evt_01k5w3m8qhe5sbd3y0t2vwz9ra")
    sent = await tellwire.publish("order.paid", {})
    await receiver.met(2)
    await until(lambda: _succeeded(tellwire, 2))
    with pytest.raises(ConflictError):
        await tellwire.events.cancel(sent.id)


async def _succeeded(tellwire: Tellwire, count: int) -> bool:
    return len(await deliveries(tellwire, State.SUCCEEDED)) == count


async def test_what_comes_to_its_turn_too_late_is_not_sent(tellwire: Tellwire, receiver: Receiver) -> None:
    """An event that expired while its endpoint was paused ends as exhausted, without an attempt, and says why."""
    facts: list[Fact] = []
    tellwire.telemetry.subscribe(facts.append)
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
    await tellwire.endpoints.pause(endpoint.id)
    end = soon(tellwire, 0.5)
    await tellwire.publish("order.paid", {"n": 1}, expires_at=end)
    await tellwire.publish("order.paid", {"n": 2}, expires_at=end + timedelta(hours=1))

    async def is_over() -> bool:
        return tellwire.now() > end

    await until(is_over)
    await tellwire.endpoints.resume(endpoint.id)
    (request,) = await receiver.met(1)
    assert b'"n":2' in request.body

    async def has_ended() -> list[Delivery]:
        return await deliveries(tellwire, State.EXHAUSTED)

    (expired,) = await until(has_ended)
    assert (expired.last_error, expired.attempt_count, expired.due_at) == ("expired", 0, None)
    assert expired.finished_at is not None
    assert [fact.attempts for fact in facts if isinstance(fact, DeliveryExpired)] == [0]
    with pytest.raises(ConflictError, match="its event has expired"):
        await tellwire.deliveries.retry(expired.id)


async def test_no_retry_is_made_after_expiry(tellwire: Tellwire, receiver: Receiver) -> None:
    """Where the next attempt would come too late, the delivery ends at once; the last answer's status stays."""
    facts: list[Fact] = []
    tellwire.telemetry.subscribe(facts.append)
    receiver.respond = lambda _: Reply(503)
    await tellwire.endpoints.create(receiver.url, events=["*"])
    await tellwire.publish("order.paid", {}, expires_at=soon(tellwire, 300))
    (expired,) = await all_are(tellwire, State.EXHAUSTED, 1)
    assert (expired.last_error, expired.last_status_code, expired.attempt_count) == ("expired", 503, 2)
    assert [fact.attempts for fact in facts if isinstance(fact, DeliveryExpired)] == [2]


async def test_times_that_make_no_sense_are_refused(tellwire: Tellwire) -> None:
    """Too far ahead, or over before it begins; a time in the past is now."""
    await tellwire.publish("a", {}, deliver_at=soon(tellwire, -3_600))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"deliver_at": soon(tellwire, 31 * 86_400)}, "deliver_at: is more than 30 days ahead"),
        ({"expires_at": soon(tellwire, -1)}, "expires_at: is in the past"),
        (
            {"deliver_at": soon(tellwire, 9), "expires_at": soon(tellwire, 8)},
            "expires_at: is not after deliver_at",
        ),
        ({"deliver_at": datetime(2030, 1, 1)}, "deliver_at: "),
        ({"expires_at": "tomorrow"}, "expires_at: expected an RFC 3339 time"),
    ]
    for times, says in wrong:
        with pytest.raises(InvalidInputError, match=says):
            await tellwire.publish("a", {}, **times)
    with pytest.raises(InvalidInputError, match=r"events\.1\.deliver_at"):
        await tellwire.publish_many(
            [{"type": "a", "data": {}}, {"type": "a", "data": {}, "deliver_at": soon(tellwire, 31 * 86_400)}]
        )
    assert len((await tellwire.events.list()).data) == 1


async def test_the_times_are_part_of_what_a_key_stands_for(tellwire: Tellwire) -> None:
    """The same key with the same times answers with the first event, even when they have passed; others conflict."""
    end = soon(tellwire, 0.5)
    times: dict[str, Any] = {"idempotency_key": "k", "expires_at": end}
    first = await tellwire.publish("a", {}, **times)

    async def is_over() -> bool:
        return tellwire.now() > end

    await until(is_over)
    again = await tellwire.publish("a", {}, **times)
    assert (again.id, again.duplicate) == (first.id, True)
    others: list[dict[str, Any]] = [{}, {"expires_at": end + timedelta(hours=1)}, {"deliver_at": end}]
    for other in others:
        with pytest.raises(ConflictError):
            await tellwire.publish("a", {}, idempotency_key="k", **other)


async def test_a_replay_keeps_the_times(tellwire: Tellwire, receiver: Receiver) -> None:
    """A new endpoint that has missed an event gets it at its time; one that has expired is passed over."""
    await tellwire.publish("a", {"n": 1}, deliver_at=soon(tellwire, 3_600))
    end = soon(tellwire, 0.5)
    await tellwire.publish("a", {"n": 2}, expires_at=end)
    await tellwire.publish("a", {"n": 3})
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])

    async def is_over() -> bool:
        return tellwire.now() > end + timedelta(seconds=0.05)

    await until(is_over)
    replay = await tellwire.replays.start(endpoint.id, since=soon(tellwire, -60), until=tellwire.now())

    async def has_ended() -> bool:
        return (await tellwire.replays.get(replay.id)).finished_at is not None

    await until(has_ended)
    found = await tellwire.replays.get(replay.id)
    assert (found.created, found.expired) == (2, 1)
    (request,) = await receiver.met(1)
    assert b'"n":3' in request.body
    await until(lambda: _succeeded(tellwire, 1))
    (waiting,) = await deliveries(tellwire, State.PENDING)
    assert waiting.due_at is not None
    assert waiting.due_at > tellwire.now() + timedelta(seconds=3_000)


async def test_over_http(tmp_path: Path, receiver: Receiver) -> None:
    """Both routes take the times, both ways to look show them, and an event is cancelled by its own route."""
    options = Options(admin_key="tw_admin_of_the_tests", egress=LOOPBACK)
    url = f"sqlite:///{tmp_path / 'tellwire.db'}"
    async with Tellwire(url, options) as tellwire, serving(tellwire, build_app(tellwire)) as server:
        await created(server, url=receiver.url, events=["*"])
        await _try_over_http(server, receiver)


async def _try_over_http(server: Server, receiver: Receiver) -> None:
    client, at, end = server.client, "2999-01-01T00:00:00.000Z", "3000-01-01T00:00:00.000Z"
    body = {"type": "a", "data": {}}
    assert locs(await client.post("/v1/events", json=body | {"deliver_at": at})) == [["deliver_at"]]
    assert locs(await client.post("/v1/events", json=body | {"deliver_at": 7})) == [["deliver_at"]]
    batch = {"events": [body, body | {"deliver_at": end, "expires_at": at}]}
    assert locs(await client.post("/v1/events/batch", json=batch)) == [["events", 1, "expires_at"]]
    ahead = soon(server.tellwire, 3_600).isoformat()
    sent = (await client.post("/v1/events", json=body | {"deliver_at": ahead, "expires_at": end})).json()
    shown = (await client.get(f"/v1/events/{sent['id']}")).json()
    assert (shown["deliver_at"][:19], shown["expires_at"]) == (ahead[:19], end)
    assert (await client.get("/v1/events")).json()["data"][0]["expires_at"] == end
    answer = await client.post(f"/v1/events/{sent['id']}/cancel")
    assert (answer.status_code, answer.json()["cancelled"], answer.json()["id"]) == (200, 1, sent["id"])
    assert (await client.post(f"/v1/events/{sent['id']}/cancel")).status_code == 409
    assert (await client.post("/v1/events/evt_01k5w3m8qhe5sbd3y0t2vwz9ra/cancel")).status_code == 404
    assert (await client.get("/v1/deliveries")).json()["data"][0]["state"] == "cancelled"
    assert receiver.requests == []
