"""Replays through the whole engine: what failed or was missed is sent again, once, and beside live traffic."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from tellwire import Tellwire
from tellwire.deliver import replay_due
from tellwire.deliver.replay_choice import Pick
from tellwire.errors import ConflictError, InvalidInputError, LimitExceededError, NotFoundError
from tellwire.model.delivery import State
from tellwire.model.endpoint import EndpointState
from tellwire.model.replay import Again, Replay, ReplayState
from tellwire.model.subscription import Subscription
from tellwire.store import replay_pages
from tellwire.store.tables import deliveries as deliveries_table
from tellwire.telemetry import Fact, PageReplayed

from .cli_process import Process
from .embedded import KEY, all_are, deliveries, until
from .receivers import HeldReceiver
from .replaying import SLOTS, URLS, ended, hub

MANY = 40


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Callable[[Path], str] = request.param
    return make(tmp_path)


@pytest.fixture
async def tellwire(url: str) -> AsyncIterator[Tellwire]:
    async with hub(url) as tellwire:
        yield tellwire


async def failed(tellwire: Tellwire, receiver: HeldReceiver, count: int = MANY) -> str:
    """An endpoint at which so many events have failed; it answers 200 from now on."""
    receiver.answer = lambda number: (500, {})
    endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
    await tellwire.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(count)])
    await all_are(tellwire, State.EXHAUSTED, count)
    receiver.answer = lambda number: (200, {})
    return endpoint.id


async def test_everything_that_failed_is_sent_again_once(tellwire: Tellwire) -> None:
    """A replay of a range makes what is exhausted pending again; it ends with progress 1 and its counts."""
    facts: list[Fact] = []
    tellwire.telemetry.subscribe(facts.append)
    async with HeldReceiver() as receiver:
        endpoint = await failed(tellwire, receiver)
        started = await tellwire.replays.start(endpoint, since=long_ago(), states=[Again.EXHAUSTED])
        assert (started.state, started.retried) == (ReplayState.RUNNING, 0)
        done = await ended(tellwire, started)
        assert (done.state, done.progress, done.waiting_for) == (ReplayState.SUCCEEDED, 1.0, None)
        assert (done.looked_at, done.retried, done.created, done.expired) == (MANY, MANY, 0, 0)
        found = await all_are(tellwire, State.SUCCEEDED, MANY)
        assert set(Counter(receiver.ids).values()) == {2}
        _, attempts = await tellwire.deliveries.get(found[0].id)
        assert [(one.number, one.trigger) for one in attempts] == [(1, "schedule"), (2, "replay")]
    pages = [fact for fact in facts if isinstance(fact, PageReplayed)]
    assert sum(page.retried for page in pages) == MANY
    assert pages[-1].state == "succeeded"


async def test_a_replayed_delivery_has_a_whole_schedule(tellwire: Tellwire) -> None:
    """What fails again when it is replayed is exhausted again, and can be replayed again."""
    async with HeldReceiver() as receiver:
        endpoint = await failed(tellwire, receiver, 3)
        receiver.answer = lambda number: (500, {})
        for _ in range(2):
            await ended(tellwire, await tellwire.replays.start(endpoint, since=long_ago()))
            await all_are(tellwire, State.EXHAUSTED, 3)
        assert {one.attempt_count for one in await deliveries(tellwire)} == {3}


async def test_types_and_states_choose(tellwire: Tellwire) -> None:
    """Only events of the types, at which the endpoint has a delivery in one of the states, are sent again."""
    async with HeldReceiver() as receiver:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        for type in ("order.paid", "order.line.added", "invoice.paid"):
            await tellwire.publish(type, {})
        await all_are(tellwire, State.SUCCEEDED, 3)
        receiver.hold()
        cancelled = await tellwire.publish("order.held", {})
        await receiver.met(4)
        (pending,) = (await tellwire.deliveries.list(state=State.PENDING)).data
        await tellwire.deliveries.cancel(pending.id)
        receiver.let_go()

        async def counted(types: list[str] | None, *states: Again) -> int:
            asked = await tellwire.replays.start(
                endpoint.id, since=long_ago(), types=types, states=states, dry_run=True
            )
            return (await ended(tellwire, asked)).retried

        assert await counted(["order.*"], Again.SUCCEEDED) == 2
        assert await counted(["order.*"], Again.SUCCEEDED, Again.CANCELLED) == 3
        assert await counted(["*.paid"], Again.SUCCEEDED) == 2
        assert await counted(None, Again.EXHAUSTED) == 0
        real = await tellwire.replays.start(endpoint.id, since=long_ago(), states=[Again.CANCELLED])
        assert (await ended(tellwire, real)).retried == 1
        await all_are(tellwire, State.SUCCEEDED, 4)
        assert receiver.ids.count(cancelled.id) == 2


async def test_what_was_missed_is_sent(tellwire: Tellwire) -> None:
    """Events from before the endpoint, or from while it was disabled, come if its present subscriptions want them.

    Filters are asked; what has a delivery, is somebody else's, or was an example for another endpoint does not come.
    """
    async with HeldReceiver() as receiver, HeldReceiver() as other:
        await tellwire.tenants.create("acme")
        before = await tellwire.publish("order.paid", {"amount": 200})
        await tellwire.publish("order.paid", {"amount": 5})
        await tellwire.publish("invoice.paid", {"amount": 200})
        await tellwire.publish("order.paid", {"amount": 200}, tenant="acme")
        neighbour, _ = await tellwire.endpoints.create(other.url)
        await tellwire.endpoints.test(neighbour.id)
        wants = [
            Subscription(("order.*",), {"data": {"amount": {"$gt": 100}}}),
            Subscription(("tellwire.*",)),
        ]
        endpoint, _ = await tellwire.endpoints.create(receiver.url, subscriptions=wants)
        live = await tellwire.publish("order.paid", {"amount": 300})
        await receiver.met(1)
        await tellwire.endpoints.disable(endpoint.id)
        meanwhile = await tellwire.publish("order.refunded", {"amount": 400})
        await tellwire.endpoints.enable(endpoint.id)
        for types, count in ((None, 2), (["order.refunded"], 1), (["invoice.*"], 0)):
            counted = await tellwire.replays.start(endpoint.id, since=long_ago(), types=types, dry_run=True)
            assert (await ended(tellwire, counted)).created == count
        assert receiver.ids == [live.id]
        done = await ended(tellwire, await tellwire.replays.start(endpoint.id, since=long_ago()))
        assert (done.created, done.retried) == (2, 0)
        await receiver.met(3)
        assert await tellwire.drained()
        assert Counter(receiver.ids) == Counter([live.id, before.id, meanwhile.id])
        assert (await tellwire.events.get(before.id)).deliveries == 1
        again = await ended(tellwire, await tellwire.replays.start(endpoint.id, since=long_ago()))
        assert again.created == 0


async def test_filters_are_asked_about_many_events(tellwire: Tellwire) -> None:
    """More events than filters are asked about in one page are all looked at, each once."""
    async with HeldReceiver() as receiver:
        await tellwire.publish_many([{"type": "a.b", "data": {"n": n}} for n in range(100)])
        wants = [Subscription(("*",), {"data": {"n": {"$gte": 90}}})]
        endpoint, _ = await tellwire.endpoints.create(receiver.url, subscriptions=wants)
        done = await ended(tellwire, await tellwire.replays.start(endpoint.id, since=long_ago()))
        assert (done.looked_at, done.created) == (100, 10)
        await all_are(tellwire, State.SUCCEEDED, 10)


async def test_a_dry_run_changes_nothing(tellwire: Tellwire) -> None:
    """A dry run counts what a replay would do, also at a disabled endpoint, and leaves everything as it is."""
    async with HeldReceiver() as receiver:
        endpoint = await failed(tellwire, receiver)
        await tellwire.endpoints.disable(endpoint)
        before = await deliveries(tellwire)
        counted = await ended(
            tellwire, await tellwire.replays.start(endpoint, since=long_ago(), dry_run=True)
        )
        assert (counted.state, counted.dry_run, counted.retried) == (ReplayState.SUCCEEDED, True, MANY)
        assert await deliveries(tellwire) == before
        assert len(receiver.ids) == MANY


async def test_one_event_to_one_endpoint(tellwire: Tellwire) -> None:
    """One event is sent whatever became of it and whatever the endpoint is subscribed to."""
    async with HeldReceiver() as receiver:
        endpoint, _ = await tellwire.endpoints.create(receiver.url)
        event = await tellwire.publish("order.paid", {"n": 1})
        await tellwire.publish("order.paid", {"n": 2})
        first = await ended(tellwire, await tellwire.replays.start(endpoint.id, event=event.id))
        assert (first.created, first.retried, first.event_id, first.since) == (1, 0, event.id, None)
        await all_are(tellwire, State.SUCCEEDED, 1)
        second = await ended(tellwire, await tellwire.replays.start(endpoint.id, event=event.id))
        assert (second.created, second.retried) == (0, 1)
        await receiver.met(2)
        assert set(receiver.ids) == {event.id}


async def test_live_traffic_passes_a_replay(tellwire: Tellwire) -> None:
    """A replay holds half of the slots at most: an event published meanwhile is sent while most of it still waits."""
    async with HeldReceiver() as receiver:
        endpoint = await failed(tellwire, receiver)
        receiver.hold()
        replay = await tellwire.replays.start(endpoint, since=long_ago())
        await receiver.met(MANY + SLOTS // 2)
        live = await tellwire.publish("order.paid", {"live": True})
        await receiver.met(MANY + SLOTS // 2 + 1)
        assert receiver.ids[-1] == live.id
        assert receiver.waiting == SLOTS // 2 + 1
        assert (await tellwire.replays.get(replay.id)).retried == SLOTS // 2
        waiting = await tellwire.deliveries.list(state=State.EXHAUSTED, limit=250)
        assert len(waiting.data) == MANY - SLOTS // 2
        receiver.let_go()
        assert (await ended(tellwire, replay)).retried == MANY
        await all_are(tellwire, State.SUCCEEDED, MANY + 1)


async def test_two_engines_share_a_replay(url: str) -> None:
    """Two processes work on replays of one endpoint: nothing is sent twice. Missing events are made deliveries once."""
    async with hub(url) as one, hub(url) as two, HeldReceiver() as receiver:
        receipts = await one.publish_many([{"type": "a.b", "data": {"n": n}} for n in range(MANY)])
        endpoint, _ = await one.endpoints.create(receiver.url, events=["*"])
        for _ in range(2):
            for at in (one, two):
                await at.replays.start(endpoint.id, since=long_ago())
        done = [await ended(one, replay) for replay in (await one.replays.list()).data]
        assert sum(replay.created for replay in done) == MANY
        await all_are(one, State.SUCCEEDED, MANY)
        assert Counter(receiver.ids) == Counter(receipt.id for receipt in receipts)


async def test_another_process_goes_on_after_a_kill(url: str, tmp_path: Path) -> None:
    """A server is killed in the middle of a replay: another process goes on where it stood, and nothing is left out.

    Only what was in the air comes twice.
    """
    async with hub(url, deliver=False) as waiting, HeldReceiver() as receiver:
        async with hub(url) as first:
            endpoint = await failed(first, receiver)
        receiver.hold()
        options = ["--dev", "--port", "0", "--in-flight-per-endpoint", str(SLOTS), "--database-url", url]
        (tmp_path / "here").mkdir()
        config = tmp_path / "tellwire.toml"
        config.write_text(f'secret_key = "{KEY}"\nretry_schedule = "1s"\n')
        config.chmod(0o600)
        server = Process(tmp_path / "here", "serve", "--config", str(config), *options)
        try:
            replay = await waiting.replays.start(endpoint, since=long_ago())
            await receiver.met(MANY + SLOTS // 2)
        finally:
            server.stop(signal.SIGKILL)
        middle = await waiting.replays.get(replay.id)
        assert (middle.state, middle.retried) == (ReplayState.RUNNING, SLOTS // 2)
        # The minute after which leases end has passed.
        await waiting._store.write(
            lambda c: c.execute(
                update(deliveries_table).where(deliveries_table.c.state == 0).values(lease_until_ms=1)
            )
        )
        receiver.let_go()
        async with hub(url) as second:
            assert (await ended(second, replay)).retried == MANY
            await all_are(second, State.SUCCEEDED, MANY)
        times = Counter(Counter(receiver.ids).values())
        assert times == {2: MANY - SLOTS // 2, 3: SLOTS // 2}


async def held_replay(tellwire: Tellwire, receiver: HeldReceiver) -> tuple[str, Replay]:
    """An endpoint, and a replay in the middle: what it has made due hangs at the receiver."""
    endpoint = await failed(tellwire, receiver)
    receiver.hold()
    replay = await tellwire.replays.start(endpoint, since=long_ago())
    await receiver.met(MANY + SLOTS // 2)
    return endpoint, replay


async def test_cancelled_in_the_middle(tellwire: Tellwire) -> None:
    """A cancelled replay makes nothing due any more; what it had made due is still sent."""
    async with HeldReceiver() as receiver:
        endpoint, replay = await held_replay(tellwire, receiver)
        cancelled = await tellwire.replays.cancel(replay.id)
        assert (cancelled.state, cancelled.reason) == (ReplayState.CANCELLED, "cancelled by hand")
        assert 0 < cancelled.progress <= 1
        receiver.let_go()
        assert await tellwire.drained()
        states = Counter(one.state for one in await deliveries(tellwire))
        assert states == {State.SUCCEEDED: SLOTS // 2, State.EXHAUSTED: MANY - SLOTS // 2}
        with pytest.raises(ConflictError):
            await tellwire.replays.cancel(replay.id)
        rest = await ended(tellwire, await tellwire.replays.start(endpoint, since=long_ago()))
        assert rest.retried == MANY - SLOTS // 2


async def test_the_endpoint_is_deleted_meanwhile(tellwire: Tellwire) -> None:
    """A replay of an endpoint that is deleted is cancelled, and says why."""
    async with HeldReceiver() as receiver:
        endpoint, replay = await held_replay(tellwire, receiver)
        await tellwire.endpoints.delete(endpoint)
        done = await ended(tellwire, replay)
        assert (done.state, done.reason) == (ReplayState.CANCELLED, "the endpoint was deleted")
        receiver.let_go()
        states = Counter(one.state for one in await deliveries(tellwire))
        assert states == {State.CANCELLED: SLOTS // 2, State.EXHAUSTED: MANY - SLOTS // 2}


@pytest.mark.parametrize("state", [EndpointState.PAUSED, EndpointState.DISABLED])
async def test_the_endpoint_is_switched_off_meanwhile(tellwire: Tellwire, state: EndpointState) -> None:
    """A replay waits for an endpoint that is paused or disabled, says so, and goes on when it is enabled again."""
    async with HeldReceiver() as receiver:
        endpoint, replay = await held_replay(tellwire, receiver)
        switch = tellwire.endpoints.pause if state is EndpointState.PAUSED else tellwire.endpoints.disable
        await switch(endpoint)
        receiver.let_go()

        async def untried_is_bounded() -> bool:
            found = await tellwire.deliveries.list(state=State.SUCCEEDED)
            return len(found.data) == SLOTS // 2

        await until(untried_is_bounded)
        waits = await tellwire.replays.get(replay.id)
        assert (waits.state, waits.waiting_for) == (ReplayState.RUNNING, str(state))
        assert waits.retried <= SLOTS
        await tellwire.endpoints.enable(endpoint)
        assert (await ended(tellwire, replay)).retried == MANY
        await all_are(tellwire, State.SUCCEEDED, MANY)


async def test_a_replay_that_cannot_go_on_is_looked_at_ever_less_often(
    tellwire: Tellwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an endpoint is paused and has its share waiting, its replay costs next to nothing; then it goes on."""
    looks: list[bytes] = []
    really = replay_pages.take

    def take(connection: Connection, id: bytes) -> replay_pages.TakenReplay | None:
        looks.append(id)
        return really(connection, id)

    monkeypatch.setattr(replay_pages, "take", take)
    async with HeldReceiver() as receiver:
        endpoint = await failed(tellwire, receiver)
        await tellwire.endpoints.pause(endpoint)
        started = await tellwire.replays.start(endpoint, since=long_ago())
        await asyncio.sleep(0.3)
        looks.clear()
        await asyncio.sleep(3)
        assert 1 <= len(looks) <= 6  # after 0.1, 0.2, 0.4, 0.8 and 1.6 s
        assert (await tellwire.replays.get(started.id)).state == ReplayState.RUNNING
        await tellwire.endpoints.resume(endpoint)
        assert (await ended(tellwire, started)).retried == MANY


async def test_nothing_is_claimed_for_an_endpoint_that_is_paused(
    tellwire: Tellwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its share is made due, but no process takes it up, to give it back at once."""
    made: list[replay_due.MadeDue] = []
    really = replay_due.DueMaker.make_due

    def make_due(self: replay_due.DueMaker, picks: Sequence[Pick]) -> replay_due.MadeDue:
        made.append(really(self, picks))
        return made[-1]

    monkeypatch.setattr(replay_due.DueMaker, "make_due", make_due)
    async with HeldReceiver() as receiver:
        endpoint = await failed(tellwire, receiver)
        await tellwire.endpoints.pause(endpoint)
        replay = await tellwire.replays.start(endpoint, since=long_ago())
        await until(lambda: asyncio.sleep(0, made))
        assert [(one.retried, one.claims) for one in made] == [(SLOTS // 2, [])]
        await tellwire.endpoints.resume(endpoint)
        await ended(tellwire, replay)
        assert any(one.claims for one in made)


async def test_what_cannot_be_started(tellwire: Tellwire) -> None:
    """A replay of nothing that is there, or over a limit, is refused by name, and nothing is stored."""
    endpoint, _ = await tellwire.endpoints.create("http://127.0.0.1:9999/hook", events=["*"])
    await tellwire.tenants.create("acme")
    others = await tellwire.publish("a.b", {}, tenant="acme")
    start, now = tellwire.replays.start, datetime.now(UTC)
    with pytest.raises(NotFoundError):
        await start("ep_01k5w3m8qhe5sbd3y0t2vwz9ra", since=long_ago())
    with pytest.raises(NotFoundError):
        await start(endpoint.id, event=others.id)
    with pytest.raises(NotFoundError):
        await start(endpoint.id, event="evt_nothing")
    with pytest.raises(InvalidInputError, match="since"):
        await start(endpoint.id)
    with pytest.raises(InvalidInputError, match="since"):
        await start(endpoint.id, since=now + timedelta(days=1))
    with pytest.raises(InvalidInputError, match="since"):
        await start(endpoint.id, since=datetime(2026, 1, 1))
    with pytest.raises(InvalidInputError, match="types"):
        await start(endpoint.id, since=long_ago(), types=["no pattern"])
    with pytest.raises(InvalidInputError, match="states"):
        await start(endpoint.id, since=long_ago(), states=[])
    with pytest.raises(InvalidInputError, match="event"):
        await start(endpoint.id, since=long_ago(), event=others.id)
    with pytest.raises(LimitExceededError) as wide:
        await start(endpoint.id, since=now - timedelta(days=32))
    assert wide.value.limit == "replay_range_days"
    await tellwire.endpoints.disable(endpoint.id)
    for _ in range(tellwire.limits.replays_per_endpoint):
        await start(endpoint.id, since=long_ago())
    with pytest.raises(LimitExceededError) as many:
        await start(endpoint.id, since=long_ago())
    assert many.value.limit == "replays_per_endpoint"
    running = await tellwire.replays.list(endpoint=endpoint.id, state=ReplayState.RUNNING)
    assert len(running.data) == tellwire.limits.replays_per_endpoint
