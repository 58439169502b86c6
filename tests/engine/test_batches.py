"""Endpoints that get batches: several events in one request, which stay together until it succeeds."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import database_in

from tellwire import InvalidInputError, Options, Subscription, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.model.delivery import Delivery, State, WaitingFor
from tellwire.model.replay import Again
from tellwire.model.subscription import Envelope
from tellwire.telemetry import BatchSent, Fact

from .conftest import Receiver, Reply
from .embedded import KEY, LOOPBACK, all_are, deliveries, tellwire_at, until
from .receivers import HeldReceiver

LONG_S = 60


def on(url: str) -> Tellwire:
    return Tellwire(url, Options(secret_key=KEY, egress=LOOPBACK, engine=EngineOptions(grace_s=1)))


async def batching(tellwire: Tellwire, receiver: HeldReceiver, **settings: Any) -> str:
    """An endpoint with batches, the rest of whose settings are ``settings``; gives its id."""
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
    return endpoint.id


async def publish(tellwire: Tellwire, count: int, first: int = 0) -> list[str]:
    """So many events, one after the other; gives their ids."""
    return [(await tellwire.publish("order.paid", {"n": n})).id for n in range(first, first + count)]


def events(body: bytes) -> list[str]:
    return [one["id"] for one in json.loads(body)]


async def test_so_many_events_go_at_once(tmp_path: Path) -> None:
    """As soon as there are enough they go, each batch in the order of publishing; the time need not pass."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 4, "max_wait_s": LONG_S})
        ids = await publish(tellwire, 8)
        await all_are(tellwire, State.SUCCEEDED, 8)
        sent = [events(body) for body in receiver.bodies]
        assert [len(one) for one in sent] == [4, 4]
        assert all(one == sorted(one) for one in sent)
        assert sorted(sent[0] + sent[1]) == ids
        assert all(head["content-type"] == ["application/json"] for head in receiver.heads)
        assert len(set(receiver.ids)) == 2
        assert all(id.startswith("bat_") for id in receiver.ids)


async def test_fewer_events_go_when_the_first_has_waited(tmp_path: Path) -> None:
    """What is there when the time has passed goes; what comes then waits anew."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 1_000, "max_wait_s": 0.2})
        ids = await publish(tellwire, 3)
        await all_are(tellwire, State.SUCCEEDED, 3)
        ids += await publish(tellwire, 1, 3)
        await all_are(tellwire, State.SUCCEEDED, 4)
        assert sorted(id for body in receiver.bodies for id in events(body)) == ids


async def test_what_has_expired_meanwhile_is_left_out(tmp_path: Path) -> None:
    """An event that expires while it waits for company, or for another try, ends as exhausted; the others go."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 3, "max_wait_s": LONG_S})
        expires_at = datetime.now(UTC) + timedelta(seconds=0.3)
        short = await tellwire.publish("order.paid", {"n": 0}, expires_at=expires_at)
        await asyncio.sleep(0.5)
        ids = await publish(tellwire, 2, 1)

        async def over() -> bool:
            return not await deliveries(tellwire, State.PENDING)

        await until(over)
        (body,) = receiver.bodies
        assert events(body) == ids
        (left_out,) = await deliveries(tellwire, State.EXHAUSTED)
        assert (left_out.event_id, left_out.last_error) == (short.id, "expired")


async def test_each_event_is_as_it_would_be_alone(tmp_path: Path) -> None:
    """The bytes of its envelope, with its id in front."""
    async with HeldReceiver() as receiver, HeldReceiver() as alone, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 2, "max_wait_s": LONG_S})
        await tellwire.endpoints.create(alone.url, events=["*"], settings={"max_in_flight": 1})
        for data in ({"a": 1.50, "é": "\u2603"}, {}):
            await tellwire.publish("order.paid", data)
        await all_are(tellwire, State.SUCCEEDED, 4)
        ids = alone.ids
        whole = [
            b'{"id":"%b",%b' % (id.encode(), body[1:]) for id, body in zip(ids, alone.bodies, strict=True)
        ]
        assert receiver.bodies == [b"[" + b",".join(whole) + b"]"]


async def test_a_batch_of_cloudevents(tmp_path: Path) -> None:
    """The batch format of CloudEvents 1.0, whatever the subscriptions say that is allowed with it."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(
            receiver.url,
            subscriptions=[Subscription(("*",), envelope=Envelope.CLOUDEVENTS)],
            settings={"batch": {"max_events": 2, "max_wait_s": LONG_S, "format": "cloudevents"}},
        )
        ids = await publish(tellwire, 2)
        await all_are(tellwire, State.SUCCEEDED, 2)
        assert receiver.heads[0]["content-type"] == ["application/cloudevents-batch+json"]
        found = json.loads(receiver.bodies[0])
        assert [one["id"] for one in found] == ids
        assert [one["data"] for one in found] == [{"n": 0}, {"n": 1}]
        assert {one["specversion"] for one in found} == {"1.0"}


async def test_a_failed_batch_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """The same events under the same id, the same bytes, though others have come meanwhile; an attempt for each."""
    async with (
        HeldReceiver(lambda n: (200 if n > 2 else 500, {})) as receiver,
        tellwire_at(tmp_path, delays_ms=(50,) * 5) as tellwire,
    ):
        settings = {"max_events": 3, "max_wait_s": LONG_S}
        await batching(tellwire, receiver, batch=settings)
        await publish(tellwire, 3)
        await receiver.met(1)
        await publish(tellwire, 2, 3)
        await receiver.met(3)
        await publish(tellwire, 1, 5)
        found = await all_are(tellwire, State.SUCCEEDED, 6)
        assert receiver.ids[:3] == [receiver.ids[0]] * 3
        assert receiver.bodies[:3] == [receiver.bodies[0]] * 3
        assert [len(json.loads(body)) for body in receiver.bodies] == [3, 3, 3, 3]
        assert [one.attempt_count for one in found] == [3, 3, 3, 1, 1, 1]
        stamps = [int(head["webhook-timestamp"][0]) for head in receiver.heads]
        assert stamps == sorted(stamps)


async def test_little_is_kept_of_what_a_batch_was_answered(tmp_path: Path, receiver: Receiver) -> None:
    """It is kept with each of its deliveries: of a long answer the beginning alone."""
    receiver.respond = lambda _: Reply(body=b"x" * 4_000)
    async with tellwire_at(tmp_path) as tellwire:
        settings = {"batch": {"max_events": 2, "max_wait_s": LONG_S}}
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await publish(tellwire, 2)
        for one in await all_are(tellwire, State.SUCCEEDED, 2):
            _, (attempt,) = await tellwire.deliveries.get(one.id)
            assert attempt.response_body == b"x" * 512


async def test_a_member_that_is_cancelled_drops_out(tmp_path: Path) -> None:
    """The others go on without it, under another id: whoever has taken the first must not take this one for it."""
    async with (
        HeldReceiver(lambda n: (200 if n > 1 else 500, {})) as receiver,
        tellwire_at(tmp_path, delays_ms=(3_600_000,)) as tellwire,
    ):
        id = await batching(tellwire, receiver, batch={"max_events": 3, "max_wait_s": LONG_S})
        ids = await publish(tellwire, 3)

        async def failed() -> list[Delivery]:
            found = await deliveries(tellwire)
            return found if all(one.attempt_count for one in found) else []

        found = await until(failed)
        await tellwire.endpoints.update(id, {"batch": {"max_wait_s": 0.1}})
        await tellwire.deliveries.cancel(found[1].id)
        await tellwire.deliveries.retry(found[0].id)
        await tellwire.deliveries.retry(found[2].id)

        async def done() -> bool:
            states = [one.state for one in await deliveries(tellwire)]
            return states == [State.SUCCEEDED, State.CANCELLED, State.SUCCEEDED]

        await until(done)
        assert events(receiver.bodies[0]) == ids
        assert sorted(id for body in receiver.bodies[1:] for id in events(body)) == [ids[0], ids[2]]
        assert receiver.ids[0] not in receiver.ids[1:]


async def test_one_that_is_cancelled_while_it_waits_is_not_sent(tmp_path: Path) -> None:
    """It leaves the batch before that is sent."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 3, "max_wait_s": LONG_S})
        ids = await publish(tellwire, 2)

        async def gathered() -> bool:
            return tellwire.engine is not None and tellwire.engine.load().waiting == 2

        await until(gathered)
        await tellwire.events.cancel(ids[0])
        ids += await publish(tellwire, 1, 2)
        await receiver.met(1)
        assert events(receiver.bodies[0]) == ids[1:]


async def test_the_body_stays_below_its_limit(tmp_path: Path) -> None:
    """A request goes when the next event would not fit; an event that is larger alone goes alone."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 100, "max_wait_s": 2, "max_bytes": 4_096})
        for size in (1_000, 1_000, 1_000, 1_000, 9_000, 1_000):
            await tellwire.publish("order.paid", {"text": "x" * size})
        await all_are(tellwire, State.SUCCEEDED, 6)
        counts = [len(json.loads(body)) for body in receiver.bodies]
        assert sum(counts) == 6
        assert all(
            len(body) <= 4_096 or count == 1 for body, count in zip(receiver.bodies, counts, strict=True)
        )
        assert max(counts) == 3


async def test_two_processes_fill_batches_together(tmp_path: Path) -> None:
    """One of them owns the lane, so that what both publish goes together, each event once."""
    url = database_in(tmp_path)
    async with HeldReceiver() as receiver, on(url) as one, on(url) as two:
        await batching(one, receiver, batch={"max_events": 10, "max_wait_s": LONG_S})
        await asyncio.gather(*[(one, two)[n % 2].publish("order.paid", {"n": n}) for n in range(40)])
        await all_are(one, State.SUCCEEDED, 40)
        assert [len(json.loads(body)) for body in receiver.bodies] == [10] * 4
        sent = [id for body in receiver.bodies for id in events(body)]
        assert len(set(sent)) == 40


async def test_a_stop_gives_back_what_waits(tmp_path: Path) -> None:
    """What was gathered is sent by the next process, none of it twice."""
    async with HeldReceiver() as receiver:
        async with tellwire_at(tmp_path) as stops:
            await batching(stops, receiver, batch={"max_events": 4, "max_wait_s": LONG_S})
            ids = await publish(stops, 3)
        assert not receiver.bodies
        async with tellwire_at(tmp_path) as goes_on:
            ids += await publish(goes_on, 1, 3)
            await all_are(goes_on, State.SUCCEEDED, 4)
        assert [events(body) for body in receiver.bodies] == [ids]


async def test_batches_are_switched_off_while_events_wait(tmp_path: Path) -> None:
    """What was gathered is sent one by one, as soon as anything moves in the lane."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        id = await batching(tellwire, receiver, batch={"max_events": 100, "max_wait_s": LONG_S})
        ids = await publish(tellwire, 3)
        await tellwire.endpoints.update(id, {"batch": None})
        ids += await publish(tellwire, 1, 3)
        await all_are(tellwire, State.SUCCEEDED, 4)
        assert sorted(receiver.ids) == sorted(ids)


async def test_a_smaller_batch_holds_for_what_failed_before(tmp_path: Path) -> None:
    """A batch that is larger than the setting says by now is taken apart."""
    async with (
        HeldReceiver(lambda n: (200 if len(events(receiver.bodies[n - 1])) <= 3 else 500, {})) as receiver,
        tellwire_at(tmp_path, delays_ms=(500,) * 100) as tellwire,
    ):
        id = await batching(tellwire, receiver, batch={"max_events": 6, "max_wait_s": LONG_S})
        ids = await publish(tellwire, 6)
        await receiver.met(1)
        await tellwire.endpoints.update(id, {"batch": {"max_events": 3}})
        await all_are(tellwire, State.SUCCEEDED, 6)
        sent = [events(body) for body in receiver.bodies]
        assert sent[0] == ids
        assert [len(one) for one in sent[-2:]] == [3, 3]
        assert sorted(sent[-1] + sent[-2]) == ids


async def test_a_batch_takes_one_slot_and_one_token(tmp_path: Path) -> None:
    """Limits count requests."""
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        settings = {"batch": {"max_events": 5, "max_wait_s": LONG_S}, "max_in_flight": 1}
        await batching(tellwire, receiver, **settings, rate_limit={"limit": 2, "per": "minute", "burst": 2})
        await publish(tellwire, 10)
        await receiver.met(1)
        receiver.let_go()
        await all_are(tellwire, State.SUCCEEDED, 10)
        assert receiver.most_waiting == 1
        assert len(receiver.bodies) == 2


async def test_gone_ends_the_batch_and_disables_the_endpoint(tmp_path: Path) -> None:
    """A 410 holds for all of it, and is told once."""
    async with HeldReceiver(lambda _: (410, {})) as receiver, tellwire_at(tmp_path) as tellwire:
        facts: list[Fact] = []
        tellwire.telemetry.subscribe(facts.append)
        id = await batching(tellwire, receiver, batch={"max_events": 3, "max_wait_s": LONG_S})
        await publish(tellwire, 3)
        await all_are(tellwire, State.EXHAUSTED, 3)
        assert (await tellwire.endpoints.get(id)).state == "disabled"
        assert [type(fact).__name__ for fact in facts].count("EndpointDisabled") == 1
        assert [(fact.deliveries, fact.succeeded) for fact in facts if isinstance(fact, BatchSent)] == [
            (3, False)
        ]


async def test_statistics_count_deliveries(tmp_path: Path) -> None:
    """One request, so many attempts: as the rows say."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        id = await batching(tellwire, receiver, batch={"max_events": 5, "max_wait_s": LONG_S})
        await publish(tellwire, 5)
        found = await all_are(tellwire, State.SUCCEEDED, 5)
        for one in found:
            _, attempts = await tellwire.deliveries.get(one.id)
            assert [attempt.status_code for attempt in attempts] == [200]
        stats = await tellwire.stats.endpoint(id)
        assert (stats.total.succeeded, stats.total.attempts_succeeded) == (5, 5)


@pytest.mark.parametrize(
    ("settings", "subscription", "field", "words"),
    [
        ({"batch": {"max_events": 1}}, {}, "batch", "max_events"),
        ({"batch": {}, "trace": True}, {}, "batch", "trace"),
        ({"batch": {}, "retry_by_type": [{"events": ["*"], "max_age_s": 60}]}, {}, "batch", "retry_by_type"),
        ({"batch": {}}, {"envelope": Envelope.RAW}, "batch", "raw"),
        ({"batch": {}}, {"envelope": Envelope.CLOUDEVENTS}, "batch", "cloudevents"),
        ({"batch": {"format": "cloudevents"}}, {"envelope": Envelope.CLOUDEVENTS_BINARY}, "batch", "binary"),
    ],
)
async def test_what_cannot_be_combined_is_refused(
    tmp_path: Path, settings: dict[str, Any], subscription: dict[str, Any], field: str, words: str
) -> None:
    """With the name of the setting, and what it does not go with."""
    async with tellwire_at(tmp_path, deliver=False) as tellwire:
        with pytest.raises(InvalidInputError) as caught:
            await tellwire.endpoints.create(
                "https://receiver.example/",
                subscriptions=[Subscription(("*",), **subscription)],
                settings=settings,
            )
        assert any(error.loc[0] == field for error in caught.value.errors)
        assert words in str(caught.value)


async def test_what_waits_for_others_says_so(tmp_path: Path) -> None:
    """And no more when they have come; then it shows in which batch it was sent."""
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        await batching(tellwire, receiver, batch={"max_events": 3, "max_wait_s": LONG_S})
        await publish(tellwire, 2)

        async def shown() -> bool:
            return [one.waiting_for for one in await deliveries(tellwire)] == [WaitingFor.BATCH] * 2

        await until(shown)
        await publish(tellwire, 1, 2)
        await receiver.met(1)

        async def freed() -> bool:
            return [one.waiting_for for one in await deliveries(tellwire)] == [None] * 3

        await until(freed)
        receiver.let_go()
        found = await all_are(tellwire, State.SUCCEEDED, 3)
        assert {one.batch_id for one in found} == set(receiver.ids)


async def test_a_batch_is_the_probe_of_an_open_circuit(tmp_path: Path) -> None:
    """As a whole; when it succeeds, what waited follows in batches too."""
    async with (
        HeldReceiver(lambda n: (200 if n > 2 else 500, {})) as receiver,
        tellwire_at(tmp_path, delays_ms=(10,) * 9) as tellwire,
    ):
        circuit = {"failures": 1, "probe_after_s": 0.2}
        await batching(tellwire, receiver, batch={"max_events": 3, "max_wait_s": LONG_S}, circuit=circuit)
        await publish(tellwire, 3)
        await receiver.met(1)
        await publish(tellwire, 6, 3)
        found = await all_are(tellwire, State.SUCCEEDED, 9)
        assert [len(json.loads(body)) for body in receiver.bodies] == [3] * 5
        assert len(set(receiver.ids)) == len(set(receiver.bodies)) == 3
        assert sum(one.attempt_count for one in found) == 15


async def test_a_replay_fills_batches(tmp_path: Path) -> None:
    """Its share of the lane is counted in batches: it need not wait for the time of each."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        id = await batching(tellwire, receiver, batch={"max_events": 20, "max_wait_s": LONG_S})
        await publish(tellwire, 40)
        await all_are(tellwire, State.SUCCEEDED, 40)
        since = tellwire.now() - timedelta(hours=1)
        await tellwire.replays.start(id, since=since, states=[Again.SUCCEEDED])
        await receiver.met(4)
        await all_are(tellwire, State.SUCCEEDED, 40)
        assert [len(json.loads(body)) for body in receiver.bodies] == [20] * 4
