"""Judging: what an attempt means for a delivery, by the schedule that holds for it: between send and record."""

from tellwire.model.attempt import Evidence
from tellwire.model.claim import Claim
from tellwire.policy.outcome import Verdict, judge
from tellwire.policy.retry import RetrySchedule
from tellwire.store.roster import LiveEndpoint


def verdict_of(
    evidence: Evidence,
    claim: Claim,
    endpoint: LiveEndpoint,
    schedule: RetrySchedule,
    *,
    now_ms: int,
    random_unit: float,
) -> Verdict:
    """Judge by the endpoint's own policy; ``schedule`` is for where it has none. See ``policy.outcome.judge``."""
    if endpoint.retries is not None:
        schedule = endpoint.retries.schedule(claim.type, schedule)
    return judge(
        evidence,
        attempts_made=claim.schedule_step + 1,
        schedule=schedule,
        now_ms=now_ms,
        random_unit=random_unit,
        since_ms=0 if schedule.max_age_ms is None else claim.since_ms,
        expires_ms=claim.expires_ms,
    )
