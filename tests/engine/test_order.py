"""Order, with real requests: a delivery is not sent before what stands before it was received or has ended."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.postgres import database_in

from tellwire import Options, Subscription, Tellwire
from tellwire.model.delivery import Delivery, State, WaitingFor
from tellwire.model.replay import Again

from .clock import LateClock
from .embedded import KEY, LOOPBACK, all_are, deliveries, until
from .lines import KEYS, Line, hub, publish
from .receivers import HeldReceiver
from .replaying import URLS, ended

MANY = 45


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Callable[[Path], str] = request.param
    return make(tmp_path)


@pytest.fixture
async def tellwire(url: str) -> AsyncIterator[Tellwire]:
    async with hub(url) as tellwire:
        yield tellwire


async def waiting(tellwire: Tellwire, numbers: int) -> list[Delivery]:
    """The pending deliveries, once so many of them wait for their turn."""

    async def look() -> list[Delivery]:
        found = await deliveries(tellwire, State.PENDING)
        return found if sum(one.waiting_for is WaitingFor.ORDER for one in found) == numbers else []

    return await until(look)


@pytest.mark.parametrize("fails", [0, 1])
async def test_an_endpoint_gets_everything_in_order(tellwire: Tellwire, fails: int) -> None:
    """One request at a time, each event after those before it were received, through retries too."""
    line = Line(fails)
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "endpoint"})
        await publish(tellwire, range(MANY))
        await all_are(tellwire, State.SUCCEEDED, MANY)
    assert line.numbers() == list(range(MANY))
    assert receiver.most_waiting == 1
    assert len(receiver.bodies) == MANY * (fails + 1)


@pytest.mark.parametrize("fails", [0, 1])
async def test_each_key_has_its_own_order(tellwire: Tellwire, fails: int) -> None:
    """Events with one key come one after the other."""
    line = Line(fails)
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "key"})
        await publish(tellwire, range(MANY))
        await all_are(tellwire, State.SUCCEEDED, MANY)
    for number, key in enumerate(KEYS):
        assert line.numbers(key) == list(range(number, MANY, len(KEYS)))


@pytest.mark.parametrize("failing", [None, 49, 60, 99, 110])
async def test_a_long_line_is_claimed_while_it_is_sent(tellwire: Tellwire, failing: int | None) -> None:
    """More than a run holds: it is claimed further before its end comes, and in order whichever fails."""
    line, count = Line(), 260

    def answer_or_fail(number: int) -> tuple[int, dict[str, str]]:
        fails = line.receiver.bodies[number - 1].count(b'"n":%d,' % (-1 if failing is None else failing))
        line.fails = 1 if fails else 0
        return line._answer(number)

    line.receiver.answer = answer_or_fail
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "endpoint"})
        events = [{"type": "order.paid", "data": {"n": n, "key": "a"}} for n in range(count)]
        await tellwire.publish_many(events)
        await all_are(tellwire, State.SUCCEEDED, count)
    assert [n for _, n in line.received] == list(range(count))
    assert receiver.most_waiting == 1


async def test_keys_do_not_wait_for_one_another(tellwire: Tellwire) -> None:
    """One request of each key is in the air at once, and those without a key beside them; the rest waits."""
    async with HeldReceiver(held=True) as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "key"})
        await publish(tellwire, range(9))
        for _ in range(2):
            await tellwire.publish("order.paid", {})
        await receiver.met(5)
        await waiting(tellwire, 6)
        assert len(receiver.bodies) == 5
        receiver.let_go()
        await all_are(tellwire, State.SUCCEEDED, 11)


async def test_keys_do_not_wait_for_a_backlog_without_keys(tellwire: Tellwire) -> None:
    """However much waits at an endpoint that has no key, what has one gets its share of the endpoint, too."""
    async with HeldReceiver() as receiver:
        settings = {"order": "key", "max_in_flight": 1}
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await tellwire.endpoints.pause(endpoint.id)
        await tellwire.publish_many([{"type": "order.paid", "data": {"key": None}} for _ in range(400)])
        await publish(tellwire, range(3), keys="a")
        await tellwire.endpoints.enable(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, 403)
        received = [json.loads(body)["data"]["key"] for body in receiver.bodies]
    assert received[-200:].count("a") == 0


async def test_very_many_keys_are_seen_in_turn(tellwire: Tellwire) -> None:
    """More keys wait for a retry than one look goes through: a new one is sent all the same, and they in time."""
    keys = [chr(0x4E00 + n) for n in range(230)]
    down, line = True, Line()

    def answer(number: int) -> tuple[int, dict[str, str]]:
        return (500, {}) if down else line._answer(number)

    line.receiver.answer = answer
    patient = {"failures": 1000}  # or it would be left alone
    settings = {"order": "key", "retry": {"delays_s": [3600]}, "circuit": patient}
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        events = [
            {"type": "order.paid", "data": {"n": n, "key": key}, "ordering_key": key}
            for n, key in enumerate(keys * 2)
        ]
        for start in range(0, len(events), 300):
            await tellwire.publish_many(events[start : start + 300])
        await receiver.met(len(keys))
        await waiting(tellwire, len(keys))
        down = False
        await publish(tellwire, range(1000, 1001), keys="z")  # its name comes before all others
        await until(lambda: succeeded(tellwire, 1))
        for one in await deliveries(tellwire, State.PENDING):
            if one.attempt_count:
                await tellwire.deliveries.retry(one.id)
        await all_are(tellwire, State.SUCCEEDED, len(events) + 1)
    for number, key in enumerate(keys):
        assert line.numbers(key) == [number, number + len(keys)]


async def test_what_is_exhausted_steps_aside(tellwire: Tellwire) -> None:
    """Where nothing else is said, the next goes on when one has used up its attempts."""
    line = Line(fails=99)
    settings = {"order": "endpoint", "retry": {"delays_s": [0]}}
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await publish(tellwire, range(3))
        await all_are(tellwire, State.EXHAUSTED, 3)
    assert [sorted(line.tries), list(line.tries)] == [[0, 1, 2]] * 2


@pytest.mark.parametrize("by_hand", ["retry", "cancel", "continue", "replay", "none"])
async def test_what_is_exhausted_blocks_until_somebody_decides(tellwire: Tellwire, by_hand: str) -> None:
    """Under ``block`` nothing behind it is sent, until it is retried, replayed or cancelled, or the setting changes."""
    line = Line(fails=1)
    settings = {"order": "key", "on_exhausted": "block", "retry": {"delays_s": []}}
    async with line.receiver as receiver:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await publish(tellwire, range(4), keys="a")
        [exhausted] = await until(lambda: deliveries(tellwire, State.EXHAUSTED))
        blocked = await waiting(tellwire, 3)
        assert exhausted.id < min(one.id for one in blocked)
        line.fails = 0
        await publish(tellwire, range(4, 5), keys="b")
        await until(lambda: succeeded(tellwire, 1))
        assert line.received == [("b", 4)]
        match by_hand:
            case "retry":
                await tellwire.deliveries.retry(exhausted.id)
            case "cancel":
                cancelled = await tellwire.deliveries.cancel(exhausted.id)
                assert cancelled.state is State.CANCELLED
            case "replay":
                since = datetime.now(UTC) - timedelta(hours=1)
                await tellwire.replays.start(endpoint.id, since=since, states=[Again.EXHAUSTED])
            case "continue":
                await tellwire.endpoints.update(endpoint.id, {"on_exhausted": "continue"})
            case _:
                await tellwire.endpoints.update(endpoint.id, {"order": None})
        again = by_hand in ("retry", "replay")
        await until(lambda: succeeded(tellwire, 5 if again else 4))
    if by_hand != "none":
        assert line.numbers("a") == ([0, 1, 2, 3] if again else [1, 2, 3])


async def succeeded(tellwire: Tellwire, count: int) -> bool:
    return len(await deliveries(tellwire, State.SUCCEEDED)) == count


async def test_a_head_that_is_cancelled_lets_the_next_go(tellwire: Tellwire) -> None:
    """While it waits for its retry, it holds up the others; cancelled, it does not. So does its event."""
    line = Line(fails=1)
    settings = {"order": "endpoint", "retry": {"delays_s": [3600]}}
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await publish(tellwire, range(3))
        first, second, _ = await waiting(tellwire, 2)
        await tellwire.deliveries.cancel(first.id)

        async def second_failed() -> bool:
            return 1 in line.tries and (await tellwire.deliveries.get(second.id))[0].attempt_count == 1

        await until(second_failed)
        line.fails = 0
        await tellwire.events.cancel(second.event_id)
        await until(lambda: succeeded(tellwire, 1))
    assert line.received == [("c", 2)]


async def test_a_replay_keeps_the_order(tellwire: Tellwire) -> None:
    """What failed comes again in the order in which it was published, and before what was published since."""
    line = Line(fails=1)
    settings = {"order": "endpoint", "retry": {"delays_s": []}}
    async with line.receiver as receiver:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await publish(tellwire, range(MANY))
        await all_are(tellwire, State.EXHAUSTED, MANY)
        line.fails = 0
        await tellwire.endpoints.pause(endpoint.id)
        await publish(tellwire, range(MANY, MANY + 5))
        since = datetime.now(UTC) - timedelta(hours=1)
        replay = await tellwire.replays.start(endpoint.id, since=since, states=[Again.EXHAUSTED])
        await tellwire.endpoints.resume(endpoint.id)
        await ended(tellwire, replay)
        await all_are(tellwire, State.SUCCEEDED, MANY + 5)
    old = [n for n in line.numbers() if n < MANY]
    assert old == sorted(old)


async def test_what_an_endpoint_missed_comes_in_order(tellwire: Tellwire) -> None:
    """A replay to an endpoint that is newer than the events makes deliveries in their order."""
    await publish(tellwire, range(MANY))
    line = Line()
    async with line.receiver as receiver:
        endpoint, _ = await tellwire.endpoints.create(
            receiver.url, events=["*"], settings={"order": "endpoint"}
        )
        since = datetime.now(UTC) - timedelta(hours=1)
        await tellwire.replays.start(endpoint.id, since=since, states=[Again.MISSING])
        await all_are(tellwire, State.SUCCEEDED, MANY)
    assert line.numbers() == list(range(MANY))


async def test_an_order_holds_for_what_waits_already(tellwire: Tellwire) -> None:
    """Under an order that is set later, pending deliveries are sent as they were published; and so for another one."""
    line = Line(fails=1)
    async with line.receiver as receiver:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.endpoints.pause(endpoint.id)
        await publish(tellwire, range(MANY))
        for setting in ("endpoint", None, "key", "endpoint"):
            await tellwire.endpoints.update(endpoint.id, {"order": setting})
        await tellwire.endpoints.resume(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, MANY)
    assert line.numbers() == list(range(MANY))
    assert receiver.most_waiting == 1


async def test_two_processes_share_keys(tmp_path: Path) -> None:
    """Two engines on one database: each key comes in order, whoever publishes and whoever sends."""
    url, line = database_in(tmp_path), Line(fails=1)
    async with line.receiver as receiver, hub(url) as one, hub(url) as two:
        await one.endpoints.create(receiver.url, events=["*"], settings={"order": "key"})
        for n in range(MANY):
            await publish((one, two)[n % 2], range(n, n + 1))
        await all_are(one, State.SUCCEEDED, MANY)
    for number, key in enumerate(KEYS):
        assert line.numbers(key) == list(range(number, MANY, len(KEYS)))


async def test_a_stop_keeps_the_order(url: str) -> None:
    """What a process gives back when it stops, the next one sends in order."""
    line = Line()
    async with line.receiver as receiver:
        async with hub(url) as tellwire:
            settings = {"order": "endpoint"}
            await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
            await publish(tellwire, range(MANY))
            await receiver.met(MANY // 3)
        async with hub(url) as tellwire:
            await all_are(tellwire, State.SUCCEEDED, MANY)
    assert line.numbers() == list(range(MANY))


async def test_a_wide_event_has_its_place_at_once(url: str) -> None:
    """At an endpoint with an order, an event that is fanned out in the background comes before later ones."""
    line = Line()
    options = Options(secret_key=KEY, egress=LOOPBACK, fan_out_at_once=2)
    async with line.receiver as receiver, HeldReceiver() as other, Tellwire(url, options) as tellwire:
        for n in range(5):
            await tellwire.endpoints.create(other.url, events=["order.paid"], description=str(n))
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "endpoint"})
        await publish(tellwire, range(5))
        await tellwire.publish("order.sent", {"n": 5, "key": "a"})
        await all_are(tellwire, State.SUCCEEDED, 5 * 6 + 1)
    assert line.numbers() == list(range(6))


async def test_order_goes_together_with_limits(tellwire: Tellwire) -> None:
    """With a rate, a circuit breaker and one request at a time, everything comes, and in order."""
    line = Line(fails=1)
    settings = {
        "order": "key",
        "max_in_flight": 2,
        "rate_limit": {"limit": 200, "burst": 5},
        "circuit": {"failures": 2, "probe_after_s": 1},
    }
    async with line.receiver as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await publish(tellwire, range(6))
        await all_are(tellwire, State.SUCCEEDED, 6)
    for number, key in enumerate(KEYS):
        assert line.numbers(key) == list(range(number, 6, len(KEYS)))
    assert receiver.most_waiting <= 2


async def test_nothing_waits_for_what_is_delayed(tellwire: Tellwire) -> None:
    """An event that is published ahead stands where it is due: later ones go before it."""
    async with HeldReceiver() as receiver:
        await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "endpoint"})
        later = datetime.now(UTC) + timedelta(hours=1)
        ahead = await tellwire.publish("order.later", {}, deliver_at=later)
        first = await tellwire.publish("order.paid", {})
        last = await tellwire.publish("order.paid", {})
        await until(lambda: succeeded(tellwire, 2))
        assert receiver.ids == [first.id, last.id]
        [delayed] = await deliveries(tellwire, State.PENDING)
        assert (delayed.event_id, delayed.waiting_for) == (ahead.id, None)


async def test_what_expires_in_line_ends(tmp_path: Path) -> None:
    """Unsent, when it comes to its turn; it does not block what stands behind it."""
    clock, line = LateClock(), Line()
    options = Options(secret_key=KEY, egress=LOOPBACK)
    async with (
        line.receiver as receiver,
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options, clock=clock) as tellwire,
    ):
        settings = {"order": "endpoint", "on_exhausted": "block"}
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await tellwire.endpoints.pause(endpoint.id)
        soon = datetime.now(UTC) + timedelta(hours=1)
        for n in range(4):
            expires_at = soon if n in (1, 2) else None
            await tellwire.publish("order.paid", {"n": n, "key": ""}, expires_at=expires_at)
        clock.late_ms = 2 * 3_600_000
        await tellwire.endpoints.resume(endpoint.id)
        await until(lambda: succeeded(tellwire, 2))
        assert line.numbers() == [0, 3]
        gone = await deliveries(tellwire, State.EXHAUSTED)
        assert [one.last_error for one in gone] == ["expired"] * 2
        await tellwire.publish("order.paid", {"n": 4, "key": ""})
        await until(lambda: succeeded(tellwire, 3))
        assert line.numbers() == [0, 3, 4], "nor does it block what comes later"


@pytest.mark.parametrize("on_exhausted", ["continue", "block"])
async def test_an_event_that_cannot_be_shaped_ends_in_its_turn(tellwire: Tellwire, on_exhausted: str) -> None:
    """Nothing is sent of it; what stands behind it goes on or waits, as after every delivery that is exhausted."""
    line = Line()
    shape = Subscription(("*",), transform="{n: data.n, key: data.key, sum: sum(data.parts)}")
    async with line.receiver as receiver:
        settings = {"order": "endpoint", "on_exhausted": on_exhausted}
        await tellwire.endpoints.create(receiver.url, subscriptions=[shape], settings=settings)
        for n in range(6):
            parts = "none" if n in (0, 3) else [n]
            await tellwire.publish("order.paid", {"n": n, "key": "", "parts": parts})
        if on_exhausted == "block":
            [first] = await until(lambda: deliveries(tellwire, State.EXHAUSTED))
            assert (first.last_error, line.numbers()) == ("transform", [])
            assert len(await waiting(tellwire, 5)) == 5
            await tellwire.deliveries.cancel(first.id)
            await until(lambda: deliveries(tellwire, State.EXHAUSTED))
            [fourth] = await deliveries(tellwire, State.EXHAUSTED)
            await tellwire.deliveries.cancel(fourth.id)
        await until(lambda: succeeded(tellwire, 4))
        assert line.numbers() == [1, 2, 4, 5]
