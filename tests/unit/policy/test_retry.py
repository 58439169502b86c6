"""The retry schedule and ``Retry-After``."""

import pytest

from tellwire.errors import SettingsError
from tellwire.model.retry import RetryPolicy, TypedRetryPolicy
from tellwire.policy.retry import RetrySchedule, compile_retries, parse_schedule

HOUR = 3_600_000
SERVER = RetrySchedule((2_000, 4_000))


def schedule_of(policy: RetryPolicy) -> RetrySchedule:
    retries = compile_retries(policy)
    assert retries is not None
    return retries.schedule("order.paid", SERVER)


def test_the_default_makes_ten_attempts_over_three_days() -> None:
    """Nine delays follow the first attempt and add up to a little more than three days."""
    schedule = RetrySchedule()
    assert len(schedule.delays_ms) == 9
    assert schedule == parse_schedule("5s,5m,30m,2h,5h,10h,14h,20h,24h")
    assert 3 * 24 * HOUR < sum(schedule.delays_ms) < 4 * 24 * HOUR


def test_delays_follow_the_schedule_with_jitter_and_end() -> None:
    """The n-th failure waits the n-th delay, 10 % more or less; after the last delay there is none."""
    schedule = parse_schedule("10s,1m")
    assert schedule.delay_ms(1, 0.0) == 9_000
    assert schedule.delay_ms(1, 0.5) == 10_000
    assert schedule.delay_ms(1, 0.999999999) == 11_000
    assert schedule.delay_ms(2, 0.5) == 60_000
    assert schedule.delay_ms(3, 0.5) is None
    assert schedule.delay_ms(30_000, 0.5) is None


def test_schedules_are_read_in_every_unit() -> None:
    """Milliseconds to days, with or without spaces; an empty text means no retries."""
    assert parse_schedule("250ms, 2s,3m ,4h,1d").delays_ms == (250, 2_000, 180_000, 4 * HOUR, 24 * HOUR)
    assert parse_schedule("").delays_ms == ()
    assert parse_schedule("  ").delay_ms(1, 0.5) is None
    assert len(parse_schedule(",".join(["30d"] * 30)).delays_ms) == 30


@pytest.mark.parametrize(
    "text", ["5", "5 s", "s", "-5s", "5s,", ",", "1.5s", "5S", "31d", "99999999999s", "\u0665s", "5s 5m"]
)
def test_a_bad_schedule_names_the_setting(text: str) -> None:
    """A malformed or too long delay is refused with the name of the setting."""
    with pytest.raises(SettingsError, match="TELLWIRE_RETRY_SCHEDULE"):
        parse_schedule(text)


def test_a_schedule_has_an_end() -> None:
    """More than thirty delays are refused."""
    with pytest.raises(SettingsError, match="31 delays"):
        parse_schedule(",".join(["1s"] * 31))


def test_a_policy_lists_its_delays() -> None:
    """Seconds become milliseconds, in their order; an empty list means a single attempt."""
    assert schedule_of(RetryPolicy(delays_s=(0.25, 5, 300))).delays_ms == (250, 5_000, 300_000)
    assert schedule_of(RetryPolicy(delays_s=())).delay_ms(1, 0.5) is None


def test_a_policy_grows_its_delays_up_to_a_cap() -> None:
    """Each wait is so many times the one before; attempts count the first one too."""
    policy = RetryPolicy(first_s=10, factor=3, cap_s=100, attempts=6)
    assert schedule_of(policy).delays_ms == (10_000, 30_000, 90_000, 100_000, 100_000)
    assert schedule_of(RetryPolicy(first_s=10, attempts=1)).delays_ms == ()
    by_default = schedule_of(RetryPolicy(first_s=1_000)).delays_ms
    assert by_default == tuple(min(1_000_000 * 2**n, 24 * HOUR) for n in range(9))


def test_what_a_policy_leaves_out_is_as_it_was() -> None:
    """A maximum age alone keeps the server's delays; a policy for a type keeps the endpoint's."""
    assert compile_retries(None) is None
    aged = schedule_of(RetryPolicy(max_age_s=60))
    assert aged == RetrySchedule(SERVER.delays_ms, 60_000)
    by_type = [
        TypedRetryPolicy(events=("order.paid",), delays_s=(1,)),
        TypedRetryPolicy(events=("order.*",), max_age_s=5),
    ]
    retries = compile_retries(RetryPolicy(delays_s=(7,), max_age_s=60), by_type)
    assert retries is not None
    assert retries.schedule("order.paid", SERVER) == RetrySchedule((1_000,), 60_000)
    assert retries.schedule("order.sent", SERVER) == RetrySchedule((7_000,), 5_000)
    assert retries.schedule("user.made", SERVER) == RetrySchedule((7_000,), 60_000)


def test_policies_for_types_need_none_for_the_rest() -> None:
    """Other types then go by the server's schedule."""
    retries = compile_retries(None, [TypedRetryPolicy(events=("order.*",), delays_s=(1,))])
    assert retries is not None
    assert retries.schedule("order.paid", SERVER) == RetrySchedule((1_000,))
    assert retries.schedule("user.made", SERVER).delays_ms == SERVER.delays_ms
