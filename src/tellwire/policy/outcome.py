"""What an attempt's evidence means for its delivery: the step between send and record.

A pure function of evidence, schedule, time and chance. It decides; the recorder writes, and only where the
lease still holds.
"""

from typing import Final

import msgspec

from ..model.attempt import AttemptError, Evidence
from ..model.delivery import Move
from .retry import RetrySchedule
from .retry_after import parse_retry_after

_GONE: Final = 410
_OVERLOADED: Final = frozenset({429, 502, 503, 504})
MAX_HOLD_MS: Final = 3_600_000
"""A lane is not held back for longer than this at a time: then one attempt shows whether the receiver is back."""


class Verdict(msgspec.Struct, frozen=True):
    """What follows from an attempt.

    Attributes:
        move: SUCCEED, RETRY_LATER or EXHAUST.
        retry_in_ms: counted from the judgement; None unless ``move`` is RETRY_LATER.
        disable_endpoint: the receiver is gone for good (410) and wants nothing more.
        slow_down: the receiver is overloaded (429, 502, 503, 504); its lane should send less at a time.
        hold_ms: how long its lane should send nothing at all, by the ``Retry-After`` of an overloaded receiver.
        expired: the next attempt would have come when the event is not worth delivering any more.
    """

    move: Move
    retry_in_ms: int | None = None
    disable_endpoint: bool = False
    slow_down: bool = False
    hold_ms: int = 0
    expired: bool = False


_SUCCEEDED: Final = Verdict(Move.SUCCEED)
_HOPELESS: Final = Verdict(Move.EXHAUST)
_ENDPOINT_GONE: Final = Verdict(Move.EXHAUST, disable_endpoint=True)


def judge(
    evidence: Evidence,
    *,
    attempts_made: int,
    schedule: RetrySchedule,
    now_ms: int,
    random_unit: float,
    since_ms: int = 0,
    expires_ms: int | None = None,
) -> Verdict:
    """Decide what becomes of a delivery after an attempt.

    A whole answer of 2xx succeeds. A whole answer of 410 ends the delivery and disables the endpoint.
    Everything else (redirects too) is retried on the schedule, no earlier than the answer's ``Retry-After``
    says, until the schedule is used up, or the next attempt would come too late. A transform that failed ends the
    delivery too: it would fail again. Sources: Standard Webhooks
    specification, "Deliverability and reliability"; RFC 9110 section 10.2.3.

    Args:
        evidence: what the attempt showed; header names in lower case.
        attempts_made: attempts of this delivery so far, this one included.
        schedule: the delays between attempts.
        now_ms: the present, milliseconds since 1970.
        random_unit: uniform in [0, 1), for the jitter.
        since_ms: when the first attempt was due, for schedules that have a maximum age.
        expires_ms: from then on the event is not worth delivering; None: it always is.
    """
    if evidence.succeeded:
        return _SUCCEEDED
    if evidence.error is AttemptError.TRANSFORM:
        return _HOPELESS
    status = evidence.status_code
    if status == _GONE and evidence.error is None:
        return _ENDPOINT_GONE
    slow_down = status in _OVERLOADED
    asked_ms = _asked_wait_ms(evidence, now_ms)
    hold_ms = min(asked_ms, MAX_HOLD_MS) if slow_down else 0
    delay_ms = schedule.delay_ms(attempts_made, random_unit)
    if delay_ms is None:
        return Verdict(Move.EXHAUST, slow_down=slow_down, hold_ms=hold_ms)
    retry_in_ms = max(delay_ms, asked_ms)
    if expires_ms is not None and now_ms + retry_in_ms >= expires_ms:
        return Verdict(Move.EXHAUST, slow_down=slow_down, hold_ms=hold_ms, expired=True)
    if schedule.max_age_ms is not None and now_ms + retry_in_ms - since_ms > schedule.max_age_ms:
        return Verdict(Move.EXHAUST, slow_down=slow_down, hold_ms=hold_ms)
    return Verdict(Move.RETRY_LATER, retry_in_ms=retry_in_ms, slow_down=slow_down, hold_ms=hold_ms)


def _asked_wait_ms(evidence: Evidence, now_ms: int) -> int:
    for name, value in evidence.response_headers:
        if name == "retry-after":
            return parse_retry_after(value, now_ms) or 0
    return 0
