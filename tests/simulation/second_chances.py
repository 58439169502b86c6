"""Replays, by chance, and judged: each comes to an end, and brings what it was to bring, whoever dies meanwhile."""

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from tellwire.errors import ConflictError, LimitExceededError, NotFoundError
from tellwire.hub import Tellwire
from tellwire.ids import EVENT, decode, time_ms
from tellwire.model.delivery import State
from tellwire.model.replay import Again
from tellwire.store.tables import STATE_CODES, STATES

from .health import SLOTS, has_few_slots

if TYPE_CHECKING:
    from .notes import Life, Notes
    from .simulation import Replayed, Simulation

_PENDING = STATE_CODES[State.PENDING]
_SURELY_BEFORE_MS = 5_000
"""What was published so long before a replay was published before it by every clock."""


def replay(world: "Simulation") -> None:
    """Somebody has an endpoint get again what it has not got, or everything; perhaps a process dies of it."""
    from .simulation import Replayed

    url, id = world.any_endpoint()
    states = world.chance.choice([(Again.EXHAUSTED, Again.MISSING), (Again.MISSING,), tuple(Again)])
    process = world.any_process()
    cancels = world.chance.random() < 0.2

    async def ask(tellwire: Tellwire) -> None:
        began, began_ms = next(world.order), world.timeline.now_ms()
        world.replays_asked[url] += 1
        try:
            started = await tellwire.replays.start(
                id, since=tellwire.now() - timedelta(hours=1), states=states
            )
        except (NotFoundError, LimitExceededError):
            return  # the endpoint was deleted, or many run
        world.replays.append(Replayed(started.id, url, began, began_ms, states))
        if cancels:
            world.at(
                world.timeline.now_s + world.chance.uniform(0, 3), lambda world: _cancel(world, started.id)
            )

    process.do(ask)
    if world.chance.random() < 0.4:
        process.lives = world.chance.randint(20, 200)


def _cancel(world: "Simulation", id: str) -> None:
    async def ask(tellwire: Tellwire) -> None:
        try:
            await tellwire.replays.cancel(id)
        except ConflictError:
            pass  # it has ended

    world.any_process().do(ask)


def replayed(notes: "Notes") -> Counter[str]:
    """How many deliveries of each event were made by replays; they are not of those that its publisher was told of."""
    return Counter(life.event for life in notes.lives.values() if by_replay(life))


def by_replay(life: "Life") -> bool:
    """Whether a delivery was made by a replay."""
    return life.changes[0].trigger == "replay"


def replays_bring_what_they_should(notes: "Notes") -> None:
    """Each replay ends; what it was to bring was pending again after it began; it brings nothing twice."""
    from .notes import BrokenError

    places = {(life.event, life.url): life for life in notes.lives.values()}
    died = [order for _, order, text in notes.simulation.trace if " dies " in text]
    for asked in notes.simulation.replays:
        state, *_ = notes.replays[asked.id]
        notes.simulation.happened[f"replay {state}"] += 1
        moves = notes.replay_moves[asked.id]
        if len({writer for _, writer in moves}) > 1 and any(order > asked.began for order in died):
            notes.simulation.happened["replay taken over"] += 1
        endpoint = notes.switches[asked.url][-1].state
        if state == "running" and endpoint != "disabled":
            raise BrokenError(f"replay {asked.id} of an endpoint that is {endpoint} has not ended")
        if state != "succeeded":
            continue
        for event in _to_look_at(notes, asked):
            life = places.get((event, asked.url))
            if not _is_brought(life, asked):
                raise BrokenError(f"replay {asked.id} passed over event {event} at {asked.url}")
    for life in notes.lives.values():
        again = sum(
            change.trigger == "replay" and change.state == _PENDING and change.state_before != _PENDING
            for change in life.changes
        )
        most = notes.simulation.replays_asked[life.url]
        life.require(again <= most, f"{again} times brought again by {most} replays")
        notes.simulation.happened["brought again"] += again
    for url in notes.simulation.endpoints:
        _replays_take_their_share(notes, url)


def _replays_take_their_share(notes: "Notes", url: str) -> None:
    """What replays have made due, and nobody has tried since, is half of an endpoint's slots or batches at most."""
    limited = notes.simulation.limited.get(url)
    slots = 1 if has_few_slots(notes) else SLOTS
    if limited is not None and limited.max_in_flight is not None:
        slots = limited.max_in_flight
    share = max(slots // 2, 1) * notes.simulation.batches.get(url, 1)
    untried: set[bytes] = set()
    for change in notes.changes:
        life = notes.lives[change.delivery]
        if life.url != url:
            continue
        if (change.state, change.trigger) != (_PENDING, "replay"):
            untried.discard(life.id)
        elif life.id not in untried:
            untried.add(life.id)
            life.require(len(untried) <= share, f"{len(untried)} at a time are replayed, {share} may be")
            notes.simulation.happened["replay at its bound"] += len(untried) == share > 1


def _to_look_at(notes: "Notes", asked: "Replayed") -> list[str]:
    """Acknowledged events that lie well before a replay, and do not expire nor were cancelled."""
    found = []
    for published in notes.simulation.published:
        id = published.receipt.id
        raw = decode(EVENT, id)
        if raw is None or time_ms(raw) > asked.began_ms - _SURELY_BEFORE_MS or published.ended > asked.began:
            continue
        if id not in notes.expiring and id not in notes.simulation.cancelled_events:
            found.append(id)
    return found


def _is_brought(life: "Life | None", asked: "Replayed") -> bool:
    if life is None:
        return Again.MISSING not in asked.states
    before = [change for change in life.changes if change.order < asked.began]
    if not before:
        return True  # it was made since
    wanted = STATES[before[-1].state] in asked.states
    return not wanted or any(
        change.order > asked.began and change.state == _PENDING for change in life.changes
    )
