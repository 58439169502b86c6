"""What an attempt that was judged does to its lane, and to what stands behind it in order."""

from typing import Any

import pytest

from tellwire.deliver.executor import _adapt
from tellwire.deliver.lane import Lane
from tellwire.deliver.recorder import Result
from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.claim import Claim
from tellwire.model.delivery import Move
from tellwire.model.endpoint import EndpointState
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.policy.outcome import Verdict
from tellwire.policy.subscribing import compile_subscriptions
from tellwire.store.roster import LiveEndpoint

ID = b"e" * 16
GOOD = Evidence(status_code=200, duration_ms=40)


@pytest.mark.parametrize(
    ("evidence", "slow_down", "allowed"),
    [
        (Evidence(status_code=503), True, 8),
        (Evidence(status_code=500), False, 16),
        (Evidence(error=AttemptError.TIMEOUT), False, 8),
        (Evidence(error=AttemptError.CONNECT), False, 16),
        (GOOD, False, 16),
    ],
)
def test_an_overloaded_receiver_gets_half(evidence: Evidence, slow_down: bool, allowed: int) -> None:
    """Also one that does not answer in time; other failures say nothing of that."""
    lane = Lane(ID, 16)
    _adapt(lane, evidence, slow_down)
    assert lane.limit.allowed == allowed


def test_successes_bring_a_slowed_lane_back() -> None:
    """Step by step, up to what it had."""
    lane = Lane(ID, 4)
    _adapt(lane, Evidence(status_code=429), True)
    seen = []
    for _ in range(8):
        _adapt(lane, GOOD, False)
        seen.append(lane.limit.allowed)
    assert seen == [2, 3, 3, 3, 4, 4, 4, 4]


def result(on_exhausted: str, **verdict: Any) -> Result:
    wants, settings = compile_subscriptions([]), EndpointSettings(order="endpoint", on_exhausted=on_exhausted)  # type: ignore[arg-type]  # one of its words
    endpoint = LiveEndpoint(
        ID, "ep", "default", "https://a.example", wants, EndpointState.ENABLED, {}, (), settings
    )
    claim = Claim(ID, ID, ID, "evt_1", "order.paid", b"{}", 1, 0, sequence="*")
    return Result(claim, endpoint, Evidence(status_code=500), Verdict(**verdict), 0, 0)


@pytest.mark.parametrize(
    ("on_exhausted", "verdict", "aside"),
    [
        ("continue", {"move": Move.EXHAUST}, True),
        ("block", {"move": Move.EXHAUST}, False),
        ("block", {"move": Move.EXHAUST, "expired": True}, True),
        ("continue", {"move": Move.RETRY_LATER, "retry_in_ms": 5}, False),
        ("continue", {"move": Move.SUCCEED}, False),
    ],
)
def test_what_steps_aside(on_exhausted: str, verdict: dict[str, Any], aside: bool) -> None:
    """What is exhausted, where the endpoint says so; and what is not worth waiting for, whatever it says."""
    assert result(on_exhausted, **verdict).steps_aside == aside
