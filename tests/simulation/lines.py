"""Order, judged: what stands in line at an endpoint is sent only when each before it was received or has ended."""

import json
from collections import defaultdict
from collections.abc import Iterator

from tellwire.model.delivery import EXPIRED, State
from tellwire.store.tables import STATE_CODES

from .clocks import ROUNDING_MS
from .notes import Life, Notes
from .observer import Change, seconds
from .receivers import Sent

_PENDING, _EXHAUSTED = STATE_CODES[State.PENDING], STATE_CODES[State.EXHAUSTED]


def lines(notes: Notes) -> Iterator[tuple[bool, list[Life]]]:
    """The deliveries of each line, in the order in which they were stored, and whether what is exhausted blocks it."""
    found: dict[tuple[str, str], list[Life]] = defaultdict(list)
    for life in notes.lives.values():
        name = line_of(notes, life)
        if name is not None:
            found[life.url, name].append(life)
    for (url, _), lives in found.items():
        blocks = notes.simulation.in_line[url].on_exhausted == "block"
        yield blocks, sorted(lives, key=lambda life: life.changes[0].order)


def line_of(notes: Notes, life: Life) -> str | None:
    """The line in which a delivery stood when it was stored; None for those that wait for nobody.

    What is published ahead of its time stands elsewhere, and is not judged.
    """
    has = notes.simulation.in_line.get(life.url)
    if has is None or life.deliver_ms is not None or life.changes[0].trigger != "schedule":
        return None
    if has.order == "endpoint":
        return "*"
    return notes.simulation.keys.get(json.loads(notes.events[life.event][1])["n"])


def order_is_kept(notes: Notes) -> None:
    """In each line, nothing is sent before all that was stored before it was received once, or has ended once.

    What is exhausted does not count as ended where it blocks; what has expired does, from then on. Later lives of what
    was retried by hand, and what is sent again because an answer was lost, may come after others.
    """
    for blocks, lives in lines(notes):
        for number, life in enumerate(lives):
            for sent in life.sent:
                for before in lives[:number]:
                    life.require(
                        _is_through(notes, before, sent, blocks),
                        f"{sent.sender} sent at {seconds(sent.at_ms)} s before {before.id.hex()} was through",
                    )


def _is_through(notes: Notes, before: Life, sent: Sent, blocks: bool) -> bool:
    received = any(
        one.answer == "200" and one.order < sent.order and one.answered_s <= seconds(sent.at_ms) + 0.001
        for one in before.sent
    )
    if before.expires_ms is not None and before.expires_ms <= sent.at_ms + sent.doubt_ms + ROUNDING_MS:
        return True
    blocks = blocks and seconds(sent.at_ms) < notes.simulation.unblocked_s
    return received or any(_ends(change, blocks) and change.order < sent.order for change in before.changes)


def _ends(change: Change, blocks: bool) -> bool:
    if change.state == _EXHAUSTED and blocks:
        return change.error == EXPIRED
    return change.state != _PENDING


def through_s(notes: Notes, life: Life, order: int) -> float:
    """When the last change was made, before ``order``, to what stands before a delivery in its line."""
    name = line_of(notes, life)
    born = life.changes[0].order
    return max(
        (
            seconds(change.at_ms)
            for other in notes.lives.values()
            if other.url == life.url and line_of(notes, other) == name and other.changes[0].order < born
            for change in other.changes
            if change.order < order
        ),
        default=0.0,
    )
