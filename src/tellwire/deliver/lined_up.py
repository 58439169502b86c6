"""Lined up: deliveries that stand in line at an endpoint that gets batches, as they are claimed.

Each line goes on in the order of publishing, and a batch may carry parts of many lines, as they come. Batches with
parts of the same line follow one another: the next goes when all of the one before were received. So a batch that fails
holds up the lines that it carries, and those that wait in its chain for a moment, and no others.
"""

from collections.abc import Iterable
from itertools import pairwise

from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim

from .batch_request import size_of


def as_batches(runs: Iterable[list[Claim]], batch: BatchSettings) -> list[Claim]:
    """The first claim of the first batch of each chain, with all that go along; the next batch is its follower.

    Runs of different lines stand in different chains, unless they fill their batches together.
    """
    chains: list[list[Claim]] = []
    for run in runs:
        if not chains or len(chains[-1]) >= batch.max_events:
            chains.append([])
        chains[-1] += run
    return [_chained(_cut(sorted(chain, key=lambda claim: claim.delivery_id), batch)) for chain in chains]


def together(claims: list[Claim]) -> Claim:
    """The first claim of a batch, with all that go along."""
    first, *others = sorted(claims, key=lambda claim: claim.delivery_id)
    first.along = tuple(others)
    return first


def _cut(claims: list[Claim], batch: BatchSettings) -> list[list[Claim]]:
    """As many at a time as one request takes, of those that are at the same step of their schedule."""
    parts: list[list[Claim]] = []
    left_bytes = 0
    for claim in claims:
        size = size_of(claim, batch)
        full = not parts or len(parts[-1]) >= batch.max_events or size > left_bytes
        if full or claim.schedule_step != parts[-1][0].schedule_step:
            parts.append([])
            left_bytes = batch.max_bytes - 1
        parts[-1].append(claim)
        left_bytes -= size
    return parts


def _chained(parts: list[list[Claim]]) -> Claim:
    firsts = [together(part) for part in parts]
    for first, following in pairwise(firsts):
        first.follower = following
        for claim in (first, *first.along):
            claim.last = False
    return firsts[0]
