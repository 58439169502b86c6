"""What happens in a simulation, by chance: what people ask of the API, and what goes wrong."""

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from tellwire.errors import ConflictError, InvalidInputError, NotFoundError
from tellwire.hub import Tellwire
from tellwire.model.delivery import State

from .database import Trouble
from .second_chances import replay

if TYPE_CHECKING:
    from .process import Process
    from .simulation import Simulation

Step = Callable[["Simulation"], None]

PUBLISHING_S = 150.0
"""How long events are published."""
ROUGH_S = 300.0
"""How long things go wrong; whatever began before may last longer."""
CALM_S = 480.0
"""From here on everything works, and everything that is pending must come to its end."""


def plan(chance: random.Random, *, small: bool = False) -> list[tuple[float, Step]]:
    """A script: what happens when. In a ``small`` world, half as much does."""
    publishing, people, misfortunes = ((1, 4), (1, 3), (1, 3)) if small else ((3, 8), (2, 6), (2, 7))
    steps: list[tuple[float, Step]] = []
    for _ in range(chance.randint(*publishing)):
        steps.append((chance.uniform(1, PUBLISHING_S), chance.choice(_PUBLISHING)))
    for _ in range(chance.randint(*people)):
        steps.append((chance.uniform(2, ROUGH_S), chance.choice(_PEOPLE)))
    for _ in range(chance.randint(*misfortunes)):
        steps.append((chance.uniform(1, ROUGH_S), chance.choice(_MISFORTUNES)))
    return sorted(steps, key=lambda step: step[0])


def changes_of_order(seed: int) -> list[tuple[float, Step]]:
    """When endpoints that keep an order are to keep another, or none: in some worlds, while events wait there."""
    if seed % 10 != 6:
        return []
    chance = random.Random(f"{seed} orders")
    found: list[tuple[float, Step]] = []
    for _ in range(chance.randint(1, 4)):
        at_s = chance.uniform(5, ROUGH_S)
        changed_s = at_s + chance.uniform(0, 8)
        found += [(at_s, publish_a_line), (changed_s, change_order)]
        found += [(changed_s + later_s, publish_a_line) for later_s in (1, 2, 5)]
        if rearranges_in_pages(seed):
            found += [(max(changed_s - chance.uniform(0, 3), 1), publish_a_line) for _ in range(3)]
            found += [(changed_s + chance.uniform(0, 0.3), publish) for _ in range(chance.randint(2, 5))]
            if chance.random() < 0.4:  # once more, perhaps before all has moved
                found.append((changed_s + chance.uniform(0, 0.5), change_order))
            if chance.random() < 0.15:
                found.append((changed_s + chance.uniform(0, 0.5), delete))
    return found


def rearranges_in_pages(seed: int) -> bool:
    """Whether, where an order changes, what waits takes its places page after page."""
    return seed % 20 == 6


# What is published


def publish(world: "Simulation", process: "Process | None" = None, key: str | None = None) -> None:
    """Somebody publishes an event, or a few at once; most have an ordering key."""
    count = world.chance.choice([1, 1, 1, 2, 4])
    data = [{"n": next(world.numbers)} for _ in range(count)]
    for one in data:
        if key is not None or world.chance.random() < 0.6:
            world.keys[one["n"]] = key or world.chance.choice("ab")

    async def ask(tellwire: Tellwire) -> None:
        began = next(world.order)
        receipts = await tellwire.publish_many(
            {"type": "order.paid", "data": one, "ordering_key": world.keys.get(one["n"])} for one in data
        )
        for receipt, one in zip(receipts, data, strict=True):
            world.acknowledge(receipt, began, one["n"], None)

    (process or world.any_process()).do(ask)


def publish_once(world: "Simulation") -> None:
    """Somebody publishes under an idempotency key, again and again until it is acknowledged."""
    n = next(world.numbers)
    _publish_until_told(world, f"key{n}", n, 8)


def publish_twice(world: "Simulation") -> None:
    """Two clients publish the same under one idempotency key, at the same time."""
    n = next(world.numbers)
    _publish_until_told(world, f"key{n}", n, 8)
    _publish_until_told(world, f"key{n}", n, 8)


def _publish_until_told(world: "Simulation", key: str, n: int, tries: int) -> None:
    async def ask(tellwire: Tellwire) -> None:
        began = next(world.order)
        receipt = await tellwire.publish("order.paid", {"n": n}, idempotency_key=key)
        world.acknowledge(receipt, began, n, key)

    def again(world: "Simulation") -> None:
        if key not in world.told and tries:
            _publish_until_told(world, key, n, tries - 1)

    world.any_process().do(ask)
    world.at(world.timeline.now_s + world.chance.uniform(1, 15), again)


def publish_timed(world: "Simulation") -> None:
    """Somebody publishes an event ahead of its time, or one that is not worth delivering for long, or both."""
    n = next(world.numbers)
    ahead_s, worth_s = world.chance.choice([(0, 30), (60, None), (120, 90), (5, 20)])

    async def ask(tellwire: Tellwire) -> None:
        now, began = tellwire.now(), next(world.order)
        deliver_at = now + timedelta(seconds=world.chance.uniform(0, ahead_s)) if ahead_s else None
        expires_at = None
        if worth_s is not None:
            expires_at = (deliver_at or now) + timedelta(seconds=world.chance.uniform(2, worth_s))
        try:
            receipt = await tellwire.publish(
                "order.paid", {"n": n}, deliver_at=deliver_at, expires_at=expires_at
            )
        except InvalidInputError:  # the clock that it goes by was corrected between the two looks at it
            world.happened["expired before it was published"] += 1
            return
        world.acknowledge(receipt, began, n, None)
        if ahead_s and world.chance.random() < 0.2:
            world.at(world.timeline.now_s + world.chance.uniform(1, ahead_s), cancel_event(receipt.id))

    world.any_process().do(ask)


def cancel_event(id: str) -> Step:
    """Somebody cancels a whole event."""

    def step(world: "Simulation") -> None:
        async def ask(tellwire: Tellwire) -> None:
            world.cancelled_events.add(id)
            try:
                await tellwire.events.cancel(id)
            except ConflictError:
                pass  # nothing of it is pending any more

        world.any_process().do(ask)

    return step


def publish_and_crash(world: "Simulation") -> None:
    """A process dies while it publishes and delivers."""
    process = world.any_process()
    publish(world, process)
    process.lives = world.chance.randint(1, 80)


def publish_and_die_at_commit(world: "Simulation") -> None:
    """A process dies as it commits: before or after the effect."""
    process = world.any_process()
    publish(world, process)
    process.dies_when = world.chance.choice(["before the commit", "after the commit"])


def publish_and_freeze(world: "Simulation") -> None:
    """A process is frozen while its attempts are in the air."""
    process = world.any_process()
    publish(world, process)
    world.at(world.timeline.now_s + world.chance.uniform(0, 1), lambda world: freeze(world, process))


# What people do


def retry_by_hand(world: "Simulation") -> None:
    """Somebody retries a few deliveries, whatever their state."""

    async def ask(tellwire: Tellwire) -> None:
        page = await tellwire.deliveries.list(limit=100)
        for delivery in world.chance.sample(page.data, min(3, len(page.data))):
            world.by_hand("retry", delivery.id)
            try:
                await tellwire.deliveries.retry(delivery.id)
            except ConflictError:
                pass  # it was cancelled, or its endpoint deleted

    world.any_process().do(ask)


def retry_in_flight(world: "Simulation") -> None:
    """Somebody retries what is in the air."""

    async def ask(tellwire: Tellwire) -> None:
        page = await tellwire.deliveries.list(limit=3, state=State.PENDING)
        for delivery in page.data:
            world.by_hand("retry", delivery.id)
            try:
                await tellwire.deliveries.retry(delivery.id)
            except ConflictError:
                pass

    publish(world)
    world.at(world.timeline.now_s + world.chance.uniform(0, 0.3), lambda world: world.any_process().do(ask))


def cancel(world: "Simulation") -> None:
    """Somebody cancels one of the newest deliveries, in the air or waiting."""

    async def ask(tellwire: Tellwire) -> None:
        page = await tellwire.deliveries.list(limit=4, state=State.PENDING)
        for delivery in page.data[:1]:
            try:
                await world.cancel(tellwire, process, delivery.id)
            except ConflictError:
                pass  # it has ended meanwhile

    if world.chance.random() < 0.5:
        publish(world)
    process = world.any_process()
    process.do(ask)


def switch(world: "Simulation") -> None:
    """Somebody pauses or disables an endpoint, and enables it later."""
    _, id = world.any_endpoint()
    off = world.chance.choice(["pause", "disable"])

    async def switch_off(tellwire: Tellwire) -> None:
        await getattr(tellwire.endpoints, off)(id)

    for _ in range(world.chance.choice([0, 0, 3, 6])):  # so that claims wait for the endpoint
        publish(world)
    world.at(
        world.timeline.now_s + world.chance.uniform(0, 1),
        lambda world: world.any_process().do(_if_there(switch_off)),
    )
    if world.chance.random() < 0.7:
        world.at(world.timeline.now_s + world.chance.uniform(3, 90), lambda world: enable(world, id))
    if world.chance.random() < 0.5:
        publish(world)


def enable(world: "Simulation", id: str) -> None:
    """Somebody enables an endpoint."""

    async def ask(tellwire: Tellwire) -> None:
        await tellwire.endpoints.enable(id)

    world.any_process().do(_if_there(ask))


def unblock(world: "Simulation", id: str) -> None:
    """Somebody lets an endpoint go on after what is exhausted."""

    async def ask(tellwire: Tellwire) -> None:
        await tellwire.endpoints.update(id, {"on_exhausted": "continue"})

    world.any_process().do(_if_there(ask))


def change_order(world: "Simulation") -> None:
    """Somebody has an endpoint keep another order."""
    url, id = world.any_endpoint()
    order = world.chance.choice(["none", "endpoint", "endpoint", "key", "key"])
    if url in world.in_line:
        world.any_process().do(_if_there(lambda tellwire: world.change_order(tellwire, url, id, order)))


def publish_a_line(world: "Simulation") -> None:
    """Somebody publishes many events with one key, one batch after the other."""
    if not world.ordered:
        publish(world)
        return
    key = world.chance.choice("ab")
    for _ in range(world.chance.randint(2, 6)):
        at_s = world.timeline.now_s + world.chance.uniform(0, 3)
        world.at(at_s, lambda world: publish(world, None, key))


def delete(world: "Simulation") -> None:
    """Somebody deletes an endpoint."""
    _, id = world.any_endpoint()

    async def ask(tellwire: Tellwire) -> None:
        await tellwire.endpoints.delete(id)

    if world.chance.random() < 0.5:  # so that others publish meanwhile who have not heard of it
        world.trouble(Trouble.SLOW, world.timeline.now_s + 4, None)
    for _ in range(world.chance.randint(0, 4)):
        world.at(world.timeline.now_s + world.chance.uniform(0, 3), publish)
    world.any_process().do(_if_there(ask))


def create(world: "Simulation") -> None:
    """Somebody makes another endpoint."""
    world.create_endpoint(world.any_process())


def rotate(world: "Simulation") -> None:
    """Somebody gives an endpoint a new secret."""
    url, id = world.any_endpoint()
    world.any_process().do(_if_there(lambda tellwire: world.rotate_secret(tellwire, url, id)))


def test(world: "Simulation") -> None:
    """Somebody sends an example."""
    _, id = world.any_endpoint()

    async def ask(tellwire: Tellwire) -> None:
        await tellwire.endpoints.test(id)

    world.any_process().do(_if_there(ask))


def _if_there(ask: Callable[[Tellwire], Awaitable[None]]) -> Callable[[Tellwire], Awaitable[None]]:
    async def ask_anyhow(tellwire: Tellwire) -> None:
        try:
            await ask(tellwire)
        except NotFoundError:
            pass  # it was deleted

    return ask_anyhow


# What goes wrong


def crash(world: "Simulation") -> None:
    """A process dies, at once or after some steps more."""
    world.any_process().lives = world.chance.choice([0, 1, 5, 20, 100])


def freeze(world: "Simulation", process: "Process | None" = None) -> None:
    """A process stands still, perhaps for longer than its leases last."""
    process = process or world.any_process()
    span_s = world.chance.choice([2.0, 20.0, 59.0, 65.0, 100.0, 150.0])
    world.freeze(process, span_s)


def stop(world: "Simulation") -> None:
    """A process is stopped gracefully, perhaps in the middle of its work."""
    process = world.any_process()
    for _ in range(world.chance.choice([0, 1, 5])):
        publish(world, process)
    world.at(world.timeline.now_s + world.chance.uniform(0, 0.5), lambda world: world.stop(process))


def trouble(world: "Simulation") -> None:
    """Something is the matter with the database, for one process or for all."""
    kind = world.chance.choice(list(Trouble))
    span_s = world.chance.uniform(1, 70 if kind in (Trouble.DOWN, Trouble.DEAF) else 30)
    process = world.any_process() if world.chance.random() < 0.5 else None
    world.trouble(kind, world.timeline.now_s + span_s, process)
    for _ in range(2):
        at_s = world.timeline.now_s + world.chance.uniform(0, span_s)
        world.at(at_s, world.chance.choice([*_PUBLISHING, *_PEOPLE]))


def set_clock(world: "Simulation") -> None:
    """The clock of a host is set."""
    process = world.any_process()
    process.host.ahead_s = world.chance.uniform(-world.skew_s, world.skew_s)
    world.happened["clock set"] += 1
    world.note(f"the clock of {process.name} is set")


_PUBLISHING: list[Step] = [
    publish, publish, publish_once, publish_twice, publish_and_crash, publish_and_die_at_commit,
    publish_and_freeze, publish_timed, publish_timed, publish_a_line,
]  # fmt: skip
_PEOPLE: list[Step] = [
    retry_by_hand, retry_in_flight, retry_in_flight, cancel, cancel, switch, switch, delete, create, rotate, test,
    replay, replay, replay,
]  # fmt: skip
_MISFORTUNES: list[Step] = [crash, crash, freeze, freeze, stop, trouble, trouble, trouble, set_clock, set_clock
]  # fmt: skip
