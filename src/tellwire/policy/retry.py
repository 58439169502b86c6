"""When to try again: the schedule of retries, and whose it is.

Consulted by ``outcome`` after an attempt failed. Everything is whole milliseconds; the present and the random
number come in as arguments.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import SettingsError
from ..model.retry import DEFAULT_ATTEMPTS, DEFAULT_CAP_S, DEFAULT_FACTOR, RetryPolicy, TypedRetryPolicy
from .matching import Matcher, compile_patterns

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_UNITS: Final = {"ms": 1, "s": _SECOND, "m": _MINUTE, "h": _HOUR, "d": _DAY}

JITTER: Final = 0.1
"""A delay is up to a tenth shorter or longer, so that what failed together does not return together."""

MAX_DELAYS: Final = 30
MAX_DELAY_MS: Final = 30 * _DAY

_DELAY: Final = re.compile(r"([0-9]{1,10})(ms|s|m|h|d)")


class RetrySchedule(msgspec.Struct, frozen=True):
    """The waits between attempts: ``len(delays_ms)`` retries follow the first attempt.

    The default makes ten attempts over about three days (Standard Webhooks specification, "Deliverability and
    reliability"). No retry begins later than ``max_age_ms`` after the first attempt was due, where there is such a
    limit.
    """

    delays_ms: tuple[int, ...] = (
        5 * _SECOND,
        5 * _MINUTE,
        30 * _MINUTE,
        2 * _HOUR,
        5 * _HOUR,
        10 * _HOUR,
        14 * _HOUR,
        20 * _HOUR,
        24 * _HOUR,
    )
    max_age_ms: int | None = None

    def delay_ms(self, attempts_made: int, random_unit: float) -> int | None:
        """Milliseconds from the end of attempt ``attempts_made`` to the next; None where none is left.

        Args:
            attempts_made: attempts so far, the one that just failed included (1 after the first).
            random_unit: uniform in [0, 1); 0 is the shortest wait (-10 %), 0.5 the scheduled one.
        """
        if attempts_made > len(self.delays_ms):
            return None
        return round(self.delays_ms[max(attempts_made, 1) - 1] * (1 - JITTER + 2 * JITTER * random_unit))


class Rule(msgspec.Struct, frozen=True):
    """A compiled policy; None where it says nothing."""

    delays_ms: tuple[int, ...] | None = None
    max_age_ms: int | None = None

    def over(self, schedule: RetrySchedule) -> RetrySchedule:
        """``schedule`` with what this rule says in its place."""
        delays_ms = schedule.delays_ms if self.delays_ms is None else self.delays_ms
        return RetrySchedule(delays_ms, schedule.max_age_ms if self.max_age_ms is None else self.max_age_ms)


class Retries(msgspec.Struct, frozen=True, eq=False):
    """The retry policies of an endpoint, compiled by ``compile_retries``."""

    every: Rule
    by_type: tuple[tuple[Matcher, Rule], ...] = ()
    tenants: Rule = Rule()

    def schedule(self, type: str, default: RetrySchedule) -> RetrySchedule:
        """The schedule for events of ``type``; what no policy says is as in ``default``."""
        schedule = self.every.over(self.tenants.over(default))
        for matcher, rule in self.by_type:
            if matcher.matches(type):
                return rule.over(schedule)
        return schedule


def compile_retries(
    policy: RetryPolicy | None,
    by_type: Sequence[TypedRetryPolicy] = (),
    tenants: RetryPolicy | None = None,
) -> Retries | None:
    """Compile the policies of an endpoint, and its tenant's for what they do not say; None where there are none."""
    if policy is None and not by_type and tenants is None:
        return None
    typed = ((compile_patterns(one.events), compile_policy(one)) for one in by_type)
    return Retries(
        Rule() if policy is None else compile_policy(policy),
        tuple(typed),
        Rule() if tenants is None else compile_policy(tenants),
    )


def compile_policy(policy: RetryPolicy) -> Rule:
    """The delays of a policy one by one, to the millisecond."""
    max_age_ms = None if policy.max_age_s is None else policy.max_age_s * _SECOND
    delays_s = policy.delays_s
    if delays_s is None and policy.first_s is not None:
        attempts = DEFAULT_ATTEMPTS if policy.attempts is None else policy.attempts
        delays_s = _growing(policy, attempts - 1)
    if delays_s is None:
        return Rule(None, max_age_ms)
    return Rule(tuple(round(delay_s * _SECOND) for delay_s in delays_s), max_age_ms)


def _growing(policy: RetryPolicy, count: int) -> tuple[float, ...]:
    assert policy.first_s is not None  # noqa: S101 - narrows the type
    factor = DEFAULT_FACTOR if policy.factor is None else policy.factor
    cap_s = DEFAULT_CAP_S if policy.cap_s is None else policy.cap_s
    delays_s: list[float] = []
    delay_s = policy.first_s
    for _ in range(count):
        delay_s = min(delay_s, cap_s)
        delays_s.append(delay_s)
        delay_s *= factor
    return tuple(delays_s)


def parse_schedule(text: str) -> RetrySchedule:
    """Read ``5s,5m,30m``: whole numbers with ``ms``, ``s``, ``m``, ``h`` or ``d``; empty means no retries.

    Raises:
        SettingsError: a delay is malformed or longer than 30 days, or there are more than 30 of them.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(parts) > MAX_DELAYS:
        raise SettingsError(f"TELLWIRE_RETRY_SCHEDULE has {len(parts)} delays; give at most {MAX_DELAYS}")
    return RetrySchedule(tuple(_parse_delay(part) for part in parts))


def _parse_delay(part: str) -> int:
    form = _DELAY.fullmatch(part)
    if form is None:
        raise SettingsError(
            f"TELLWIRE_RETRY_SCHEDULE: {part[:40]!r} is no delay; write whole numbers with ms, s, m, h or d, "
            "separated by commas, such as 5s,5m,30m"
        )
    delay_ms = int(form[1]) * _UNITS[form[2]]
    if delay_ms > MAX_DELAY_MS:
        raise SettingsError(f"TELLWIRE_RETRY_SCHEDULE: {part} is too long; a delay is at most 30d")
    return delay_ms
