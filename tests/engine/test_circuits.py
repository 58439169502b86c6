"""The circuit breaker of an endpoint, with real requests: opens, probes, closes, and is remembered."""

from pathlib import Path

from tellwire import Tellwire
from tellwire.model.delivery import State, WaitingFor
from tellwire.telemetry import Fact, LaneClosed, LaneOpened

from .embedded import all_are, deliveries, tellwire_at, until
from .receivers import HeldReceiver

CIRCUIT = {"circuit": {"failures": 3, "probe_after_s": 1}}
SLOW = {"circuit": {"failures": 2, "probe_after_s": 3600}}


async def test_a_failing_endpoint_is_left_alone_until_a_probe_succeeds(tmp_path: Path) -> None:
    """What waits burns no attempts and says why; others are delivered; then everything flows."""
    facts: list[Fact] = []
    down = True
    async with (
        HeldReceiver(lambda number: (500 if down else 200, {})) as sick,
        HeldReceiver() as healthy,
        tellwire_at(tmp_path, delays_ms=(100,) * 9) as tellwire,
    ):
        tellwire.telemetry.subscribe(facts.append)
        await tellwire.endpoints.create(sick.url, events=["*"], settings=CIRCUIT | {"max_in_flight": 1})
        await tellwire.endpoints.create(healthy.url, events=["*"])
        for n in range(20):
            await tellwire.publish("order.paid", {"n": n})
        await healthy.met(20)

        async def waits() -> bool:
            pending = await deliveries(tellwire, State.PENDING)
            held = sum(one.waiting_for is WaitingFor.CIRCUIT for one in pending)
            return len(pending) == 20 and held >= 17

        await until(waits)
        assert [type(fact) for fact in facts if isinstance(fact, LaneOpened)] == [LaneOpened]
        pending = await deliveries(tellwire, State.PENDING)
        assert sum(one.attempt_count for one in pending) <= 5  # three, and a probe or two
        assert len(sick.bodies) <= 6
        down = False
        await all_are(tellwire, State.SUCCEEDED, 40)
        assert any(isinstance(fact, LaneClosed) for fact in facts)


async def test_an_open_circuit_is_remembered(tmp_path: Path) -> None:
    """Whoever owns the lane next begins with a probe, and only when its time has come."""
    slow = SLOW | {"max_in_flight": 1}
    async with HeldReceiver(lambda number: (500, {})) as sick:
        async with tellwire_at(tmp_path) as tellwire:
            await tellwire.endpoints.create(sick.url, events=["*"], settings=slow)
            for n in range(5):
                await tellwire.publish("order.paid", {"n": n})

            async def told() -> bool:
                pending = await deliveries(tellwire, State.PENDING)
                return [one.waiting_for for one in pending].count(WaitingFor.CIRCUIT) >= 3

            await until(told)
            pending = [one for one in await deliveries(tellwire) if one.waiting_for is WaitingFor.CIRCUIT]
            assert len({one.waiting_until for one in pending} - {None}) == 1, "until when is told"
        async with HeldReceiver() as other, tellwire_at(tmp_path) as tellwire:
            await tellwire.endpoints.create(other.url, events=["*"])
            for n in range(10):
                await tellwire.publish("order.paid", {"n": n})
            await other.met(10)
            assert len(sick.bodies) == 2


async def publish_until_it_opens(tellwire: Tellwire) -> None:
    """Publish 20 events to an endpoint that is down, and wait until its circuit holds them back."""
    for n in range(20):
        await tellwire.publish("order.paid", {"n": n})

    async def opened() -> bool:
        pending = await deliveries(tellwire, State.PENDING)
        return any(one.waiting_for is WaitingFor.CIRCUIT for one in pending)

    await until(opened)


async def test_a_circuit_that_is_taken_back_frees_what_waits(tmp_path: Path) -> None:
    """Without a breaker everything is sent again."""
    down = True
    async with (
        HeldReceiver(lambda number: (500 if down else 200, {})) as sick,
        tellwire_at(tmp_path) as tellwire,
    ):
        endpoint, _ = await tellwire.endpoints.create(sick.url, events=["*"], settings=SLOW)
        await publish_until_it_opens(tellwire)
        down = False
        await tellwire.endpoints.update(endpoint.id, {"circuit": None})
        await all_are(tellwire, State.SUCCEEDED, 20)


async def test_an_endpoint_with_a_new_url_is_tried_at_once(tmp_path: Path) -> None:
    """Whoever mends an endpoint need not wait for the next probe."""
    async with (
        HeldReceiver(lambda number: (500, {})) as sick,
        HeldReceiver() as well,
        tellwire_at(tmp_path) as tellwire,
    ):
        endpoint, _ = await tellwire.endpoints.create(sick.url, events=["*"], settings=SLOW)
        await publish_until_it_opens(tellwire)
        await tellwire.endpoints.update(endpoint.id, {"url": well.url})
        await all_are(tellwire, State.SUCCEEDED, 20)


async def test_every_endpoint_has_a_light_breaker(tmp_path: Path) -> None:
    """Where none is set, what is down is left alone after many failures, quietly, and tried again soon."""
    facts: list[Fact] = []
    down = True
    async with (
        HeldReceiver(lambda number: (500 if down else 200, {})) as sick,
        HeldReceiver() as healthy,
        tellwire_at(tmp_path, delays_ms=(3_600_000,) * 9) as tellwire,
    ):
        tellwire.telemetry.subscribe(facts.append)
        await tellwire.endpoints.create(sick.url, events=["*"])
        await tellwire.endpoints.create(healthy.url, events=["*"])
        count = 300
        for start in range(0, count, 100):
            await tellwire.publish_many(
                [{"type": "order.paid", "data": {"n": start + n}} for n in range(100)]
            )
        await healthy.met(count)

        async def waits() -> bool:
            pending = await deliveries(tellwire, State.PENDING)
            return sum(one.waiting_for is WaitingFor.CIRCUIT for one in pending) > count / 2

        await until(waits)
        assert 50 <= len(sick.bodies) < 100  # those in the air when it opened, and a few probes
        pending = await deliveries(tellwire, State.PENDING)
        assert sum(one.attempt_count for one in pending) <= len(sick.bodies), (
            "what went back burnt no attempt"
        )
        assert tellwire.engine is not None
        assert tellwire.engine.load().waiting <= 1, "what waits does so in the store, but for the next probe"
        assert await tellwire.deliveries.lag_ms() == 0, "what waits for a circuit is not late"
        down = False
        tried = len(sick.bodies)

        async def flows() -> bool:
            return len(await deliveries(tellwire, State.PENDING)) <= tried + 1

        await until(flows)
        assert not [fact for fact in facts if isinstance(fact, LaneOpened | LaneClosed)]


async def test_a_share_of_failures_opens_it_whatever_came_first(tmp_path: Path) -> None:
    """The successes before the first failure are among the last attempts too."""
    settings = {"circuit": {"failures": 1_000, "ratio": 0.5, "last": 4, "probe_after_s": 3_600}}
    async with (
        HeldReceiver(lambda number: (200 if number <= 2 else 500, {})) as sick,
        tellwire_at(tmp_path, delays_ms=(3_600_000,)) as tellwire,
    ):
        await tellwire.endpoints.create(sick.url, events=["*"], settings=settings | {"max_in_flight": 1})
        for n in range(8):
            await tellwire.publish("order.paid", {"n": n})

        async def opened() -> bool:
            pending = await deliveries(tellwire, State.PENDING)
            return WaitingFor.CIRCUIT in [one.waiting_for for one in pending]

        await until(opened)
        assert len(sick.bodies) == 4  # two of the last four


async def test_successes_in_between_keep_it_closed(tmp_path: Path) -> None:
    """An endpoint that refuses most of what it gets is not down."""
    async with (
        HeldReceiver(lambda number: (200 if number % 10 == 0 else 422, {})) as picky,
        tellwire_at(tmp_path, delays_ms=()) as tellwire,
    ):
        await tellwire.endpoints.create(picky.url, events=["*"])
        for _ in range(3):
            await tellwire.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(100)])
        await picky.met(300)
        pending = await deliveries(tellwire, State.PENDING)
        assert not [one for one in pending if one.waiting_for is WaitingFor.CIRCUIT]
