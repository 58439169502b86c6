"""Batches, judged: what an id stands for, and that a batch that failed comes again as it was."""

from typing import NamedTuple

from tellwire import unpack
from tellwire.model.delivery import State
from tellwire.store.tables import STATE_CODES

from .notes import BrokenError, Life, Notes
from .receivers import Sent

_PENDING = STATE_CODES[State.PENDING]


class _Request(NamedTuple):
    """A batch as its receiver saw it; it came after ``order``."""

    order: int
    events: frozenset[str]


def batches_hold_together(notes: Notes) -> None:
    """Every invariant of batches."""
    _batches_are_what_their_id_says(notes)
    _batches_come_again_as_they_were(notes)


def _batches_are_what_their_id_says(notes: Notes) -> None:
    """No batch has more events than it may, and the same id is the same events to the last byte, whoever sends it."""
    bodies: dict[str, bytes] = {}
    for sent in notes.simulation.sent:
        most, id = notes.simulation.batches.get(sent.url), sent.headers["webhook-id"]
        if most is None:
            continue
        events = unpack(sent.headers, sent.body)
        first = events[0].id == sent.event_id
        notes.simulation.happened["batch sent again"] += id in bodies and first
        lined_up = sent.url in notes.simulation.in_line and len(events) > 1 and first
        notes.simulation.happened["line in a batch"] += lined_up
        notes.simulation.happened["line in a batch sent again"] += lined_up and id in bodies
        if len(events) > most:
            raise BrokenError(f"a batch to {sent.url} has more than {most} events")
        if bodies.setdefault(id, sent.body) != sent.body:
            raise BrokenError(f"two batches are called {id}")


def _batches_come_again_as_they_were(notes: Notes) -> None:
    """What is sent again goes with those with which it went before, and with no others; what somebody has retried by
    hand or replayed has left its batch."""
    lives = {(life.event, life.url): life for life in notes.lives.values()}
    before: dict[tuple[str, str], _Request] = {}
    for sent in notes.simulation.sent:
        if sent.url not in notes.simulation.batches:
            continue
        request = _Request(sent.order, frozenset(event.id for event in unpack(sent.headers, sent.body)))
        place = (sent.event_id, sent.url)
        last = before.get(place)
        if last is not None and not _has_left(lives[place], last, sent):
            strangers = {
                event
                for event in request.events - last.events
                if not _has_left(lives[event, sent.url], last, sent)
            }
            lives[place].require(not strangers, f"{sent.sender} sent it again with others")
            notes.simulation.happened["batch kept together"] += len(last.events) > 1
        before[place] = request


def _has_left(life: Life, last: _Request, sent: Sent) -> bool:
    """Whether a delivery has left its batch between two requests."""
    return any(
        change.by_hand or change.trigger in ("manual", "replay")
        for change in life.changes
        if last.order < change.order < sent.order
    )
