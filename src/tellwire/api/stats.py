"""Statistics to look at: what became of attempts and deliveries, by hour and day."""

from typing import Annotated

from fastapi import Query

from .caller import Who
from .hub import Hub
from .shapes.stats import StatsOutput, StatsQuery, TenantStatsQuery


async def get_endpoint_stats(tellwire: Hub, id: str, asked: Annotated[StatsQuery, Query()]) -> StatsOutput:
    """Get statistics of an endpoint

    Deliveries and attempts by outcome, success rate and latency, by hour or day: at most 750 pieces at once. What has
    been recorded is counted at once.
    """
    return StatsOutput.of(await tellwire.stats.endpoint(id, **dict(asked)))


async def get_stats(tellwire: Hub, caller: Who, asked: Annotated[TenantStatsQuery, Query()]) -> StatsOutput:
    """Get statistics of a tenant, or of all

    The same over all endpoints of a tenant, or of the whole server. A key that is bound to a tenant sees its tenant's.
    """
    tenant = caller.sees(asked.tenant)
    shown = StatsOutput.of(await tellwire.stats.all(**dict(asked) | {"tenant": tenant}))
    return shown.model_copy(update={"tenant": asked.tenant or tenant})
