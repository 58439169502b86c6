"""What is known after a simulation: the observer's notes, the receivers' and the publishers', by delivery."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec

from tellwire.ids import DELIVERY, EVENT, REPLAY, encode
from tellwire.policy.retry import RetrySchedule
from tellwire.store.tables import STATES
from tellwire.store.tallies import decode

from .observer import Change, Hasty, LaneChange, Switch, seconds
from .process import SCHEDULE
from .receivers import Sent
from .simulation import Simulation

COUNTED = ("succeeded", "exhausted", "cancelled", "attempts_succeeded", "attempts_failed")
"""The columns of the statistics."""


class BrokenError(AssertionError):
    """A promise was broken, to this delivery."""

    def __init__(self, message: str, delivery: bytes | None = None) -> None:
        super().__init__(message)
        self.delivery = delivery


class Attempt(msgspec.Struct, frozen=True):
    """A row of ``attempts``."""

    number: int
    started_ms: int
    duration_ms: int
    status_code: int | None
    error: str | None


class Life(msgspec.Struct):
    """One delivery: what the database, the receivers and the observer know of it."""

    id: bytes
    event: str
    url: str
    state: int
    made: int
    token: int | None
    deliver_ms: int | None
    expires_ms: int | None
    schedule: RetrySchedule = SCHEDULE
    changes: list[Change] = []
    sent: list[Sent] = []
    attempts: list[Attempt] = []

    @property
    def most_attempts(self) -> int:
        """How many attempts its schedule has."""
        return len(self.schedule.delays_ms) + 1

    def require(self, holds: bool, message: str) -> None:
        """Raise BrokenError unless it ``holds``."""
        if not holds:
            raise BrokenError(message, self.id)


class Notes:
    """Everything that is known after a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        database = sqlite3.connect(simulation.path)

        def rows(query: str) -> list[Any]:
            return database.execute(query).fetchall()

        self.changes = [Change(*row) for row in rows("SELECT * FROM observed ORDER BY at_order")]
        self.hasty = [Hasty(*row) for row in rows("SELECT * FROM hasty ORDER BY at_order")]
        self.switches: dict[str, list[Switch]] = defaultdict(list)
        for row in rows("SELECT * FROM switches ORDER BY at_order"):
            self.switches[row[3]].append(Switch(*row))
        self.lanes: dict[str, list[LaneChange]] = defaultdict(list)
        urls = dict(rows("SELECT id, url FROM endpoints"))
        for row in rows("SELECT * FROM lane_changes ORDER BY at_order"):
            self.lanes[urls[row[3]]].append(LaneChange(*row))
        self.replays = {
            encode(REPLAY, id): what
            for id, *what in rows("SELECT id, state, looked_at, retried, created FROM replays")
        }
        self.replay_moves: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for order, writer, id in rows("SELECT * FROM replay_moves ORDER BY at_order"):
            self.replay_moves[encode(REPLAY, id)].append((order, writer))
        self.expiring = {
            encode(EVENT, id) for (id,) in rows("SELECT id FROM events WHERE expires_ms IS NOT NULL")
        }
        self.lives: dict[bytes, Life] = {}
        place: dict[tuple[str, str], Life] = {}
        for id, event, *what in rows(
            "SELECT d.id, d.event_id, e.url, d.state, d.attempt_count, d.lease_token, v.deliver_ms, v.expires_ms"
            " FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id JOIN events v ON v.id = d.event_id"
            " ORDER BY d.id"
        ):
            life = Life(id, encode(EVENT, event), *what)
            life.schedule = simulation.schedules.get(life.url, SCHEDULE)
            assert (life.event, life.url) not in place, f"event {life.event} has two deliveries to {life.url}"
            self.lives[id] = place[life.event, life.url] = life
        for change in self.changes:
            self.lives[change.delivery].changes.append(change)
        for sent in simulation.sent:
            assert (sent.event_id, sent.url) in place, "something was sent that is not in the database"
            place[sent.event_id, sent.url].sent.append(sent)
        for id, *attempt in rows(
            "SELECT delivery_id, number, started_ms, duration_ms, status_code, error FROM attempts"
            " ORDER BY delivery_id, number"
        ):
            self.lives[id].attempts.append(Attempt(*attempt))
        self.events = {
            encode(EVENT, id): (key, data, deliveries)
            for id, key, data, deliveries in rows("SELECT id, idempotency_key, data, deliveries FROM events")
        }
        self.counted = _counted(rows)
        database.close()
        self.stopped = {one.name: one.stopped for one in simulation.ever if one.stopped}
        self.unwell = {one.name: one.unwell for one in simulation.ever}
        self.died_s = {one.name: one.died_s for one in simulation.ever}

    def history(self) -> list[object]:
        """All that happened, in order: the same for the same seed."""
        sent = [one._replace(headers={}) for one in self.simulation.sent]
        return [*self.changes, *sent, *self.simulation.trace, self.simulation.timeline.now_s]

    def state_before(self, url: str, order: int) -> str | None:
        """The state of the endpoint just before ``order``; None where it did not exist."""
        before = [switch for switch in self.switches[url] if switch.order < order]
        return before[-1].state if before else None

    def hands(self, life: Life, move: str) -> bool:
        """Whether somebody asked for that."""
        id = encode(DELIVERY, life.id)
        return any(hand.delivery == id and hand.move == move for hand in self.simulation.hands)

    def was_well(self, process: str | None, start_s: float, end_s: float) -> bool:
        """Whether ``process`` (or every process) and the world had no trouble between these times."""
        spans = list(self.simulation.unwell)
        for name, theirs in self.unwell.items():
            if process in (None, name):
                spans += theirs
        return not any(start < end_s and start_s < end for start, end in spans)


def _counted(rows: Callable[[str], list[Any]]) -> dict[tuple[str, int], Counter[str]]:
    """What the statistics say, by the URL of the endpoint (``*``: all of them) and by hour (0) or day (1)."""
    urls = {b"": "*", **dict(rows("SELECT id, url FROM endpoints"))}
    counted: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for (entries,) in rows("SELECT entries FROM tally_journal"):
        for tally in decode(entries):
            for place in product(("*", urls[tally.endpoint_id]), (0, 1)):
                counted[place].update({name: getattr(tally, name) for name in COUNTED})
    for id, span, *counts in rows(
        f"SELECT endpoint_id, span, {', '.join(COUNTED)} FROM rollups WHERE endpoint_id != x'' OR tenant = '*'"
    ):
        counted[urls[id], span].update(dict(zip(COUNTED, counts, strict=True)))
    return counted


def story(notes: Notes, delivery: bytes | None) -> str:
    """A compact trace: what befell the processes, and all that is known of ``delivery``."""
    lines = [(order, at_s, text) for at_s, order, text in notes.simulation.trace]
    life = None if delivery is None else notes.lives.get(delivery)
    if life is not None:
        for change in life.changes:
            lease = "no lease" if change.token is None else f"lease {change.token % 10_000}"
            if change.until is not None:
                lease += f" until {seconds(change.until):.3f}"
            due = "" if change.due_ms is None else f", due {seconds(change.due_ms):.3f}"
            text = f"{change.writer} writes: {STATES[change.state]}, {change.made} made, {lease}{due}"
            lines.append((change.order, seconds(change.at_ms), text))
        for sent in life.sent:
            lines.append((sent.order, seconds(sent.at_ms), f"{sent.sender} sends, answer {sent.answer} at"
                          f" {sent.answered_s:.3f}"))  # fmt: skip
        for switch in notes.switches[life.url]:
            lines.append((switch.order, seconds(switch.at_ms), f"{switch.writer}: endpoint {switch.state}"))
        id = encode(DELIVERY, life.id)
        for hand in notes.simulation.hands:
            if hand.delivery == id:
                lines.append((hand.order, hand.at_s, f"somebody asks: {hand.move}"))
    return "\n".join(f"{at_s:10.3f} {text}" for _, at_s, text in sorted(lines))
