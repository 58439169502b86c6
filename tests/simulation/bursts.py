"""Bursts, in some worlds: so many events at once that some wait in memory; then somebody does something about it."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tellwire.errors import ConflictError, NotFoundError
from tellwire.hub import Tellwire
from tellwire.model.delivery import State

if TYPE_CHECKING:
    from .process import Process
    from .script import Step
    from .simulation import Simulation

_EVENTS = 6
_Then = Callable[["Simulation", "Process"], None]


def bursts(seed: int, until_s: float) -> "list[tuple[float, Step]]":
    """When they come: in half of the worlds with limits."""
    if seed % 3 != 1:
        return []
    chance = random.Random(f"{seed} bursts")
    found: list[tuple[float, Step]] = []
    for _ in range(chance.randint(1, 3)):
        then: _Then = chance.choice([_hand_over, _hand_over, _cancel, _pause])
        after_s = chance.uniform(0.02, 4 if then is _hand_over else 1.5)
        found.append((chance.uniform(5, until_s), _Burst(then, after_s)))
    return found


class _Burst:
    """A step of the script."""

    def __init__(self, then: _Then, after_s: float) -> None:
        self._then = then
        self._after_s = after_s

    def __call__(self, world: "Simulation") -> None:
        from .script import publish

        able = [one for one in world.processes if one.engine and one.is_open and not one.stopping]
        process = world.chance.choice(able) if able else world.any_process()
        for _ in range(_EVENTS):
            publish(world, process)
        world.at(world.timeline.now_s + self._after_s, lambda world: self._then(world, process))


def _hand_over(world: "Simulation", _: "Process") -> None:
    """Whoever owns the lanes of endpoints with limits stops, and another is there to go on at once."""
    names = world.owners()
    owners = [one for one in world.processes if one.name in names]
    if not any(one.engine and one not in owners for one in world.processes):
        world.start(engine=True)
    for one in owners:
        world.stop(one)


def _cancel(world: "Simulation", process: "Process") -> None:
    """Somebody asks the very process that may hold them to cancel what is pending."""

    async def ask(tellwire: Tellwire) -> None:
        page = await tellwire.deliveries.list(limit=100, state=State.PENDING)
        for delivery in page.data[::2]:
            try:
                await world.cancel(tellwire, process, delivery.id)
            except ConflictError:
                pass  # it has ended meanwhile

    process.do(ask)


def _pause(world: "Simulation", process: "Process") -> None:
    """Somebody pauses an endpoint at which something waits, and enables it later."""
    from .script import enable

    _, id = world.any_endpoint()

    async def ask(tellwire: Tellwire) -> None:
        try:
            await tellwire.endpoints.pause(id)
        except NotFoundError:
            pass  # it was deleted

    process.do(ask)
    world.at(world.timeline.now_s + 45, lambda world: enable(world, id))
