"""Rejoining: what was sent in one batch is claimed together, so that it is sent again as it was.

Part of a claim transaction, for endpoints that get batches. What cannot be one request any more, because the setting
has been made smaller since, is gathered like something new.
"""

from collections.abc import Callable

from sqlalchemy import Connection

from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.store import batches
from tellwire.store.roster import LiveEndpoint
from tellwire.store.rows import ClaimedRow

from .batch_request import size_of


def rejoined(
    connection: Connection,
    endpoint: LiveEndpoint,
    claims: list[Claim],
    claim_of: Callable[[ClaimedRow], Claim],
    *,
    now_ms: int,
    until_ms: int,
    token: int,
) -> tuple[list[Claim], int]:
    """``claims`` with batches that were sent before put together, and completed by what else is due of them.

    Also how many of those others are rescued from somebody whose lease has ended.
    """
    batch = endpoint.settings.batch
    batch_of = batches.batch_ids(connection, [claim.delivery_id for claim in claims])
    if batch is None or not batch_of:
        return claims, 0
    for claim in claims:
        claim.batch_id = batch_of.get(claim.delivery_id)
    rest = batches.claim_rest(
        connection, endpoint.id, set(batch_of.values()), now_ms=now_ms, until_ms=until_ms, token=token
    )
    for batch_id, row in rest:
        claim = claim_of(row)
        claim.batch_id = batch_id
        claims.append(claim)
    return _together(claims, batch), sum(row.rescued for _, row in rest)


def _together(claims: list[Claim], batch: BatchSettings) -> list[Claim]:
    found: dict[bytes, list[Claim]] = {}
    alone: list[Claim] = []
    for claim in claims:
        if claim.batch_id is None:
            alone.append(claim)
        else:
            found.setdefault(claim.batch_id, []).append(claim)
    whole: list[Claim] = []
    for first, *others in found.values():
        members = [first, *others]
        if fits(members, batch):
            first.along = tuple(others)
            whole.append(first)
        else:
            for claim in members:
                claim.batch_id = None
            alone += members
    return whole + alone


def fits(claims: list[Claim], batch: BatchSettings) -> bool:
    """Whether they may still be one request: no more than the setting allows, at one step of their schedule."""
    size_bytes = 1 + sum(size_of(claim, batch) for claim in claims)
    return (
        len(claims) <= batch.max_events
        and (size_bytes <= batch.max_bytes or len(claims) == 1)
        and len({claim.schedule_step for claim in claims}) == 1
    )
