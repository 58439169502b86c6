"""What an attempt's evidence means."""

import pytest

from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.delivery import Move
from tellwire.policy.outcome import Verdict, judge
from tellwire.policy.retry import RetrySchedule

SCHEDULE = RetrySchedule((5_000, 60_000))
NOW_MS = 1_767_225_600_000  # Thu, 01 Jan 2026 00:00:00 GMT


def verdict(evidence: Evidence, attempts_made: int = 1) -> Verdict:
    return judge(evidence, attempts_made=attempts_made, schedule=SCHEDULE, now_ms=NOW_MS, random_unit=0.5)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_whole_2xx_succeeds(status: int) -> None:
    """Any 2xx succeeds, also on the last attempt."""
    assert verdict(Evidence(status_code=status)) == Verdict(Move.SUCCEED)
    assert verdict(Evidence(status_code=status), attempts_made=99) == Verdict(Move.SUCCEED)


@pytest.mark.parametrize("status", [100, 199, 300, 301, 304, 400, 401, 404, 409, 418, 500, 501, 599, 999])
def test_other_statuses_are_retried_on_the_schedule(status: int) -> None:
    """Redirects, refusals and server errors wait for the next attempt and leave the lane alone."""
    assert verdict(Evidence(status_code=status)) == Verdict(Move.RETRY_LATER, retry_in_ms=5_000)
    assert verdict(Evidence(status_code=status), attempts_made=2).retry_in_ms == 60_000


@pytest.mark.parametrize("error", [error for error in AttemptError if error is not AttemptError.TRANSFORM])
def test_errors_are_retried(error: AttemptError) -> None:
    """Every class of error is retried; a status that came with it does not make it a success."""
    assert verdict(Evidence(error=error)) == Verdict(Move.RETRY_LATER, retry_in_ms=5_000)
    assert verdict(Evidence(status_code=200, error=error)).move is Move.RETRY_LATER


def test_a_transform_that_failed_is_not_tried_again() -> None:
    """It would fail again on the same event; and the receiver has no part in it."""
    assert verdict(Evidence(error=AttemptError.TRANSFORM)) == Verdict(Move.EXHAUST)


def test_a_used_up_schedule_exhausts() -> None:
    """After the last delay the delivery is exhausted, whatever Retry-After asks for."""
    assert verdict(Evidence(status_code=500), attempts_made=3) == Verdict(Move.EXHAUST)
    busy = Evidence(status_code=503, response_headers=(("retry-after", "60"),))
    assert verdict(busy, attempts_made=3) == Verdict(Move.EXHAUST, slow_down=True, hold_ms=60_000)


def test_gone_disables_the_endpoint() -> None:
    """410 ends the delivery at once and disables the endpoint, but only as a whole answer."""
    assert verdict(Evidence(status_code=410)) == Verdict(Move.EXHAUST, disable_endpoint=True)
    broken = Evidence(status_code=410, error=AttemptError.BODY)
    assert verdict(broken) == Verdict(Move.RETRY_LATER, retry_in_ms=5_000)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_receiver_slows_its_lane(status: int) -> None:
    """The statuses of overload are retried and ask for less at a time."""
    assert verdict(Evidence(status_code=status)) == Verdict(
        Move.RETRY_LATER, retry_in_ms=5_000, slow_down=True
    )


@pytest.mark.parametrize("status", [301, 400, 429, 500, 503])
@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("30", 30_000),
        ("1", 5_000),
        ("999999999", 86_400_000),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60_000),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 5_000),
        ("nonsense", 5_000),
    ],
)
def test_retry_after_only_ever_postpones(status: int, value: str, expected_ms: int) -> None:
    """The retry comes no earlier than the header says and never earlier than the schedule."""
    evidence = Evidence(status_code=status, response_headers=(("server", "x"), ("retry-after", value)))
    assert verdict(evidence).retry_in_ms == expected_ms


def test_a_retry_that_would_come_after_expiry_is_not_made() -> None:
    """The delivery ends at once, and the verdict says why; one that comes in time is made."""
    failed = Evidence(status_code=500)
    late = judge(failed, attempts_made=1, schedule=SCHEDULE, now_ms=0, random_unit=0.5, expires_ms=5_000)
    assert late == Verdict(Move.EXHAUST, expired=True)
    in_time = judge(failed, attempts_made=1, schedule=SCHEDULE, now_ms=0, random_unit=0.5, expires_ms=5_001)
    assert in_time.retry_in_ms == 5_000
    done = Evidence(status_code=200)
    assert judge(
        done, attempts_made=1, schedule=SCHEDULE, now_ms=9, random_unit=0.5, expires_ms=1
    ) == Verdict(Move.SUCCEED)


def test_a_retry_beyond_the_maximum_age_is_not_made() -> None:
    """The age counts from when the first attempt was due."""
    aged = RetrySchedule((5_000, 60_000), max_age_ms=6_000)
    failed = Evidence(status_code=500)

    def moved(now_ms: int) -> Move:
        return judge(
            failed, attempts_made=1, schedule=aged, now_ms=now_ms, random_unit=0.5, since_ms=100
        ).move

    assert moved(1_100) is Move.RETRY_LATER
    assert moved(1_101) is Move.EXHAUST


@pytest.mark.parametrize(
    ("status", "value", "hold_ms"),
    [
        (429, "7", 7_000),
        (502, "7", 7_000),
        (503, "Thu, 01 Jan 2026 00:01:00 GMT", 60_000),
        (504, "7", 7_000),
        (503, "86400", 3_600_000),
        (503, "nonsense", 0),
        (500, "7", 0),
        (404, "7", 0),
    ],
)
def test_an_overloaded_receiver_holds_its_lane_back(status: int, value: str, hold_ms: int) -> None:
    """With Retry-After, for an hour at most; after other failures it is only this delivery that waits."""
    assert (
        verdict(Evidence(status_code=status, response_headers=(("retry-after", value),))).hold_ms == hold_ms
    )
