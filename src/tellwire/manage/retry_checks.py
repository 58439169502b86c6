"""Retry policies of an endpoint: what their types cannot say, checked before anything is stored."""

from typing import Final

from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.limits import Limits
from tellwire.model.retry import DEFAULT_CAP_S, RetryPolicy
from tellwire.policy.matching import check_patterns

from .faults import Faults

_GROWING: Final = ("factor", "cap_s", "attempts")


def check_retries(settings: EndpointSettings, faults: Faults) -> None:
    """Check ``retry`` and ``retry_by_type``; what is wrong goes into ``faults``."""
    if settings.retry is not None:
        check_policy(settings.retry, faults, "retry")
    for index, policy in enumerate(settings.retry_by_type):
        place = ("retry_by_type", index)
        for fault in check_patterns(policy.events, Limits()):
            faults.add(*place, "events", *fault.loc, msg=fault.msg)
        check_policy(policy, faults, *place)


def check_policy(policy: RetryPolicy, faults: Faults, *place: str | int) -> None:
    """Check one policy, which stands at ``place``."""
    if policy.delays_s is None and policy.first_s is None and policy.max_age_s is None:
        faults.add(*place, msg="says nothing: give delays_s, or first_s, or max_age_s")
        return
    if policy.delays_s is not None and policy.first_s is not None:
        faults.add(
            *place, "first_s", msg="goes without delays_s: give one of them, and null to take the other back"
        )
        return
    if policy.first_s is None:
        for name in _GROWING:
            if getattr(policy, name) is not None:
                faults.add(*place, name, msg="goes with first_s only")
        return
    cap_s = DEFAULT_CAP_S if policy.cap_s is None else policy.cap_s
    if cap_s < policy.first_s:
        faults.add(
            *place, "cap_s", msg=f"is {cap_s:g}: no wait can be shorter than first_s, {policy.first_s:g}"
        )
