"""Batches of what stands in line: everything goes once, in the order of its line, however runs and sizes are."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.lined_up import as_batches
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim

RUNS = st.lists(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(2, 700), st.booleans()), min_size=1, max_size=30),
    min_size=1,
    max_size=12,
)


def claim(line: int, number: int, size: int, step: int) -> Claim:
    id = number.to_bytes(16, "big")
    body = b"{" + b"x" * (size - 2) + b"}"
    return Claim(
        id, id, b"e" * 16, "evt_" + "0" * 26, "a", body, 1, 0, schedule_step=step, sequence=f"={line}"
    )


@given(runs=RUNS, most=st.integers(2, 20))
def test_every_line_goes_on_in_its_order(runs: list[list[tuple[int, int, bool]]], most: int) -> None:
    """In one chain of batches, none too large, each of one step of the schedule; only the last batch is ``last``."""
    made: list[list[Claim]] = []
    for line, run in enumerate(runs):
        ids = sorted({number * 16 + line: (size, tried) for number, size, tried in run}.items())
        # Only the head of a line may have been tried before.
        made.append([claim(line, id, size, tried and id == ids[0][0]) for id, (size, tried) in ids])
    batch = BatchSettings(max_events=most, max_bytes=2_048)
    chains = as_batches(made, batch)
    chain_of: dict[str | None, int] = {}
    sent: dict[str | None, list[bytes]] = defaultdict(list)
    for number, first in enumerate(chains):
        one: Claim | None = first
        while one is not None:
            members = [one, *one.along]
            assert len(members) <= most
            assert len(members) == 1 or sum(len(member.body) for member in members) <= batch.max_bytes
            assert len({member.schedule_step for member in members}) == 1
            assert all(member.last is (one.follower is None) for member in members)
            for member in members:
                assert chain_of.setdefault(member.sequence, number) == number
                sent[member.sequence].append(member.delivery_id)
            one = one.follower
    assert sent == {run[0].sequence: [one.delivery_id for one in run] for run in made}
