"""Limits of endpoints, chosen and judged: they hold across all processes, whoever owns the lane and whoever dies.

``README.md`` tells which were seen to fail when the code was broken by hand.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tellwire.model.lane_settings import CircuitSettings, RateLimit
from tellwire.policy.circuit import Circuit

from .clocks import DRIFT, ROUNDING_MS
from .health import a_healthy_lane_waits_for_nobody
from .observer import LaneChange, seconds
from .process import SLOW_POLL_S
from .receivers import Moods, Sent

if TYPE_CHECKING:
    from .notes import Notes
    from .simulation import Simulation

_HEARD_S = 1.5
"""So long after an answer the other processes know of what it says, where they are well."""
TIMEOUT_MS = 15_000
"""So long an answer is waited for at most."""
LONGEST_PROBE_S = 20.0
"""No circuit of a simulation waits longer for its next probe."""


class Limited(NamedTuple):
    """The limits of an endpoint."""

    max_in_flight: int | None
    rate: RateLimit | None
    circuit: CircuitSettings | None


def choose(world: "Simulation", url: str) -> dict[str, Any]:
    """Settings of a new endpoint: in two of three worlds, most have limits."""
    chance = random.Random(f"{world.seed} limits {url}")
    if world.seed % 3 == 0 or chance.random() < 0.3:
        return {}
    limited = Limited(
        chance.choice([None, 1, 3]),
        chance.choice([None, RateLimit(2, "second", 2), RateLimit(1, burst=1), RateLimit(12, "minute", 3)]),
        chance.choice([None, CircuitSettings(chance.choice([2, 3]), None, 50, 5, LONGEST_PROBE_S)]),
    )
    if limited == (None, None, None):
        return {}
    world.limited[url] = limited
    if limited.circuit is not None and chance.random() < 0.7:  # else it hardly ever opens
        world.moods[url] = Moods(fails=0.85)
    named = zip(("max_in_flight", "rate_limit", "circuit"), limited, strict=True)
    return {name: msgspec.to_builtins(value) for name, value in named if value is not None}


def calm_down(world: "Simulation") -> None:
    """Receivers with limits are well from now on: one probe after the other takes too long."""
    for url in world.limited:
        world.moods[url] = Moods(fails=0.05)


def limits_hold(notes: "Notes") -> None:
    """Every invariant of limits."""
    requests = _requests(notes)
    _lanes_have_one_owner(notes)
    for url, sends in requests.items():
        _a_hold_is_kept(notes, sends)
        limited = notes.simulation.limited.get(url)
        if limited is None:
            continue
        _only_the_owner_sends(notes, url, sends)
        if limited.max_in_flight is not None:
            _few_are_in_the_air(notes, sends, limited.max_in_flight)
        if limited.rate is not None:
            _the_rate_is_kept(notes, sends, limited.rate)
        if limited.circuit is not None:
            _an_open_circuit_lets_probes_through(notes, sends, limited.circuit)
            _a_circuit_goes_with_the_lane(notes, url, sends)
    a_healthy_lane_waits_for_nobody(notes, requests)


def _requests(notes: "Notes") -> dict[str, list[Sent]]:
    """What was sent by URL, in order; a batch is one request."""
    found: dict[str, list[Sent]] = defaultdict(list)
    for sent in notes.simulation.sent:
        theirs = found[sent.url]
        if not theirs or theirs[-1].headers is not sent.headers:
            theirs.append(sent)
    return found


def _require(holds: bool, message: str) -> None:
    if not holds:
        from .notes import BrokenError

        raise BrokenError(message)


def _lanes_have_one_owner(notes: "Notes") -> None:
    """Nobody takes a lane before the ownership of the one before has ended, by the database's clock."""
    for url, changes in notes.lanes.items():
        for change in changes:
            if change.owner_before is None or change.owner_before == change.owner:
                continue
            left_ms = (change.until_before or 0) - change.at_ms
            _require(
                left_ms <= change.doubt_ms + ROUNDING_MS,
                f"{change.writer} took the lane of {url} {left_ms} ms early",
            )
            notes.simulation.happened["lane taken over"] += 1
            notes.simulation.happened["lane taken over from a dead owner"] += change.until_before not in {
                one.until for one in changes if one.order < change.order and one.until <= one.at_ms
            }


def _owner(changes: list[LaneChange], order: int) -> LaneChange | None:
    before = [change for change in changes if change.order < order]
    return before[-1] if before else None


def _only_the_owner_sends(notes: "Notes", url: str, sends: list[Sent]) -> None:
    """Where limits hold across processes, only the owner of the lane sends, and only while it is."""
    for sent in sends:
        owned = _owner(notes.lanes[url], sent.order)
        mine = owned is not None and owned.writer == sent.sender and sent.at_ms < owned.until
        at_s = seconds(sent.at_ms)
        _require(mine, f"{sent.sender} sent to {url} at {at_s} s, and the lane is not its own")
        if owned is not None:
            left_ms = owned.until - sent.at_ms + sent.doubt_ms + ROUNDING_MS
            _require(
                left_ms >= TIMEOUT_MS,
                f"{sent.sender} sent to {url} at {at_s} s, and the answer might come when the lane is another's",
            )


def _few_are_in_the_air(notes: "Notes", sends: list[Sent], most: int) -> None:
    """No receiver has more requests at a time than it can take, from all processes together."""
    for number, sent in enumerate(sends):
        at_s = seconds(sent.at_ms)
        others = sum(one.answered_s > at_s + 0.001 for one in sends[:number])
        _require(others < most, f"{others + 1} in the air to {sent.url} at {at_s} s, {most} may be")
        notes.simulation.happened["lane at its bound"] += others + 1 == most > 1


def _the_rate_is_kept(notes: "Notes", sends: list[Sent], rate: RateLimit) -> None:
    """In any window there are no more requests than its length allows and the burst, from all processes together."""
    for first, start in enumerate(sends):
        for last in range(first, len(sends)):
            end = sends[last]
            span_ms = end.at_ms - start.at_ms + end.doubt_ms + start.doubt_ms + ROUNDING_MS
            count, most = last - first + 1, rate.at_once + span_ms * rate.per_ms
            _require(
                count <= most + 1e-6,
                f"{count} requests to {end.url} from {seconds(start.at_ms)} to {seconds(end.at_ms)} s",
            )
            notes.simulation.happened["rate at its bound"] += last > first and count > most - 0.2


def _an_open_circuit_lets_probes_through(notes: "Notes", sends: list[Sent], circuit: CircuitSettings) -> None:
    """An owner that has seen enough failures in a row sends one probe at a time, and none before its time; by
    then it has written down that the circuit is open, for whoever comes after it."""
    for reign in _reigns(notes, sends):
        streak, opened_s, probe = 0, None, None
        for at_s, _, begins, sent in _moments(reign):
            if begins and opened_s is not None:
                wait_s = at_s - opened_s + (sent.doubt_ms + ROUNDING_MS) / 1000
                _require(
                    wait_s * (1 + 2 * DRIFT) >= circuit.probe_after_s,
                    f"{sent.url} was probed after {wait_s} s, at {at_s} s",
                )
                _require(probe is None, f"two probes of {sent.url} at {at_s} s")
                probe = sent
                _it_is_written_down(notes, sent, opened_s, at_s)
                notes.simulation.happened["probe"] += 1
            elif not begins and sent.answer == "200":
                notes.simulation.happened["circuit closed"] += opened_s is not None
                streak, opened_s, probe = 0, None, None
            elif not begins:
                streak += 1
                if sent is probe:
                    opened_s, probe = at_s, None
                elif opened_s is None and streak >= (circuit.failures or 0):
                    opened_s = at_s
                    notes.simulation.happened["circuit opened"] += 1


def _it_is_written_down(notes: "Notes", probe: Sent, opened_s: float, at_s: float) -> None:
    """When a probe is sent, the database knows that the circuit is open."""
    before = [change for change in notes.lanes[probe.url] if change.order < probe.order]
    if before[-1].writer == probe.sender and notes.was_well(probe.sender, opened_s - 0.1, at_s):
        _require(
            before[-1].circuit is not None,
            f"the circuit of {probe.url} is open since {opened_s} s, and nobody knows",
        )
        notes.simulation.happened["circuit written down"] += 1


def _a_circuit_goes_with_the_lane(notes: "Notes", url: str, sends: list[Sent]) -> None:
    """Who takes a lane whose circuit was left open sends a probe when its time has come, and nothing before."""
    changes = notes.lanes[url]
    for number, change in enumerate(changes):
        if change.owner in (change.owner_before, None) or change.circuit is None:
            continue
        circuit = msgspec.json.decode(change.circuit, type=Circuit)
        told = next(one for one in reversed(changes[:number]) if one.circuit == change.circuit)
        theirs = [one for one in sends if one.order > change.order and one.sender == change.writer]
        if circuit.is_open and theirs:
            early_ms = circuit.probe_ms - theirs[0].at_ms
            most_ms = theirs[0].doubt_ms + told.doubt_ms + ROUNDING_MS
            at_s = seconds(theirs[0].at_ms)
            _require(
                early_ms <= most_ms, f"{change.writer} sent to {url} at {at_s} s, and its circuit is open"
            )
            notes.simulation.happened["circuit taken over"] += seconds(change.at_ms) < seconds(
                circuit.probe_ms
            )


def _reigns(notes: "Notes", sends: list[Sent]) -> Iterator[list[Sent]]:
    """What each owner of a lane sent in it, as long as it was well: one that stands still hears answers late. Whoever
    takes again what had ended does not know any more how often the lane has failed before."""
    changes = notes.lanes[sends[0].url]
    starts = [
        one.order for one in changes if one.owner != one.owner_before or (one.until_before or 0) < one.at_ms
    ]
    for start, end in zip(starts, [*starts[1:], 1 << 62], strict=True):
        reign = [sent for sent in sends if start < sent.order < end]
        well = [
            sent
            for sent in reign
            if notes.was_well(sent.sender, seconds(reign[0].at_ms), sent.answered_s + 0.1)
        ]
        yield well


def _moments(reign: list[Sent]) -> list[tuple[float, int, bool, Sent]]:
    """Beginnings and ends of requests. What follows an end at once, in the same millisecond, is allowed by a success,
    and was begun before a failure."""
    found = [(seconds(sent.at_ms), sent.order, True, sent) for sent in reign]
    found += [
        (sent.answered_s + (-0.001 if sent.answer == "200" else 0.002), 0, False, sent) for sent in reign
    ]
    return sorted(found, key=lambda one: one[:3])


def _a_hold_is_kept(notes: "Notes", sends: list[Sent]) -> None:
    """Whoever was told when to come again does not come before, and no other process does a moment later."""
    for number, told in enumerate(sends):
        if told.asked_s == 0 or told.answered_s >= notes.died_s[told.sender]:
            continue
        notes.simulation.happened["lane held back"] += 1
        for sent in sends[number + 1 :]:
            at_s = seconds(sent.at_ms)
            if not _knows_of_the_hold(notes, told, sent):
                continue
            doubt_ms = sent.doubt_ms + ROUNDING_MS + (told.doubt_ms if sent.sender != told.sender else 0)
            left_s = told.answered_s + told.asked_s - at_s - doubt_ms / 1000
            _require(left_s <= 0, f"{sent.sender} sent to {sent.url} at {at_s} s, asked for {left_s} s more")
            notes.simulation.happened["lane held back for others"] += sent.sender != told.sender


def _knows_of_the_hold(notes: "Notes", told: Sent, sent: Sent) -> bool:
    """Whether the sender must know what another request was answered: by itself, or as others do."""
    at_s = seconds(sent.at_ms)
    if sent.sender == told.sender:
        after_s = told.answered_s + 0.002
        return at_s > after_s and notes.was_well(sent.sender, told.answered_s - 0.1, at_s)
    known_s = told.answered_s + _HEARD_S  # so long it takes to be written and heard
    return (
        at_s > known_s
        and notes.was_well(told.sender, told.answered_s - 0.1, known_s)
        and notes.was_well(sent.sender, max(told.answered_s - 0.1, at_s - SLOW_POLL_S), at_s)
    )
