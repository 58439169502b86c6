"""What must hold whatever goes wrong; read off the observer's notes, the receivers' and the database."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from tellwire.ids import DELIVERY, EVENT, encode
from tellwire.policy.retry import MAX_RETRY_AFTER_MS, RetrySchedule

from .simulation import Simulation
from .world import Change, seconds

PENDING, SUCCEEDED, EXHAUSTED, CANCELLED = range(4)
DELAYS_MS = RetrySchedule().delays_ms
ASKED_MS = {120_000, 7_200_000}
"""What the simulated receivers ask for in ``Retry-After``."""


class Notes:
    """Everything that is known after a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        database = sqlite3.connect(simulation.path)
        self.simulation = simulation
        rows = database.execute("SELECT * FROM audit ORDER BY rowid")
        self.changes = [Change(*row) for row in rows]
        self.of: dict[bytes, list[Change]] = defaultdict(list)
        for change in self.changes:
            self.of[change.delivery].append(change)
        found = database.execute(
            "SELECT d.id, d.event_id, e.url, d.state, e.state"
            " FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id"
        )
        self.deliveries = {id: (event, url, state, endpoint) for id, event, url, state, endpoint in found}
        self.attempts: dict[bytes, list[tuple[int, int, int | None, str | None]]] = defaultdict(list)
        for id, *attempt in database.execute(
            "SELECT delivery_id, started_ms, duration_ms, status_code, error FROM attempts ORDER BY delivery_id, number"
        ):
            self.attempts[id].append(tuple(attempt))
        self.off: dict[str, list[tuple[float, float]]] = defaultdict(
            list
        )  # spans in which an endpoint was not enabled
        for at_ms, url, state in database.execute("SELECT * FROM switches ORDER BY rowid"):
            spans = self.off[url]
            if state != "enabled":
                spans.append((seconds(at_ms), float("inf")))
            elif spans:
                spans[-1] = (spans[-1][0], seconds(at_ms))
        self.events = {encode(EVENT, id) for (id,) in database.execute("SELECT id FROM events")}
        database.close()

    def history(self) -> list[object]:
        """All that happened, in order: the same for the same seed."""
        return [*self.changes, *self.simulation.sent, self.simulation.timeline.now_s]


def check(notes: Notes) -> None:
    """Every invariant."""
    assert not notes.simulation.faults, notes.simulation.faults
    nothing_acknowledged_is_lost(notes)
    for id, changes in notes.of.items():
        leases_are_exclusive(changes)
        results_belong_to_their_lease(changes, notes.attempts[id])
        attempts_are_bounded(changes)
        waits_follow_the_schedule(changes, notes.attempts[id])
    sends_are_bounded_by_leases(notes)
    retries_are_on_time(notes)


def nothing_acknowledged_is_lost(notes: Notes) -> None:
    """Each acknowledged event has its deliveries, and each of them an end that can be accounted for."""
    simulation = notes.simulation
    per_event = Counter(encode(EVENT, event) for event, *_ in notes.deliveries.values())
    for id, receipt in simulation.receipts.items():
        assert id in notes.events, f"event {id} was acknowledged and is gone"
        assert per_event[id] == receipt.deliveries, f"event {id} lacks deliveries"
    got = {(sent.event_id, sent.url) for sent in simulation.sent if sent.answer == "200"}
    cancelled = {id for _, move, id in simulation.by_hand if move == "cancel"}
    for id, (event, url, state, endpoint) in notes.deliveries.items():
        last = notes.of[id][-1]
        if state == SUCCEEDED:
            assert (encode(EVENT, event), url) in got, "succeeded without the receiver having got it"
        elif state == EXHAUSTED:
            assert last.status == 410 or last.step == len(DELAYS_MS) + 1, "exhausted before the schedule was"
        elif state == CANCELLED:
            assert encode(DELIVERY, id) in cancelled, "cancelled by nobody"
        else:
            assert endpoint != "enabled", "left pending at an enabled endpoint"
            assert last.token is None, "in flight for ever"


def leases_are_exclusive(changes: Iterable[Change]) -> None:
    """A lease is given only where there is none, or where the one before has ended."""
    for change in changes:
        if change.grants and change.token_before is not None:
            assert change.until_before is not None
            assert change.until_before <= change.at_ms, "a live lease was taken away"


def results_belong_to_their_lease(
    changes: Iterable[Change], attempts: list[tuple[int, int, int | None, str | None]]
) -> None:
    """Every result was written under a lease that was live, by an attempt that began under that very lease."""
    granted_ms: dict[int, int] = {}
    recorded = 0
    for change in changes:
        if change.grants:
            assert change.token is not None
            granted_ms[change.token] = change.at_ms
        if change.records:
            assert change.made_before is not None
            assert change.made == change.made_before + 1
            assert change.state_before == PENDING
            assert change.token_before is not None, "a result without a lease"
            assert change.token is None
            assert attempts[recorded][0] >= granted_ms[change.token_before], "a stale result"
            recorded += 1
        elif change.state_before is not None and change.state != change.state_before:
            assert change.state in (PENDING, CANCELLED), "a state changed without an attempt"
    assert recorded == len(attempts)


def attempts_are_bounded(changes: Iterable[Change]) -> None:
    """No life of a delivery has more attempts than the schedule, and what has ended stays so but for a hand."""
    for change in changes:
        assert change.step <= len(DELAYS_MS) + 1
        if change.state_before in (SUCCEEDED, EXHAUSTED, CANCELLED) and change.state == PENDING:
            assert (change.trigger, change.step) == ("manual", 0)
            assert change.state_before != CANCELLED


def waits_follow_the_schedule(
    changes: Iterable[Change], attempts: list[tuple[int, int, int | None, str | None]]
) -> None:
    """From the end of an attempt to the time when the next is due it is the scheduled wait, a tenth more or less."""
    recorded = 0
    for change in changes:
        if not change.records:
            continue
        started_ms, duration_ms, _, _ = attempts[recorded]
        recorded += 1
        if change.state != PENDING:
            continue
        assert change.due_ms is not None
        wait_ms = change.due_ms - (started_ms + duration_ms)
        delay_ms = DELAYS_MS[change.step - 1]
        # Dates and seconds that a receiver asks for may be longer, never shorter than the schedule.
        assert 0.9 * delay_ms - 2 <= wait_ms, f"tried again after {wait_ms} ms, too early"
        assert wait_ms <= 1.1 * delay_ms + 2 or wait_ms in ASKED_MS, f"waited {wait_ms} ms"
        assert wait_ms <= MAX_RETRY_AFTER_MS * 1.1


def sends_are_bounded_by_leases(notes: Notes) -> None:
    """No lease sends twice: what a receiver sees more often, it sees after a crash or a hand."""
    grants: Counter[tuple[str, str]] = Counter()
    for change in notes.changes:
        if change.grants:
            event, url, *_ = notes.deliveries[change.delivery]
            grants[encode(EVENT, event), url] += 1
    sends = Counter((sent.event_id, sent.url) for sent in notes.simulation.sent)
    for place, count in sends.items():
        assert count <= grants[place], f"{place} was sent {count} times under {grants[place]} leases"


def retries_are_on_time(notes: Notes) -> None:
    """In quiet times, what is due is claimed within a second."""
    for id, changes in notes.of.items():
        troubles = notes.simulation.troubles + notes.off[notes.deliveries[id][1]]
        for before, change in pairwise(changes):
            if not (before.records and change.grants and before.state == PENDING):
                continue
            assert before.due_ms is not None
            due_s, claimed_s = seconds(before.due_ms), seconds(change.at_ms)
            quiet = not any(start < claimed_s and due_s <= end for start, end in troubles)
            assert not quiet or claimed_s - due_s <= 1, f"due at {due_s} s, claimed at {claimed_s} s"
