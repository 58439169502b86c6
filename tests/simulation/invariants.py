"""What must hold whatever goes wrong."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tellwire.deliver.holds import BEHIND_MS
from tellwire.model.delivery import EXPIRED, TRANSITIONS, Move, State
from tellwire.policy.retry_after import MAX_RETRY_AFTER_MS
from tellwire.signing.standard import TIMESTAMP_HEADER
from tellwire.store.tables import STATE_CODES, STATES

from .batching import batches_hold_together
from .clocks import DRIFT, ROUNDING_MS
from .health import SLOWING, has_few_slots, is_down
from .limits import LONGEST_PROBE_S, limits_hold
from .lines import a_lane_rests, a_new_order_is_kept, line_of, order_is_kept, through_s
from .notes import Attempt, BrokenError, Life, Notes
from .observer import Change, seconds
from .people import (
    it_is_signed_with_the_secrets_in_force,
    what_is_cancelled_is_not_sent,
    what_is_off_gets_nothing,
)
from .process import LEASE_MS, SLOW_POLL_S
from .receivers import Sent
from .second_chances import by_replay, replayed, replays_bring_what_they_should
from .simulation import Published

PENDING, SUCCEEDED, EXHAUSTED, CANCELLED = (STATE_CODES[state] for state in State)
SOON_S = 1.0
"""Within this time what is due is claimed: it is told, over a network that is slow and loses one word in fifty."""
_ROUNDED_S = 0.01
ASKED_MS = {20_000, 120_000}
"""What the simulated receivers ask for in ``Retry-After``."""


def check(notes: Notes) -> None:
    """Every invariant."""
    if notes.simulation.mishaps:
        raise BrokenError("; ".join(notes.simulation.mishaps[:3]))
    nothing_acknowledged_is_lost(notes)
    subscribers_get_it(notes)
    keys_name_one_event(notes)
    statistics_are_exact(notes)
    batches_hold_together(notes)
    for life in notes.lives.values():
        states_are_legal(life)
        attempts_are_bounded(life)
        it_has_ended(notes, life)
        leases_are_exclusive(life)
        nothing_is_early(life)
        times_of_events_hold(notes, life)
        leases_last_as_long_as_they_should(life)
        a_stop_gives_leases_back(notes, life)
        results_belong_to_their_lease(life)
        sends_are_under_a_lease(life)
        what_is_sent_is_recorded_or_sent_again(notes, life)
        times_are_the_servers(life)
        waits_follow_the_schedule(life)
        it_is_claimed_on_time(notes, life)
        what_is_off_gets_nothing(notes, life)
        what_is_cancelled_is_not_sent(notes, life)
        it_is_signed_with_the_secrets_in_force(notes, life)
    order_is_kept(notes)
    a_new_order_is_kept(notes)
    a_lane_rests(notes)
    limits_hold(notes)
    replays_bring_what_they_should(notes)


# Events


def nothing_acknowledged_is_lost(notes: Notes) -> None:
    """Each acknowledged event is there, as it was published, with all its deliveries."""
    per_event, by_replays = Counter(life.event for life in notes.lives.values()), replayed(notes)
    for published in notes.simulation.published:
        event = published.receipt.id
        if event not in notes.events:
            raise BrokenError(f"event {event} was acknowledged and is gone")
        _, data, deliveries = notes.events[event]
        if data != b'{"n":%d}' % published.n:
            raise BrokenError(f"event {event} has other data")
        # What is fanned out in pages passes over what was deleted meanwhile.
        fewer = deliveries - per_event[event]
        paged = published.receipt.deliveries > notes.simulation.at_once
        gone = sum(switches[-1].state == "deleted" for switches in notes.switches.values())
        if _cut_off(notes, published):
            continue
        if published.receipt.deliveries != deliveries - by_replays[event] or not 0 <= fewer <= gone * paged:
            raise BrokenError(f"event {event} lacks deliveries")


def _cut_off(notes: Notes, published: Published) -> bool:
    """Whether a wide event was cancelled: what was not fanned out by then never is."""
    paged = published.receipt.deliveries > notes.simulation.at_once
    return paged and published.receipt.id in notes.simulation.cancelled_events


def subscribers_get_it(notes: Notes) -> None:
    """An endpoint that was there before an event was published gets it; one that came later, or was off, does not."""
    targets = {(life.event, life.url) for life in notes.lives.values() if not by_replay(life)}
    for published in notes.simulation.published:
        if published.receipt.duplicate or _cut_off(notes, published):
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


def statistics_are_exact(notes: Notes) -> None:
    """What is counted is what happened: each attempt and each end of a delivery once, whatever died meanwhile."""
    happened: dict[str, Counter[str]] = {}
    for life in notes.lives.values():
        for place in ("*", life.url):
            counts = happened.setdefault(place, Counter())
            for attempt in life.attempts:
                succeeded = attempt.error is None and attempt.status_code == 200
                counts["attempts_succeeded" if succeeded else "attempts_failed"] += 1
            for change in life.changes:
                # What is exhausted and blocks its line may be cancelled by hand: another end.
                if change.state_before not in (None, change.state) and change.state != PENDING:
                    counts[STATES[change.state]] += 1
    for place, counts in happened.items():
        for span in (0, 1):
            counted = +notes.counted.get((place, span), Counter())
            if counted != +counts:
                raise BrokenError(f"counted at {place}: {dict(counted)}, and it was {dict(+counts)}")


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
            ended = change.state in (PENDING, CANCELLED) or (change.state == EXHAUSTED and change.expires)
            life.require(ended, "it ended without an attempt")
        if change.state != PENDING:
            life.require(change.token is None, "it has ended, and is leased")
    life.require(
        [attempt.number for attempt in life.attempts] == list(range(1, life.made + 1)), "attempts are missing"
    )
    life.require(sum(change.records for change in later) == life.made, "attempts are missing")


def attempts_are_bounded(life: Life) -> None:
    """No life of a delivery has more attempts than the schedule; only a hand begins a new one."""
    for change in life.changes:
        life.require(change.step <= life.most_attempts, "it was tried too often")
        if change.state_before in (SUCCEEDED, EXHAUSTED) and change.state == PENDING:
            life.require(
                (change.trigger in ("manual", "replay"), change.step) == (True, 0), "it began anew by itself"
            )


def it_has_ended(notes: Notes, life: Life) -> None:
    """Each delivery has an end that can be accounted for, or waits for an endpoint that is off."""
    last, endpoint = life.changes[-1], notes.switches[life.url][-1].state
    if life.state == SUCCEEDED:
        life.require(any(sent.answer == "200" for sent in life.sent), "succeeded, and was never received")
    elif life.state == EXHAUSTED:
        used_up = last.status == 410 or last.step == life.most_attempts or last.error == EXPIRED
        life.require(used_up, "exhausted before the schedule was")
    elif life.state == CANCELLED:
        by_hand = notes.hands(life, "cancel") or life.event in notes.simulation.cancelled_events
        life.require(endpoint == "deleted" or by_hand, "cancelled by nobody")
    else:
        life.require(endpoint in ("disabled", "paused"), f"left pending at an endpoint that is {endpoint}")


def leases_are_exclusive(life: Life) -> None:
    """A lease is given only where there is none, or where the one before has ended by the database's clock.

    Whoever takes it has just asked for the time: he may be wrong by as much as that question left in doubt.
    """
    for change in life.changes:
        if change.grants and change.token_before is not None:
            life.require(change.until_before is not None, "a lease without an end")
            left_ms = (change.until_before or 0) - change.at_ms
            life.require(
                left_ms <= change.doubt_ms + ROUNDING_MS, f"a lease was taken away {left_ms} ms early"
            )


def nothing_is_early(life: Life) -> None:
    """Nothing is claimed before it is due by the database's clock, whatever the clock of whoever claims shows."""
    for change in life.changes:
        if change.grants and change.token_before is None and change.due_before is not None:
            early_ms = change.due_before - change.at_ms
            life.require(early_ms <= change.doubt_ms + ROUNDING_MS, f"claimed {early_ms} ms early")


def times_of_events_hold(notes: Notes, life: Life) -> None:
    """Nothing is sent before its time, unless by hand, nor begun after it has expired; nothing expires without need."""
    for sent in life.sent:
        most_ms = sent.doubt_ms + ROUNDING_MS
        if life.deliver_ms is not None and not notes.hands(life, "retry"):
            early_ms = life.deliver_ms - sent.at_ms
            life.require(early_ms <= most_ms, f"sent {early_ms} ms before its time")
        if life.expires_ms is not None:
            late_ms = sent.at_ms - life.expires_ms
            life.require(late_ms <= most_ms, f"sent {late_ms} ms after it had expired")
    for change in life.changes:
        if change.error != EXPIRED or change.state != EXHAUSTED or change.state_before == EXHAUSTED:
            continue
        life.require(life.expires_ms is not None, "expired without a time")
        left_ms = (life.expires_ms or 0) - change.at_ms
        most_ms = change.doubt_ms + ROUNDING_MS
        if change.records:  # the next attempt would have come too late
            most_ms += max([1.1 * life.schedule.delays_ms[change.step - 1], *ASKED_MS])
        life.require(left_ms <= most_ms, f"expired {left_ms} ms early")


def leases_last_as_long_as_they_should(life: Life) -> None:
    """A lease ends a minute after it was given, by the database's clock; what is born is due at once by it."""
    for change in life.changes:
        most_ms = change.doubt_ms + ROUNDING_MS
        if change.grants and change.until is not None:
            life.require(abs(change.until - change.at_ms - LEASE_MS) <= most_ms, "a lease of another length")
        if change.state_before is None and change.trigger == "schedule" and change.due_ms is not None:
            wrong_ms = change.due_ms - max(change.at_ms, life.deliver_ms or 0)
            life.require(abs(wrong_ms) <= most_ms, "born with a wrong time")


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


def results_belong_to_their_lease(life: Life) -> None:
    """Every result was really sent, by the holder of the very lease under which it was written."""
    for change, granted, attempt, sent in _results(life):
        life.require(change.token_before is not None and granted is not None, "a result without a lease")
        life.require(
            sent is not None, f"attempt {attempt.number} was not sent under its lease: a stale result"
        )


def _results(life: Life) -> Iterator[tuple[Change, Change | None, Attempt, Sent | None]]:
    """Each result, the lease under which it was written, its attempt, and what its receiver saw of that."""
    granted: Change | None = None
    attempts = iter(life.attempts)
    for change in life.changes:
        if change.records:
            attempt = next(attempts)
            found = [
                sent
                for sent in life.sent
                if granted is not None
                and granted.order < sent.order < change.order
                and sent.sender == change.writer == granted.writer
                and sent.answer == str(attempt.error or attempt.status_code)
                and seconds(change.at_ms) >= sent.answered_s - 0.001
            ]
            # More than one where a hand has revoked a lease under which something was about to be sent.
            nearest = min(found, key=lambda sent: abs(sent.at_ms - attempt.started_ms), default=None)
            yield change, granted, attempt, nearest
        if change.grants:
            granted = change


def times_are_the_servers(life: Life) -> None:
    """What is signed and what the history says was sent when it says, by the database's clock."""
    for sent in life.sent:
        stamp_ms = int(sent.headers[TIMESTAMP_HEADER]) * 1000
        behind_ms = sent.at_ms - stamp_ms  # whole seconds are signed
        most_ms = sent.doubt_ms + ROUNDING_MS
        life.require(-most_ms <= behind_ms <= 1000 + most_ms, f"signed with a time {behind_ms} ms ago")
    for _, _, attempt, seen in _results(life):
        assert seen is not None
        wrong_ms = attempt.started_ms - seen.at_ms
        life.require(abs(wrong_ms) <= seen.doubt_ms + ROUNDING_MS, f"an attempt is {wrong_ms} ms off")


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
        ended = life.state == CANCELLED or any(change.expires for change in life.changes)
        intervened = ended or notes.state_before(life.url, 1 << 62) != "enabled"
        life.require(again or recorded_later or intervened, "an answer is nowhere")


def waits_follow_the_schedule(life: Life) -> None:
    """From the answer to the time when the next attempt is due it is the scheduled wait, a tenth more or less."""
    for change, _, attempt, sent in _results(life):
        if change.state != PENDING:
            continue
        assert change.due_ms is not None
        assert sent is not None
        wait_ms = change.due_ms - (sent.at_ms + attempt.duration_ms)
        delay_ms = life.schedule.delays_ms[change.step - 1]
        slack_ms = 2 * ROUNDING_MS + sent.doubt_ms + attempt.duration_ms * 2 * DRIFT
        life.require(0.9 * delay_ms - slack_ms <= wait_ms, f"tried again after {wait_ms} ms, too early")
        asked = any(abs(wait_ms - asked_ms) <= slack_ms for asked_ms in ASKED_MS)
        life.require(wait_ms <= 1.1 * delay_ms + slack_ms or asked, f"waited {wait_ms} ms")
        assert wait_ms <= MAX_RETRY_AFTER_MS


def it_is_claimed_on_time(notes: Notes, life: Life) -> None:
    """What is due while all is well is claimed soon, by whoever hears of it: nobody waits for a poll. Only where lanes
    hold something back or are slow, or gave back what they held, it may take until the next one."""
    for before, change in pairwise(life.changes):
        if not change.grants or before.state != PENDING or before.due_ms is None:
            continue
        due_s, claimed_s = max(_ready_s(before), seconds(before.at_ms)), seconds(change.at_ms)
        for switch in notes.switches[life.url]:
            if switch.state == "enabled":
                due_s = max(due_s, min(seconds(switch.at_ms), claimed_s))
        if claimed_s - due_s <= SOON_S or not notes.was_well(None, due_s, claimed_s):
            continue
        held_s = _held_until_s(notes, life.url, claimed_s)
        due_s = max(due_s, min(held_s, claimed_s))
        if line_of(notes, life) is not None:
            blocks = notes.simulation.in_line[life.url].on_exhausted == "block"
            if blocks or life.url in notes.simulation.new_orders:
                continue  # perhaps until somebody decides
            due_s = max(due_s, min(through_s(notes, life, change.order), claimed_s))
        turn_s = max(due_s, _turn_s(notes, life.url, _ready_s(before), change.order))
        if has_few_slots(notes):
            turn_s = max(turn_s, min(_landed_s(notes, change.writer, claimed_s), claimed_s))
        if life.url in notes.simulation.batches or life.url in notes.simulation.limited:
            turn_s += LEASE_MS / 1000  # the lane may be that of somebody who died
        if life.url in notes.simulation.limited:
            turn_s += LONGEST_PROBE_S
        waits = _waits_in_a_lane(notes, life.url, before) or _is_slow(notes, life.url, claimed_s)
        most_s = SLOW_POLL_S if waits else SOON_S
        life.require(claimed_s - turn_s <= most_s, f"due at {turn_s} s, claimed at {claimed_s} s")


def _waits_in_a_lane(notes: Notes, url: str, before: Change) -> bool:
    """Whether an endpoint has limits, an order or batches, or what is due there had been claimed and was given back."""
    world = notes.simulation
    given_back = before.token is None and before.token_before is not None and not before.records
    return given_back or any(url in some for some in (world.limited, world.in_line, world.batches))


def _is_slow(notes: Notes, url: str, by_s: float) -> bool:
    """Whether an answer has slowed the lane down: then it may take one at a time, as slots become free. So it is where
    a process has met so many failures that its light circuit is open."""
    answers = [one for one in notes.simulation.sent if one.url == url and one.answered_s <= by_s]
    if any(one.answer in SLOWING for one in answers):
        return True
    senders = {one.sender for one in answers}
    return any(is_down([one for one in answers if one.sender == sender], by_s) for sender in senders)


def _landed_s(notes: Notes, process: str, by_s: float) -> float:
    """When the last attempt of a process before that time landed, and its slot was free."""
    return max(
        (
            one.answered_s
            for one in notes.simulation.sent
            if one.sender == process and one.answered_s <= by_s + _ROUNDED_S
        ),
        default=0.0,
    )


def _held_until_s(notes: Notes, url: str, by_s: float) -> float:
    """Until when receivers that were overloaded may have had the lane held back."""
    longest_s = (max(ASKED_MS) + BEHIND_MS) / 1000
    answers = [
        one.answered_s for one in notes.simulation.sent if one.url == url and one.answer in {"429", "503"}
    ]
    return max((at_s + longest_s for at_s in answers if at_s <= by_s), default=0.0)


def _ready_s(change: Change) -> float:
    return seconds(max(change.due_ms or 0, change.until or 0))


def _turn_s(notes: Notes, url: str, ready_s: float, order: int) -> float:
    """When the last of those was claimed that went first there: where slots are few, a backlog takes its time."""
    return max(
        (
            seconds(change.at_ms)
            for life in notes.lives.values()
            if life.url == url
            for before, change in pairwise(life.changes)
            if change.grants and change.order < order and _ready_s(before) <= ready_s
        ),
        default=0.0,
    )
