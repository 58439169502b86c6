"""A lane that is well waits for nobody, judged: what is claimed there is sent at once, whatever becomes of others."""

from itertools import pairwise
from typing import TYPE_CHECKING

from tellwire.policy.circuit import LIGHT

from .observer import Switch, seconds
from .receivers import Sent

if TYPE_CHECKING:
    from .notes import Notes

SLOTS = 16
"""How many attempts a lane without a limit may have in the air."""
_AT_ONCE_S = 1.0
"""Within this time an attempt begins that nothing holds back."""
_HEARD_S = 1.5
"""Within this time everybody who is well has heard that an endpoint was switched on, and looked at what waits there."""
SLOWING = {"429", "502", "503", "504", "timeout"}


def a_healthy_lane_waits_for_nobody(notes: "Notes", requests: dict[str, list[Sent]]) -> None:
    """What was claimed in a lane without limits is sent at once, whatever others do, where no answer to this process
    has slowed the lane down, nor one to any process held it back.

    Where slots are so few that lanes have to share them, there is nothing to promise.
    """
    simulation = notes.simulation
    if has_few_slots(notes):
        return
    held_up = {*simulation.limited, *simulation.batches, *simulation.in_line}  # there one may wait for others
    for life in notes.lives.values():
        if life.url in held_up:
            continue
        theirs = requests.get(life.url, [])
        for change, after in pairwise([*life.changes, None]):
            assert change is not None
            at_s, writer = seconds(change.at_ms), change.writer
            full = sum(seconds(one.at_ms) <= at_s + _AT_ONCE_S and one.answered_s >= at_s for one in theirs)
            well = notes.was_well(writer, at_s - 1, at_s + _AT_ONCE_S)
            if not change.grants or not well or full >= SLOTS or _is_off(notes.switches[life.url], at_s):
                continue
            heard = [one for one in theirs if one.answered_s <= at_s + _AT_ONCE_S]
            answers = [one for one in heard if one.sender == writer]
            if any(one.answer in SLOWING for one in answers) or any(one.asked_s for one in heard):
                continue
            if is_down(answers, at_s):
                simulation.happened["claimed where a light circuit is open"] += 1
                continue
            sent = any(
                one.sender == writer and one.order > change.order and seconds(one.at_ms) <= at_s + _AT_ONCE_S
                for one in life.sent
            )
            ended = after is not None and seconds(after.at_ms) <= at_s + _AT_ONCE_S
            if ended and not sent:  # by hand, before it could be
                continue
            life.require(sent, f"claimed at {at_s} s by {writer}, and not sent at once")
            simulation.happened["sent at once"] += 1


def has_few_slots(notes: "Notes") -> bool:
    """Whether each lane has one slot, and all lanes of a process share two."""
    return notes.simulation.seed % 2 == 1


def _is_off(switches: list[Switch], at_s: float) -> bool:
    """Whether an endpoint is not enabled at that time, or was not a moment before, or will not be a moment after."""
    ends_s = [*(seconds(switch.at_ms) for switch in switches[1:]), float("inf")]
    return any(
        switch.state != "enabled" and seconds(switch.at_ms) <= at_s + _AT_ONCE_S and end_s >= at_s - _HEARD_S
        for switch, end_s in zip(switches, ends_s, strict=True)
    )


def is_down(answers: list[Sent], at_s: float) -> bool:
    """Whether the light circuit of a process is open at that time, or opens soon: from so many failures in a row,
    among its own ``answers``, until its next success."""
    streak, opened = 0, False
    for heard_s, succeeded in sorted(
        (one.answered_s + (0.002 if one.answer == "200" else 0), one.answer == "200") for one in answers
    ):
        if succeeded and opened and heard_s >= at_s:
            return True
        streak = 0 if succeeded else streak + 1
        opened = not succeeded and (opened or streak == LIGHT.failures)
    return opened
