"""The circuit breaker: opens for a reason, lets only probes through, closes on a success."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.model.lane_settings import CircuitSettings
from tellwire.policy.circuit import CLOSED, Circuit

SETTINGS = st.builds(
    CircuitSettings,
    failures=st.integers(1, 20),
    ratio=st.none() | st.floats(0.05, 1),
    last=st.integers(2, 30),
    probe_after_s=st.integers(1, 60),
    longest_s=st.integers(1, 600),
)
OUTCOMES = st.lists(st.booleans(), max_size=150)


@given(SETTINGS, OUTCOMES)
def test_it_opens_exactly_when_a_reference_does(settings: CircuitSettings, outcomes: list[bool]) -> None:
    """Counting the plain list of outcomes says the same as the circuit."""
    circuit = CLOSED
    for count in range(1, len(outcomes) + 1):
        circuit = circuit.after(outcomes[count - 1], count, settings)
        so_far = outcomes[:count]
        streak = next((n for n, ok in enumerate(reversed(so_far)) if ok), count)
        last = so_far[-settings.last :]
        by_streak = streak >= settings.failures
        full = len(last) == settings.last
        by_ratio = settings.ratio is not None and full and last.count(False) / len(last) >= settings.ratio
        assert circuit.is_open == (by_streak or by_ratio)
        if circuit.is_open:
            assert circuit.probe_ms == count + settings.probe_after_s * 1000
            return


@given(SETTINGS, st.integers(1, 40))
def test_failed_probes_come_ever_further_apart(settings: CircuitSettings, probes: int) -> None:
    """Twice as far each time, never further than the longest pause, nor closer than the first."""
    circuit = Circuit(opened_ms=0, probe_ms=int(settings.probe_after_s * 1000))
    pauses: list[int] = []
    for _ in range(probes):
        at_ms = circuit.probe_ms
        circuit = circuit.after(False, at_ms, settings)
        pauses.append(circuit.probe_ms - at_ms)
    assert pauses == sorted(pauses)
    assert min(pauses) >= settings.probe_after_s * 1000
    assert max(pauses) <= max(settings.longest_s, settings.probe_after_s) * 1000


@given(SETTINGS, st.integers(0, 100_000))
def test_only_a_probe_changes_an_open_circuit(settings: CircuitSettings, now_ms: int) -> None:
    """What was in the air when it opened and fails later says nothing new; any success closes it."""
    circuit = Circuit(opened_ms=0, probe_ms=50_000)
    assert (circuit.after(False, now_ms, settings) == circuit) == (now_ms < 50_000)
    assert circuit.after(True, now_ms, settings) == CLOSED
