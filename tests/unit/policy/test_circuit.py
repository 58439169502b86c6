"""The circuit breaker, by numbers: after what exactly it opens, and when exactly its probes come."""

import pytest

from tellwire.model.lane_settings import CircuitSettings
from tellwire.policy.circuit import CLOSED, LIGHT, Circuit


def after(outcomes: str, settings: CircuitSettings) -> Circuit:
    """The circuit after these outcomes, one a millisecond: ``x`` is a failure, ``.`` a success."""
    circuit = CLOSED
    for at_ms, outcome in enumerate(outcomes, 1):
        circuit = circuit.after(outcome == ".", at_ms, settings)
    return circuit


@pytest.mark.parametrize("ratio", [None, 1])
@pytest.mark.parametrize(
    ("outcomes", "opens"), [("xx", False), ("xxx", True), ("xx.xx", False), ("xx.xx.xxx", True)]
)
def test_it_opens_after_failures_in_a_row(ratio: float | None, outcomes: str, opens: bool) -> None:
    """A success in between begins the count anew, also where a share is looked at besides."""
    assert after(outcomes, CircuitSettings(failures=3, ratio=ratio, last=100)).is_open == opens


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("xxx", False),  # so few attempts are no share of the last four
        ("x.x.", True),  # half of them is enough
        ("x...", False),
        ("....xx", True),
        ("xx...", True),  # at the fourth: what is open stays so until a success
        ("x....x.", False),  # what is longer ago than the last four does not count
    ],
)
def test_it_opens_when_so_large_a_share_of_the_last_failed(outcomes: str, opens: bool) -> None:
    """Exactly that share counts, of as many attempts as are to be looked at."""
    settings = CircuitSettings(failures=1_000, ratio=0.5, last=4)
    opened = any(after(outcomes[:count], settings).is_open for count in range(1, len(outcomes) + 1))
    assert opened == opens


def pauses(settings: CircuitSettings, probes: int) -> list[int]:
    """How long each probe comes after the one before, in milliseconds, the first after the opening."""
    circuit = after("x" * settings.failures, settings)
    assert circuit.opened_ms is not None
    opened_ms = before_ms = circuit.opened_ms
    found: list[int] = []
    for _ in range(probes):
        found.append(circuit.probe_ms - before_ms)
        before_ms = circuit.probe_ms
        circuit = circuit.after(False, before_ms, settings)
        assert circuit.opened_ms == opened_ms, "it is open since the first failure, not since the last probe"
    return found


@pytest.mark.parametrize(
    ("settings", "expected_s"),
    [
        (CircuitSettings(failures=1), [30, 60, 120, 240, 480, 600, 600]),
        (CircuitSettings(failures=1, probe_after_s=5, longest_s=12), [5, 10, 12, 12]),
        (CircuitSettings(failures=1, probe_after_s=5, longest_s=1), [5, 5, 5]),
        (LIGHT, [0.25, 0.5, 1, 2, 4, 5, 5]),
    ],
)
def test_each_probe_that_fails_has_the_next_come_after_twice_as_long(
    settings: CircuitSettings, expected_s: list[float]
) -> None:
    """Up to the longest pause, and never sooner than the first one."""
    assert pauses(settings, len(expected_s)) == [s * 1000 for s in expected_s]


def test_the_usual_numbers() -> None:
    """Ten failures in a row for an endpoint that asks for a breaker, fifty for one that does not."""
    assert not after("x" * 9, CircuitSettings()).is_open
    assert after("x" * 10, CircuitSettings()).is_open
    assert not after("x" * 49, LIGHT).is_open
    assert after("x" * 50, LIGHT).is_open


def test_who_mends_an_endpoint_begins_the_pauses_anew() -> None:
    """A probe comes at once; should that fail too, the next one comes as soon as a second one did."""
    settings = CircuitSettings(failures=1, probe_after_s=1)
    circuit = after("x", settings)
    for _ in range(5):
        circuit = circuit.after(False, circuit.probe_ms, settings)
    tried = circuit.tried_at(50_000)
    assert tried.probe_ms == 50_000
    assert tried.after(False, 50_000, settings).probe_ms == 50_000 + 2_000
