"""Statistics to look at: what became of attempts and deliveries, by hour and day."""

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, to_datetime
from tellwire.errors import InvalidInputError
from tellwire.ids import ENDPOINT, decode
from tellwire.model.stats import Counts, Percentiles, Piece, Span, Stats
from tellwire.model.tenant import OPERATIONAL_TENANT, is_tenant_id
from tellwire.policy.histogram import Histogram, percentiles
from tellwire.store import endpoints, rollups
from tellwire.store.store import Store
from tellwire.store.tallies import Tally, total

from .asked import asked_ms

MOST_PIECES: Final = 750
"""A month of hours, or two years of days."""
_WANTED: Final = (50, 90, 95, 99)
_IF_NOT_ASKED: Final = {Span.HOUR: 24, Span.DAY: 30}


class Statistics:
    """Read what is counted."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def endpoint(
        self,
        id: str,
        *,
        by: Span | str = Span.HOUR,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Stats:
        """Of one endpoint.

        Args:
            id: of the endpoint.
            by: in pieces of an hour or a day.
            since, until: the pieces from the one that holds ``since`` to the one that holds the last instant before
                ``until``; to now, and 24 hours or 30 days of it, if not given.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidInputError: ``by`` is something else, a time has no zone, the range is empty or has more than 750
                pieces.
        """
        by = _span(by)
        since_ms, until_ms = self._range(by, since, until)
        raw = decode(ENDPOINT, id) or b""

        def read(connection: Connection) -> tuple[str, list[Tally]]:
            tenant = endpoints.tenant_of(connection, id)
            return tenant, rollups.read(
                connection, tenant=tenant, endpoint_id=raw, span=by, since_ms=since_ms, until_ms=until_ms
            )

        tenant, tallies = await self._store.read(read)
        return _stats(tenant, id, by, since_ms, until_ms, tallies)

    async def all(
        self,
        *,
        tenant: str | None = None,
        by: Span | str = Span.HOUR,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Stats:
        """Of all endpoints of a tenant, or of the whole server. Deleted endpoints count. Else as ``endpoint``."""
        by = _span(by)
        since_ms, until_ms = self._range(by, since, until)
        whose = rollups.EVERYBODY if tenant is None else tenant
        if tenant not in (None, OPERATIONAL_TENANT) and not is_tenant_id(tenant):
            return _stats(tenant, None, by, since_ms, until_ms, [])
        tallies = await self._store.read(
            lambda connection: rollups.read(
                connection,
                tenant=whose,
                endpoint_id=rollups.ALL_ENDPOINTS,
                span=by,
                since_ms=since_ms,
                until_ms=until_ms,
            )
        )
        return _stats(tenant, None, by, since_ms, until_ms, tallies)

    def _range(self, by: Span, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """The range that is asked for, in whole pieces."""
        until_ms = asked_ms("until", until)
        end_ms = self._clock.now_ms() + 1 if until_ms is None else until_ms
        end_ms += -end_ms % by.ms
        since_ms = asked_ms("since", since)
        start_ms = end_ms - _IF_NOT_ASKED[by] * by.ms if since_ms is None else since_ms - since_ms % by.ms
        if start_ms >= end_ms:
            raise InvalidInputError.at("since", msg="must lie before until, and not ahead")
        pieces = (end_ms - start_ms) // by.ms
        if pieces > MOST_PIECES:
            raise InvalidInputError.at(
                "since", msg=f"the range has {pieces} {by}s; ask for at most {MOST_PIECES} at once"
            )
        return start_ms, end_ms


def _span(by: str) -> Span:
    try:
        return Span(by)
    except ValueError:
        raise InvalidInputError.at("by", msg=f"must be {' or '.join(Span)}") from None


def _stats(
    tenant: str | None, endpoint_id: str | None, by: Span, since_ms: int, until_ms: int, tallies: list[Tally]
) -> Stats:
    return Stats(
        tenant=tenant,
        endpoint_id=endpoint_id,
        by=by,
        since=to_datetime(since_ms),
        until=to_datetime(until_ms),
        total=_counts(total(tallies)),
        data=[
            Piece(**msgspec.structs.asdict(_counts(tally)), start=to_datetime(tally.hour_ms))
            for tally in tallies
        ],
    )


def _counts(tally: Tally) -> Counts:
    ended = tally.succeeded + tally.exhausted
    return Counts(
        succeeded=tally.succeeded,
        exhausted=tally.exhausted,
        cancelled=tally.cancelled,
        success_rate=round(tally.succeeded / ended, 4) if ended else None,
        attempts_succeeded=tally.attempts_succeeded,
        attempts_failed=tally.attempts_failed,
        attempt_ms=_percentiles(tally.attempt_ms),
        delivery_ms=_percentiles(tally.delivery_ms),
    )


def _percentiles(histogram: Histogram) -> Percentiles | None:
    found = percentiles(histogram, _WANTED)
    return None if found is None else Percentiles(*found)
