"""What must hold whatever goes wrong; read off the observer's notes, the receivers' and the publishers'."""

import sqlite3
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from tellwire.ids import DELIVERY, EVENT, encode
from tellwire.model.delivery import TRANSITIONS, Move, State
from tellwire.policy.retry import MAX_RETRY_AFTER_MS
from tellwire.signing.secret import parse_secret
from tellwire.signing.standard import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from tellwire.store.tables import STATE_CODES, STATES

from .database import Change, Switch, seconds
from .process import SCHEDULE, SLOW_POLL_S
from .receivers import Sent
from .simulation import Simulation

PENDING, SUCCEEDED, EXHAUSTED, CANCELLED = (STATE_CODES[state] for state in State)
MOST_ATTEMPTS = len(SCHEDULE.delays_ms) + 1
ASKED_MS = {20_000, 120_000}
"""What the simulated receivers ask for in ``Retry-After``."""
TAKES_EFFECT_S = 1.5
"""Within this time, a change of an endpoint is known to every process that is well."""


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
    changes: list[Change]
    sent: list[Sent]
    attempts: list[Attempt]

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
        self.switches: dict[str, list[Switch]] = defaultdict(list)
        for row in rows("SELECT * FROM switches ORDER BY at_order"):
            self.switches[row[3]].append(Switch(*row))
        self.lives: dict[bytes, Life] = {}
        place: dict[tuple[str, str], Life] = {}
        for id, event, url, state, made, token in rows(
            "SELECT d.id, d.event_id, e.url, d.state, d.attempt_count, d.lease_token"
            " FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id ORDER BY d.id"
        ):
            event = encode(EVENT, event)
            assert (event, url) not in place, f"event {event} has two deliveries to {url}"
            self.lives[id] = place[event, url] = Life(id, event, url, state, made, token, [], [], [])
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
        database.close()
        self.stopped = {one.name: one.stopped for one in simulation.ever if one.stopped}
        self.unwell = {one.name: one.unwell for one in simulation.ever}

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


def check(notes: Notes) -> None:
    """Every invariant."""
    if notes.simulation.mishaps:
        raise BrokenError("; ".join(notes.simulation.mishaps[:3]))
    nothing_acknowledged_is_lost(notes)
    subscribers_get_it(notes)
    keys_name_one_event(notes)
    for life in notes.lives.values():
        states_are_legal(life)
        attempts_are_bounded(life)
        it_has_ended(notes, life)
        leases_are_exclusive(life)
        a_stop_gives_leases_back(notes, life)
        results_belong_to_their_lease(notes, life)
        sends_are_under_a_lease(life)
        what_is_sent_is_recorded_or_sent_again(notes, life)
        waits_follow_the_schedule(notes, life)
        it_is_claimed_on_time(notes, life)
        what_is_off_gets_nothing(notes, life)
        it_is_signed_with_the_secrets_in_force(notes, life)


# Events


def nothing_acknowledged_is_lost(notes: Notes) -> None:
    """Each acknowledged event is there, as it was published, with all its deliveries."""
    per_event = Counter(life.event for life in notes.lives.values())
    for published in notes.simulation.published:
        event = published.receipt.id
        if event not in notes.events:
            raise BrokenError(f"event {event} was acknowledged and is gone")
        _, data, deliveries = notes.events[event]
        if data != b'{"n":%d}' % published.n:
            raise BrokenError(f"event {event} has other data")
        # What is fanned out in pages passes over what was deleted meanwhile.
        fewer = deliveries - per_event[event]
        paged = deliveries > notes.simulation.at_once
        gone = sum(switches[-1].state == "deleted" for switches in notes.switches.values())
        if published.receipt.deliveries != deliveries or not 0 <= fewer <= gone * paged:
            raise BrokenError(f"event {event} lacks deliveries")


def subscribers_get_it(notes: Notes) -> None:
    """An endpoint that was there before an event was published gets it; one that came later, or was off, does not."""
    targets = {(life.event, life.url) for life in notes.lives.values()}
    for published in notes.simulation.published:
        if published.receipt.duplicate:
            continue
        for url, switches in notes.switches.items():
            if any(published.began < switch.order < published.ended for switch in switches):
                continue  # at the same time: either is right
            state = notes.state_before(url, published.began)
            if switches[-1].state == "deleted" and published.receipt.deliveries > notes.simulation.at_once:
                continue  # perhaps before its page was fanned out
            wanted = state in ("enabled", "paused")
            if ((published.receipt.id, url) in targets) is not wanted:
                raise BrokenError(f"{url} is {state}, and event {published.receipt.id} went the other way")


def keys_name_one_event(notes: Notes) -> None:
    """Whoever published under one idempotency key was told of one event."""
    for published in notes.simulation.published:
        if published.key is not None and notes.simulation.told[published.key] != published.receipt.id:
            raise BrokenError(f"{published.key} names two events")
    keys = Counter(key for key, *_ in notes.events.values() if key is not None)
    if any(number > 1 for number in keys.values()):
        raise BrokenError("two events have one idempotency key")


# A delivery


def states_are_legal(life: Life) -> None:
    """Every change is one of the transition table, and counts its attempts."""
    legal = {(STATE_CODES[before], STATE_CODES[after]) for (before, _), after in TRANSITIONS.items()}
    by_attempt = {
        STATE_CODES[after]
        for (_, move), after in TRANSITIONS.items()
        if move in (Move.SUCCEED, Move.EXHAUST, Move.RETRY_LATER)
    }
    born, *later = life.changes
    life.require((born.state_before, born.state, born.made) == (None, PENDING, 0), "it was born otherwise")
    for before, change in pairwise(life.changes):
        life.require(change.state_before == before.state, "a change went unseen")
        life.require(
            (before.state, change.state) in legal or before.state == change.state, "an illegal transition"
        )
        life.require(change.made - before.made in (0, 1), "attempts are miscounted")
        if change.records:
            life.require(
                before.state == PENDING and change.state in by_attempt, "a result for what had ended"
            )
            life.require(change.step == before.step + 1, "the schedule is miscounted")
        elif change.state != before.state:
            life.require(change.state in (PENDING, CANCELLED), "it ended without an attempt")
        if change.state != PENDING:
            life.require(change.token is None, "it has ended, and is leased")
    life.require(
        [attempt.number for attempt in life.attempts] == list(range(1, life.made + 1)), "attempts are missing"
    )
    life.require(sum(change.records for change in later) == life.made, "attempts are missing")


def attempts_are_bounded(life: Life) -> None:
    """No life of a delivery has more attempts than the schedule; only a hand begins a new one."""
    for change in life.changes:
        life.require(change.step <= MOST_ATTEMPTS, "it was tried too often")
        if change.state_before in (SUCCEEDED, EXHAUSTED) and change.state == PENDING:
            life.require((change.trigger, change.step) == ("manual", 0), "it began anew by itself")


def it_has_ended(notes: Notes, life: Life) -> None:
    """Each delivery has an end that can be accounted for, or waits for an endpoint that is off."""
    last, endpoint = life.changes[-1], notes.switches[life.url][-1].state
    if life.state == SUCCEEDED:
        life.require(any(sent.answer == "200" for sent in life.sent), "succeeded, and was never received")
    elif life.state == EXHAUSTED:
        life.require(last.status == 410 or last.step == MOST_ATTEMPTS, "exhausted before the schedule was")
    elif life.state == CANCELLED:
        life.require(endpoint == "deleted" or notes.hands(life, "cancel"), "cancelled by nobody")
    else:
        life.require(endpoint in ("disabled", "paused"), f"left pending at an endpoint that is {endpoint}")


def leases_are_exclusive(life: Life) -> None:
    """A lease is given only where there is none, or where the one before has ended by the database's clock."""
    for change in life.changes:
        if change.grants and change.token_before is not None:
            life.require(change.until_before is not None, "a lease without an end")
            life.require((change.until_before or 0) <= change.at_ms, "a live lease was taken away")


def a_stop_gives_leases_back(notes: Notes, life: Life) -> None:
    """Whoever stopped gracefully while all was well has left no lease behind."""
    for grant, end, _ in _leases(life):
        stopped = notes.stopped.get(grant.writer)
        if stopped is None or not notes.was_well(grant.writer, seconds(grant.at_ms), stopped[1]):
            continue
        asked_s, _, order = stopped
        life.require(
            end is not None and end.order < order, f"{grant.writer} stopped at {asked_s} s with a lease"
        )


def _leases(life: Life) -> Iterator[tuple[Change, Change | None, int]]:
    """Each grant, the change that ended it (a result, a release, a hand, another grant), and its last ``until``."""
    grant: Change | None = None
    until_ms = 0
    for change in life.changes:
        if grant is not None and change.token != grant.token:
            yield grant, change, until_ms
            grant = None
        if change.grants:
            grant = change
        if change.until is not None:
            until_ms = change.until
    if grant is not None:
        yield grant, None, until_ms


def results_belong_to_their_lease(notes: Notes, life: Life) -> None:
    """Every result was really sent, by the holder of the very lease under which it was written."""
    granted: Change | None = None
    attempts = iter(life.attempts)
    for change in life.changes:
        if change.records:
            attempt = next(attempts)
            life.require(change.token_before is not None and granted is not None, "a result without a lease")
            assert granted is not None
            found = [
                sent
                for sent in life.sent
                if granted.order < sent.order < change.order
                and sent.sender == change.writer == granted.writer
                and sent.answer == str(attempt.error or attempt.status_code)
                and seconds(change.at_ms) >= sent.answered_s - 0.001
            ]
            life.require(
                bool(found), f"attempt {attempt.number} was not sent under its lease: a stale result"
            )
        if change.grants:
            granted = change


def sends_are_under_a_lease(life: Life) -> None:
    """Whoever sends holds the lease at that very moment; a lease sends once. Only a hand can revoke it unheard."""
    unused = list(_leases(life))
    for sent in life.sent:
        mine = [lease for lease in unused if lease[0].writer == sent.sender and lease[0].order < sent.order]
        held = [
            lease
            for lease in mine
            if (lease[1] is None or lease[1].order > sent.order) and sent.at_ms < lease[2]
        ]
        revoked = [lease for lease in mine if lease[1] is not None and lease[1].by_hand]
        life.require(bool(held or revoked), f"{sent.sender} sent at {seconds(sent.at_ms)} s without a lease")
        unused.remove((held or revoked)[0])


def what_is_sent_is_recorded_or_sent_again(notes: Notes, life: Life) -> None:
    """Every attempt that got an answer is recorded, or sent again, or somebody has intervened."""
    sends = [sent.order for sent in life.sent]
    for grant, end, _ in _leases(life):
        if end is None or end.records or not bisect_left(sends, end.order) - bisect_left(sends, grant.order):
            continue
        again = bisect_left(sends, end.order) < len(sends)
        recorded_later = any(change.records and change.order > end.order for change in life.changes)
        intervened = life.state == CANCELLED or notes.state_before(life.url, 1 << 62) != "enabled"
        life.require(again or recorded_later or intervened, "an answer is nowhere")


def waits_follow_the_schedule(notes: Notes, life: Life) -> None:
    """From the end of an attempt to the time when the next is due it is the scheduled wait, a tenth more or less."""
    attempts = iter(life.attempts)
    for change in life.changes:
        if not change.records:
            continue
        attempt = next(attempts)
        if change.state != PENDING:
            continue
        assert change.due_ms is not None
        wait_ms = change.due_ms - (attempt.started_ms + attempt.duration_ms)
        delay_ms = SCHEDULE.delays_ms[change.step - 1]
        life.require(0.9 * delay_ms - 20 <= wait_ms, f"tried again after {wait_ms} ms, too early")
        asked = any(abs(wait_ms - asked_ms) < 20 for asked_ms in ASKED_MS)
        life.require(wait_ms <= 1.1 * delay_ms + 20 or asked, f"waited {wait_ms} ms")
        assert wait_ms <= MAX_RETRY_AFTER_MS


def it_is_claimed_on_time(notes: Notes, life: Life) -> None:
    """What is due while all is well is claimed at the next slow poll at the latest, whatever was missed."""
    for before, change in pairwise(life.changes):
        if not change.grants or before.state != PENDING or before.due_ms is None:
            continue
        due_s = max(seconds(max(before.due_ms, before.until or 0)), seconds(before.at_ms))
        claimed_s = seconds(change.at_ms)
        for switch in notes.switches[life.url]:
            if switch.state == "enabled":
                due_s = max(due_s, min(seconds(switch.at_ms), claimed_s))
        late_s = claimed_s - due_s
        if late_s > SLOW_POLL_S and notes.was_well(None, due_s, claimed_s):
            raise BrokenError(f"due at {due_s} s, claimed at {claimed_s} s", life.id)


def what_is_off_gets_nothing(notes: Notes, life: Life) -> None:
    """A second after an endpoint was switched off, no process that is well sends to it any more."""
    for sent in life.sent:
        state = notes.state_before(life.url, sent.order)
        if state == "enabled":
            continue
        off_s = max(
            seconds(switch.at_ms)
            for before, switch in pairwise([None, *notes.switches[life.url]])
            if switch is not None
            and switch.order < sent.order
            and switch.state != "enabled"
            and (before is None or before.state == "enabled")
        )
        sent_s = seconds(sent.at_ms)
        late = sent_s - off_s > TAKES_EFFECT_S and notes.was_well(sent.sender, off_s, sent_s)
        life.require(not late, f"sent at {sent_s} s, and the endpoint is {state} since {off_s} s")


def it_is_signed_with_the_secrets_in_force(notes: Notes, life: Life) -> None:
    """A second after a secret was rotated, every process that is well signs with the new one."""
    secrets = notes.simulation.secrets.get(life.url, [])
    for sent in life.sent:
        before = [one for one in secrets if one.began < sent.order]
        if not before or before[-1].told_s is None:
            continue
        sent_s, told_s = seconds(sent.at_ms), before[-1].told_s
        if sent_s - told_s < TAKES_EFFECT_S or not notes.was_well(sent.sender, told_s, sent_s):
            continue
        stamp = int(sent.headers[TIMESTAMP_HEADER])
        expected = sign([parse_secret(before[-1].secret)], sent.event_id, stamp, sent.body)
        life.require(expected in sent.headers[SIGNATURE_HEADER].split(), "signed with an old secret alone")


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
