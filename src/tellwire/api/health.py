"""Is the process alive, and can it take events? For load balancers and orchestrators; open to everybody."""

import logging
from typing import Final

from tellwire.errors import ClosedError, StoreError

from .hub import Hub
from .problems import RETRY_AFTER_S, UNAVAILABLE, RefusedError
from .shapes.health import HealthOutput

_log: Final = logging.getLogger(__name__)


async def get_health() -> HealthOutput:
    """Is it alive?

    The process answers; nothing else is looked at.
    """
    return HealthOutput(status="ok")


async def get_readiness(tellwire: Hub) -> HealthOutput:
    """Is it ready?

    The database, migrated, can be written now.
    """
    try:
        await tellwire.ready()
    except (StoreError, ClosedError) as error:
        _log.warning("not ready: %s", error)
        headers = {"retry-after": str(RETRY_AFTER_S)}
        raise RefusedError(UNAVAILABLE, "the database cannot be written right now", headers) from None
    return HealthOutput(status="ready")
