"""The way through the sequences of an endpoint, and what comes into them while a transaction is under way."""

from types import SimpleNamespace
from typing import Any

import pytest

from tellwire.deliver.sequences import _HEADS_PER_LOOK, Look, Pass, Sequences
from tellwire.store.rows import Head

from .test_lanes import endpoint

NOW = 1_700_000_000_000
WAITS_MS = 60_000
ENDPOINT = endpoint(1)


class Statements:
    """A store whose heads all wait; something may come into their sequences while they are being read."""

    def __init__(self, heads: int, *, comes: bool) -> None:
        self.sequences = Sequences(SimpleNamespace(in_order=self))
        self.comes = comes
        self._heads = [
            Head(f"={number:05}", number.to_bytes(16), NOW + WAITS_MS, 1, None) for number in range(heads)
        ]

    def heads(self, _connection: object, endpoint_id: bytes, *, after: str, most: int) -> list[Head]:
        if self.comes:
            self.sequences.news(endpoint_id)
        return [head for head in self._heads if head.sequence > after][:most]

    def look(self) -> Look:
        """One look of a transaction of its own."""
        nothing: Any = None
        one = Pass(self.sequences, now_ms=NOW, until_ms=NOW + WAITS_MS, token=1)
        return one.claim(nothing, ENDPOINT, nothing, 100)


@pytest.mark.parametrize(("comes", "ready_ms"), [(False, NOW + WAITS_MS), (True, NOW)])
@pytest.mark.parametrize("heads", [1, _HEADS_PER_LOOK - 1])
def test_what_comes_during_a_look_is_looked_for(heads: int, comes: bool, ready_ms: int) -> None:
    """Whoever publishes on another connection may be done after the heads were read and before the look is over."""
    store = Statements(heads, comes=comes)
    assert store.look().ready_ms == ready_ms
    assert not store.sequences.scans


@pytest.mark.parametrize("when", ["first", "last", "never"])
def test_what_comes_during_one_of_several_looks_is_looked_for(when: str) -> None:
    """It may have come into a sequence that was seen: the next way through begins at once when this one has ended."""
    store = Statements(_HEADS_PER_LOOK + 50, comes=when == "first")
    assert store.look().ready_ms == NOW
    assert list(store.sequences.scans) == [ENDPOINT.id]
    store.comes = when == "last"
    assert store.look().ready_ms == (NOW + WAITS_MS if when == "never" else NOW)
    assert not store.sequences.scans
