"""What people ask for, judged: what is off or cancelled is not sent, and what is signed, with the secrets in force."""

from itertools import pairwise

from tellwire.ids import DELIVERY, encode
from tellwire.model.delivery import State
from tellwire.signing.secret import parse_secret
from tellwire.signing.standard import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from tellwire.store.tables import STATE_CODES

from .lines import TAKES_EFFECT_S
from .notes import Life, Notes
from .observer import seconds

_CANCELLED = STATE_CODES[State.CANCELLED]


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


def what_is_cancelled_is_not_sent(notes: Notes, life: Life) -> None:
    """A process that has told that a delivery is cancelled sends it no more, also where it held it in memory; but for
    what it has claimed since the cancel, which a replay may have brought, once a claim."""
    id = encode(DELIVERY, life.id)
    for hand in notes.simulation.hands:
        if hand.delivery != id or hand.told is None:
            continue
        ends = [one.order for one in life.changes if one.state == _CANCELLED and one.order < hand.told]
        since = max(ends, default=hand.told)
        free = sum(one.grants and one.writer == hand.of and one.order > since for one in life.changes)
        sends = sum(one.sender == hand.of and one.order > hand.told for one in life.sent)
        life.require(sends <= free, f"{hand.of} sent what it had cancelled at {hand.at_s} s")
        notes.simulation.happened["cancelled"] += 1
        notes.simulation.happened["cancelled and brought again"] += free > 0


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
        expected = sign([parse_secret(before[-1].secret)], sent.headers[ID_HEADER], stamp, sent.body)
        life.require(expected in sent.headers[SIGNATURE_HEADER].split(), "signed with an old secret alone")
