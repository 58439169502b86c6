"""From publish to a recorded answer: fan-out, slots, retries, and what people do in between."""

import asyncio
import json
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tellwire import Tellwire
from tellwire.deliver.lanes import LaneBounds
from tellwire.model.delivery import State
from tellwire.model.endpoint import EndpointState

from .embedded import all_are, deliveries, tellwire_at, until
from .receivers import HeldReceiver


async def publish(tellwire: Tellwire, count: int) -> list[str]:
    receipts = await asyncio.gather(*[tellwire.publish("order.paid", {"n": n}) for n in range(count)])
    return [receipt.id for receipt in receipts]


async def test_events_go_where_patterns_say(tmp_path: Path) -> None:
    """Each endpoint gets the events that a pattern of it matches, once, and no others."""
    async with HeldReceiver() as orders, HeldReceiver() as all, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(orders.url, events=["order.*", "order.paid"])
        await tellwire.endpoints.create(all.url, events=["*"])
        for type in ("order.paid", "user.created", "order.item.added"):
            await tellwire.publish(type, {"n": 1})
        assert await tellwire.drained()
        assert sorted(json.loads(body)["type"] for body in orders.bodies) == [
            "order.item.added",
            "order.paid",
        ]
        assert len(all.bodies) == 3
        assert len(await deliveries(tellwire, State.SUCCEEDED)) == 5


async def test_the_published_bytes_arrive_signed(tmp_path: Path) -> None:
    """The body holds the data byte for byte, the reference library verifies them, custom headers come too."""
    data = b'{"z": 1.10, "a" :[1,2 ], "u":"\\u00e9"}'
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        _, secret = await tellwire.endpoints.create(receiver.url, events=["*"], headers={"x-team": "blue"})
        receipt = await tellwire.publish("order.paid", data)
        assert await tellwire.drained()
        (body,), (head,) = receiver.bodies, receiver.heads
        assert data in body
        assert head["x-team"] == ["blue"]
        assert head["webhook-id"] == [receipt.id]
        Webhook(secret).verify(body, {name: values[0] for name, values in head.items()})


async def test_a_lane_never_exceeds_its_slots(tmp_path: Path) -> None:
    """However much waits, an endpoint sees no more requests at once than it has slots, and in the end all of them."""
    bounds = LaneBounds(per_endpoint=3, per_process=100, held=1_000)
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path, bounds=bounds) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        ids = await publish(tellwire, 60)
        await receiver.met(3)
        assert len(receiver.bodies) == 3
        receiver.let_go()
        assert await tellwire.drained()
        assert sorted(receiver.ids) == sorted(ids)
        assert receiver.most_waiting <= 3


async def test_all_lanes_together_never_exceed_the_slots_of_the_process(tmp_path: Path) -> None:
    """Ten endpoints of two tenants, with four slots each, share the five slots of the process."""
    bounds = LaneBounds(per_endpoint=4, per_process=5, held=1_000)
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path, bounds=bounds) as tellwire:
        await tellwire.tenants.create("acme")
        for number in range(10):
            tenant = "acme" if number % 2 else "default"
            await tellwire.endpoints.create(f"{receiver.url}/{number}", events=["*"], tenant=tenant)
        await publish(tellwire, 6)
        await tellwire.publish_many([{"type": "order.paid", "data": {}}] * 6, tenant="acme")
        await receiver.met(5)
        receiver.let_go()
        assert await tellwire.drained()
        assert len(receiver.bodies) == 60
        assert receiver.most_waiting <= 5


async def test_a_hanging_endpoint_holds_up_nobody(tmp_path: Path) -> None:
    """While one endpoint answers nothing, another gets all its events, and they are recorded."""
    async with (
        HeldReceiver(held=True) as slow,
        HeldReceiver() as healthy,
        tellwire_at(tmp_path, grace_s=0) as tellwire,
    ):
        await tellwire.endpoints.create(slow.url, events=["*"])
        endpoint, _ = await tellwire.endpoints.create(healthy.url, events=["*"])
        ids = await publish(tellwire, 100)

        async def healthy_ones_are_through() -> bool:
            page = await tellwire.deliveries.list(endpoint=endpoint.id, state=State.SUCCEEDED, limit=250)
            return len(page.data) == len(ids)

        assert await until(healthy_ones_are_through)
        assert slow.answered == 0
        assert sorted(healthy.ids) == sorted(ids)


async def test_more_than_memory_holds_arrives_all_the_same(tmp_path: Path) -> None:
    """What finds no room in memory waits in the store, and every event arrives exactly once."""
    bounds = LaneBounds(per_endpoint=1, per_process=2, held=2)
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path, bounds=bounds) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.endpoints.create(receiver.url, events=["*"])
        ids = await publish(tellwire, 300)
        assert tellwire.engine is not None
        assert tellwire.engine.held < 100
        receiver.let_go()
        assert await tellwire.drained()
        assert sorted(receiver.ids) == sorted(ids * 2)


async def test_failures_are_retried_on_schedule_until_it_is_used_up(tmp_path: Path) -> None:
    """A failing delivery is tried once and as often again as the schedule has waits, then it is exhausted."""
    async with HeldReceiver(lambda number: (500, {})) as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        (delivery,) = await all_are(tellwire, State.EXHAUSTED, 1)
        _, attempts = await tellwire.deliveries.get(delivery.id)
        assert [attempt.number for attempt in attempts] == [1, 2, 3, 4]
        assert [attempt.status_code for attempt in attempts] == [500] * 4
        assert len(receiver.bodies) == 4
        assert len(set(receiver.ids)) == 1


async def test_a_retry_that_succeeds_ends_the_delivery(tmp_path: Path) -> None:
    """After two failures and a success the delivery is succeeded, with three attempts."""
    async with (
        HeldReceiver(lambda number: (200 if number == 3 else 503, {})) as receiver,
        tellwire_at(tmp_path) as tellwire,
    ):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        (delivery,) = await all_are(tellwire, State.SUCCEEDED, 1)
        assert delivery.attempt_count == 3


async def test_retry_after_postpones_the_next_attempt(tmp_path: Path) -> None:
    """A receiver that asks for an hour gets an hour, whatever the schedule says."""
    async with (
        HeldReceiver(lambda number: (429, {"retry-after": "3600"})) as receiver,
        tellwire_at(tmp_path) as tellwire,
    ):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        receipt = await tellwire.publish("order.paid", {"n": 1})
        assert await tellwire.drained()
        (delivery,) = await deliveries(tellwire, State.PENDING)
        assert delivery.due_at is not None
        assert 3_599 <= (delivery.due_at - receipt.created_at).total_seconds() <= 3_700
        assert len(receiver.bodies) == 1


async def test_gone_disables_the_endpoint_and_what_is_pending_waits(tmp_path: Path) -> None:
    """410 exhausts its delivery and disables the endpoint; the others wait, and go on once it is enabled."""
    bounds = LaneBounds(per_endpoint=1)
    async with (
        HeldReceiver(lambda number: (410 if number == 1 else 200, {}), held=True) as receiver,
        tellwire_at(tmp_path, bounds=bounds) as tellwire,
    ):
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await publish(tellwire, 20)
        await receiver.met(1)
        receiver.let_go()

        async def is_disabled() -> bool:
            found = await tellwire.endpoints.get(endpoint.id)
            return found.state is EndpointState.DISABLED and "410" in (found.state_reason or "")

        assert await until(is_disabled)
        assert await tellwire.drained()
        assert len(await deliveries(tellwire, State.EXHAUSTED)) == 1
        assert (await tellwire.publish("order.paid", {"n": 1})).deliveries == 0
        waiting = len(await deliveries(tellwire, State.PENDING))
        assert waiting + len(receiver.bodies) == 20
        await tellwire.endpoints.enable(endpoint.id)
        assert await tellwire.drained()
        assert len(await deliveries(tellwire, State.SUCCEEDED)) == 19


async def test_a_pause_keeps_events_until_it_ends(tmp_path: Path) -> None:
    """Nothing is sent to a paused endpoint; after the pause all of it is."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.endpoints.pause(endpoint.id)
        ids = await publish(tellwire, 10)
        assert await tellwire.drained()
        assert receiver.bodies == []
        await tellwire.endpoints.resume(endpoint.id)
        assert await tellwire.drained()
        assert sorted(receiver.ids) == sorted(ids)


async def test_a_short_pause_delays_nothing(tmp_path: Path) -> None:
    """However quickly an endpoint is paused and resumed, what was published meanwhile is sent at once afterwards."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        for _ in range(20):
            calls = [
                tellwire.endpoints.pause(endpoint.id),
                publish(tellwire, 3),
                tellwire.endpoints.resume(endpoint.id),
            ]
            await asyncio.gather(*calls)
            assert await tellwire.drained(timeout_s=10)
        assert len(receiver.bodies) == 60


async def test_a_deleted_endpoint_gets_nothing_more(tmp_path: Path) -> None:
    """What was waiting for an endpoint when it was deleted is cancelled and never sent."""
    bounds = LaneBounds(per_endpoint=1)
    async with (
        HeldReceiver(held=True) as receiver,
        tellwire_at(tmp_path, bounds=bounds) as tellwire,
    ):
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await publish(tellwire, 10)
        await receiver.met(1)
        await tellwire.endpoints.delete(endpoint.id)
        receiver.let_go()
        await all_are(tellwire, State.CANCELLED, 10)
        assert await tellwire.drained()
        assert len(receiver.bodies) == 1


async def test_a_retry_by_hand_sends_again(tmp_path: Path) -> None:
    """An ended delivery that is retried by hand is sent again, and its attempts go on counting."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        (delivery,) = await all_are(tellwire, State.SUCCEEDED, 1)
        await tellwire.deliveries.retry(delivery.id)
        assert await tellwire.drained()
        found, attempts = await tellwire.deliveries.get(delivery.id)
        assert found.state is State.SUCCEEDED
        assert [(attempt.number, attempt.trigger) for attempt in attempts] == [(1, "schedule"), (2, "manual")]
        assert len(receiver.bodies) == 2


async def test_a_retry_by_hand_while_in_flight_is_another_attempt(tmp_path: Path) -> None:
    """The answer to the attempt before the hand changes nothing; the one after it counts, and nothing stays held."""
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        await receiver.met(1)
        (delivery,) = await deliveries(tellwire)
        await tellwire.deliveries.retry(delivery.id)
        await receiver.met(2)
        receiver.let_go()
        assert await tellwire.drained()
        found, attempts = await tellwire.deliveries.get(delivery.id)
        assert found.state is State.SUCCEEDED
        assert [(attempt.number, attempt.trigger) for attempt in attempts] == [(1, "manual")]
        assert tellwire.engine is not None
        assert tellwire.engine.held == 0
        assert tellwire.engine._lanes.held == 0


async def test_a_delivery_cancelled_in_flight_stays_cancelled(tmp_path: Path) -> None:
    """The answer that comes after a cancellation is not recorded."""
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        await receiver.met(1)
        (delivery,) = await deliveries(tellwire)
        await tellwire.deliveries.cancel(delivery.id)
        receiver.let_go()
        assert await tellwire.drained()
        found, attempts = await tellwire.deliveries.get(delivery.id)
        assert (found.state, attempts) == (State.CANCELLED, [])


async def test_a_rotation_signs_with_both_secrets(tmp_path: Path) -> None:
    """During the overlap the old and the new secret both verify; without overlap the new one alone does."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        endpoint, old = await tellwire.endpoints.create(receiver.url, events=["*"])
        new = await tellwire.endpoints.rotate_secret(endpoint.id)
        await tellwire.publish("order.paid", {"n": 1})
        assert await tellwire.drained()
        newest = await tellwire.endpoints.rotate_secret(endpoint.id, overlap_s=0)
        await tellwire.publish("order.paid", {"n": 2})
        assert await tellwire.drained()

        def verifies(index: int, secret: str) -> bool:
            headers = {name: values[0] for name, values in receiver.heads[index].items()}
            try:
                Webhook(secret).verify(receiver.bodies[index], headers)
            except Exception:
                return False
            return True

        assert [verifies(0, secret) for secret in (old, new, newest)] == [True, True, False]
        assert verifies(1, newest)
        assert not verifies(1, new)


async def test_a_test_event_goes_to_its_endpoint_alone(tmp_path: Path) -> None:
    """The example event reaches the endpoint that was asked for, subscribed or not, and nobody else."""
    async with HeldReceiver() as one, HeldReceiver() as other, tellwire_at(tmp_path) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(one.url, events=["nothing.of.this"])
        await tellwire.endpoints.create(other.url, events=["*"])
        delivery = await tellwire.endpoints.test(endpoint.id)
        assert await tellwire.drained()
        _, attempts = await tellwire.deliveries.get(delivery.id)
        assert [attempt.trigger for attempt in attempts] == ["test"]
        assert (len(one.bodies), len(other.bodies)) == (1, 0)


@pytest.mark.parametrize("deliver", [True, False], ids=["fast-path", "store-path"])
async def test_both_paths_send_the_same_bytes(tmp_path: Path, deliver: bool) -> None:
    """Sent by the process that published it, or by another one, an event has the same body."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path, deliver=deliver) as publisher:
        await publisher.endpoints.create(receiver.url, events=["*"])
        receipt = await publisher.publish("order.paid", b'{"n": 1.0}')
        if not deliver:
            async with tellwire_at(tmp_path):
                await receiver.met(1)
        await receiver.met(1)
        expected = b'{"type":"order.paid","timestamp":"%b","data":{"n": 1.0}}'
        timestamp = receipt.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert receiver.bodies == [expected % timestamp.encode()]
