"""Statistics: what became of attempts and deliveries, by hour or day, of an endpoint, a tenant or the whole server."""

from datetime import datetime
from enum import StrEnum

import msgspec


class Span(StrEnum):
    """How long the pieces are that statistics are cut into; they begin at full hours and days of UTC."""

    HOUR = "hour"
    DAY = "day"

    @property
    def ms(self) -> int:
        """In milliseconds."""
        return 3_600_000 if self is Span.HOUR else 86_400_000


class Percentiles(msgspec.Struct, frozen=True):
    """Times in milliseconds that so many of a hundred did not exceed: never too low, at most an eighth too high."""

    p50: int
    p90: int
    p95: int
    p99: int


class Counts(msgspec.Struct, frozen=True):
    """What happened in a time.

    Attributes:
        succeeded, exhausted, cancelled: deliveries that ended so. One that was sent again and ended again counts again.
        success_rate: the share of ``succeeded`` in ``succeeded`` and ``exhausted``; None where both are 0.
        attempts_succeeded, attempts_failed: tries that began in it.
        attempt_ms: how long its tries took; None where there were none.
        delivery_ms: from the publishing of an event to the end of the try that succeeded.
    """

    succeeded: int
    exhausted: int
    cancelled: int
    success_rate: float | None
    attempts_succeeded: int
    attempts_failed: int
    attempt_ms: Percentiles | None
    delivery_ms: Percentiles | None


class Piece(Counts, frozen=True):
    """What happened in an hour or day, from ``start`` on."""

    start: datetime


class Stats(msgspec.Struct, frozen=True):
    """Statistics of a range of time.

    Attributes:
        tenant: of which tenant; None for the whole server.
        endpoint_id: of which endpoint; None for all of them.
        by: how long the pieces are.
        since, until: the range [since, until), in whole pieces.
        total: all pieces together.
        data: the pieces in which anything happened, oldest first.
    """

    tenant: str | None
    endpoint_id: str | None
    by: Span
    since: datetime
    until: datetime
    total: Counts
    data: list[Piece]
