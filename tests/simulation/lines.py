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
from .simulation import NewOrder

TAKES_EFFECT_S = 1.0
"""Within this time, a change of an endpoint is known to every process that is well."""
_PENDING, _EXHAUSTED = STATE_CODES[State.PENDING], STATE_CODES[State.EXHAUSTED]


def lines(notes: Notes) -> Iterator[tuple[bool, list[Life]]]:
    """The deliveries of each line, in the order in which they were stored, and whether what is exhausted blocks it."""
    found: dict[tuple[str, str], list[Life]] = defaultdict(list)
    for life in notes.lives.values():
        name = line_of(notes, life)
        if name is not None:
            found[life.url, name].append(life)
    for (url, _), lives in found.items():
        if url in notes.simulation.new_orders:
            continue
        blocks = notes.simulation.in_line[url].on_exhausted == "block"
        yield blocks, sorted(lives, key=lambda life: life.changes[0].order)


def line_of(notes: Notes, life: Life) -> str | None:
    """The line in which a delivery stood when it was stored; None for those that wait for nobody.

    What is published ahead of its time stands elsewhere, and is not judged.
    """
    has = notes.simulation.in_line.get(life.url)
    return None if has is None else _line_under(notes, life, has.order)


def _line_under(notes: Notes, life: Life, order: str) -> str | None:
    if order == "none" or life.deliver_ms is not None or life.changes[0].trigger != "schedule":
        return None
    if order == "endpoint":
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


def a_new_order_is_kept(notes: Notes) -> None:
    """Where the order of an endpoint changes, whatever waits there takes its place in the new one, by its id: from
    soon after the change on, as before, nothing is sent before what stands before it. What was exhausted by then has
    stepped aside; that something blocks is not looked at."""
    for url, changes in notes.simulation.new_orders.items():
        lives = [life for life in notes.lives.values() if life.url == url]
        for life in lives:
            for sent in life.sent:
                since = _order_at(notes, changes, life, sent)
                line = None if since is None else _line_under(notes, life, since.order)
                if since is None or line is None:
                    continue
                for before in lives:
                    if (
                        _stands_before(before, life, since)
                        and _line_under(notes, before, since.order) == line
                    ):
                        notes.simulation.happened["waited for in a new order"] += 1
                        life.require(
                            _is_through(notes, before, sent, False),
                            f"{sent.sender} sent at {seconds(sent.at_ms)} s before {before.id.hex()} was through",
                        )


def a_lane_rests(notes: Notes) -> None:
    """While what waits takes its places page after page, nothing there is claimed, but by who looked before."""
    for one in notes.hasty:
        notes.lives[one.delivery].require(
            one.looked < one.marked,
            f"{one.writer} claimed at {seconds(one.at_ms)} s, and its lane was to rest",
        )
        notes.simulation.happened["claimed as a lane began to rest"] += 1


def _order_at(notes: Notes, changes: list[NewOrder], life: Life, sent: Sent) -> NewOrder | None:
    """The order that a request had to keep; None where that is not certain. What was stored after a change is only
    known to who knows of the change, too."""
    begun = [change for change in changes if change.began < sent.order]
    if not begun or any(change.told_s is None or change.told > sent.order for change in begun):
        return None
    last = max(begun, key=lambda change: change.told)
    if any(change.told > last.began for change in begun if change is not last) or last.told_s is None:
        return None  # two at the same time: either is right
    sent_s = seconds(sent.at_ms)
    well = notes.was_well(sent.sender, last.told_s - 0.1, sent_s)
    known_s = last.told_s + (0 if life.changes[0].order > last.told else TAKES_EFFECT_S)
    return last if well and sent_s >= known_s else None


def _stands_before(before: Life, life: Life, since: NewOrder) -> bool:
    stored, mine = before.changes[0].order, life.changes[0].order
    return before.id < life.id and (stored < mine or max(stored, mine) < since.began)


def _is_through(notes: Notes, before: Life, sent: Sent, blocks: bool) -> bool:
    received = any(
        (one.headers is sent.headers and one.order < sent.order)  # in the same batch
        or (one.answer == "200" and one.order < sent.order and one.answered_s <= seconds(sent.at_ms) + 0.001)
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
