"""Backoff stays within its bounds, and no header can do harm."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.clock import MAX_MS
from tellwire.errors import SettingsError
from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.delivery import Move
from tellwire.model.retry import MAX_DELAY_S, RetryPolicy
from tellwire.policy.outcome import judge
from tellwire.policy.retry import MAX_DELAY_MS, RetrySchedule, compile_policy, parse_schedule
from tellwire.policy.retry_after import MAX_RETRY_AFTER_MS, parse_retry_after

UNIT = st.floats(0, 1, exclude_max=True)
DELAYS = st.lists(st.integers(0, MAX_DELAY_MS), max_size=30).map(tuple)
NOW_MS = st.integers(0, MAX_MS)
HEADER = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"\A[0-9]+\Z"),
    st.from_regex(r"\A(Mon|Tue), [0-9]{2} (Feb|Nov|Xxx) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z"),
    st.from_regex(r"\A(Mon|Tues)day, [0-9]{2}-(Feb|Nov)-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z"),
    st.from_regex(r"\AMon (Feb|Nov) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}\Z"),
)
EVIDENCE = st.builds(
    Evidence,
    status_code=st.none() | st.integers(100, 999),
    error=st.none() | st.sampled_from(AttemptError),
    response_headers=st.lists(st.tuples(st.just("retry-after"), HEADER), max_size=2).map(tuple),
)


@given(DELAYS, UNIT, st.integers(1, 40))
def test_jitter_is_at_most_a_tenth(delays_ms: tuple[int, ...], unit: float, attempts_made: int) -> None:
    """Every wait is within 10 % of the scheduled one, and there are as many waits as delays."""
    wait_ms = RetrySchedule(delays_ms).delay_ms(attempts_made, unit)
    if attempts_made > len(delays_ms):
        assert wait_ms is None
    else:
        assert wait_ms is not None
        assert abs(wait_ms - delays_ms[attempts_made - 1]) <= delays_ms[attempts_made - 1] / 10 + 0.5


@given(HEADER, NOW_MS)
def test_retry_after_is_bounded(value: str, now_ms: int) -> None:
    """Whatever a receiver sends, the wait is between nothing and a day, or it makes no sense."""
    wait_ms = parse_retry_after(value, now_ms)
    assert wait_ms is None or 0 <= wait_ms <= MAX_RETRY_AFTER_MS


@given(DELAYS)
def test_schedules_are_read_as_written(delays_ms: tuple[int, ...]) -> None:
    """Writing a schedule in milliseconds and reading it gives the same schedule."""
    assert parse_schedule(",".join(f"{ms}ms" for ms in delays_ms)).delays_ms == delays_ms


@given(st.text(max_size=60))
def test_any_text_is_a_schedule_or_a_settings_error(text: str) -> None:
    """No text makes reading a schedule fail in another way."""
    try:
        assert len(parse_schedule(text).delays_ms) <= 30
    except SettingsError:
        pass


@given(EVIDENCE, DELAYS, UNIT, NOW_MS)
def test_every_delivery_ends(
    evidence: Evidence, delays_ms: tuple[int, ...], unit: float, now_ms: int
) -> None:
    """Judged again and again, a delivery makes at most one attempt more than there are delays."""
    schedule = RetrySchedule(delays_ms)
    for attempts_made in range(1, len(delays_ms) + 2):
        verdict = judge(
            evidence, attempts_made=attempts_made, schedule=schedule, now_ms=now_ms, random_unit=unit
        )
        assert (verdict.move is Move.SUCCEED) is evidence.succeeded
        assert (verdict.retry_in_ms is not None) is (verdict.move is Move.RETRY_LATER)
        if verdict.move is not Move.RETRY_LATER:
            return
        assert verdict.retry_in_ms is not None
        assert 0 <= verdict.retry_in_ms <= max(MAX_DELAY_MS * 1.1 + 1, MAX_RETRY_AFTER_MS)
    raise AssertionError("the schedule was used up and the delivery still waits")


POLICY = st.builds(
    RetryPolicy,
    first_s=st.floats(0.001, MAX_DELAY_S),
    factor=st.none() | st.floats(1, 100),
    cap_s=st.none() | st.floats(0.001, MAX_DELAY_S),
    attempts=st.none() | st.integers(1, 100),
    max_age_s=st.none() | st.integers(1, 5_184_000),
)


@given(POLICY)
def test_growing_delays_grow_and_stay_under_their_cap(policy: RetryPolicy) -> None:
    """No wait is shorter than the one before or longer than the cap, and there is one less than attempts."""
    delays_ms = compile_policy(policy).delays_ms
    assert delays_ms is not None
    assert len(delays_ms) == (policy.attempts or 10) - 1
    assert list(delays_ms) == sorted(delays_ms)
    assert all(0 <= delay_ms <= (policy.cap_s or 86_400) * 1_000 + 0.5 for delay_ms in delays_ms)


@given(EVIDENCE, DELAYS, UNIT, NOW_MS, st.integers(0, MAX_MS), st.integers(1, MAX_DELAY_MS))
def test_no_retry_comes_too_late(
    evidence: Evidence, delays_ms: tuple[int, ...], unit: float, now_ms: int, later_ms: int, age_ms: int
) -> None:
    """Whatever came back, a retry is due before the event expires and before the delivery is too old."""
    verdict = judge(
        evidence,
        attempts_made=1,
        schedule=RetrySchedule(delays_ms, age_ms),
        now_ms=now_ms,
        random_unit=unit,
        since_ms=now_ms - min(later_ms, now_ms),
        expires_ms=later_ms,
    )
    assert not verdict.expired or verdict.move is Move.EXHAUST
    if verdict.retry_in_ms is not None:
        assert now_ms + verdict.retry_in_ms < later_ms
        assert min(later_ms, now_ms) + verdict.retry_in_ms <= age_ms
