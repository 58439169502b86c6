"""Statistics: of which time, and what is shown."""

from pydantic import Field

from tellwire.model.stats import Span

from .given import GivenTime, Query, Text
from .shown import Output, ShownTime


class StatsQuery(Query):
    """Which statistics."""

    by: Span = Field(
        default=Span.HOUR, description="How long the pieces are; they begin at full hours or days of UTC."
    )
    since: GivenTime | None = Field(
        default=None, description="From the piece that this lies in; 24 hours or 30 days of it if not given."
    )
    until: GivenTime | None = Field(
        default=None, description="To the piece that this ends; to now if not given."
    )


class TenantStatsQuery(StatsQuery):
    """Which statistics of several endpoints."""

    tenant: Text | None = Field(default=None, description="Of this tenant; of the whole server if not given.")


class PercentilesOutput(Output):
    """Milliseconds that so many of a hundred did not exceed: exact up to 16, above never too low and at most 12.5 % too
    high."""

    p50: int
    p90: int
    p95: int
    p99: int


class CountsOutput(Output):
    """What happened in a time."""

    succeeded: int = Field(description="Deliveries that ended so; one that was sent again counts again.")
    exhausted: int
    cancelled: int
    success_rate: float | None = Field(
        description="`succeeded` of `succeeded` and `exhausted`, from 0 to 1; null where both are 0."
    )
    attempts_succeeded: int = Field(description="Attempts that began in this time.")
    attempts_failed: int
    attempt_ms: PercentilesOutput | None = Field(description="How long attempts took.")
    delivery_ms: PercentilesOutput | None = Field(
        description="From the publishing of the event to the end of the attempt that succeeded."
    )


class PieceOutput(CountsOutput):
    """What happened in an hour or a day."""

    start: ShownTime


class StatsOutput(Output):
    """Statistics of a range of time. Hours or days in which nothing happened are left out of `data`."""

    tenant: str | None = Field(description="Null for the whole server.")
    endpoint_id: str | None = Field(description="Null for all endpoints, deleted ones among them.")
    by: Span
    since: ShownTime
    until: ShownTime
    total: CountsOutput
    data: list[PieceOutput]
