"""Deliveries to look at, retry and cancel."""

from typing import Annotated

from fastapi import Query

from .caller import Who
from .hub import Hub
from .shapes.deliveries import DeliveryOutput, DeliveryQuery, WholeDeliveryOutput
from .shapes.shown import ListOutput


async def list_deliveries(
    tellwire: Hub, caller: Who, asked: Annotated[DeliveryQuery, Query()]
) -> ListOutput[DeliveryOutput]:
    """List deliveries

    Newest first, without their attempts.
    """
    return ListOutput[DeliveryOutput].of(await tellwire.deliveries.list(**asked.seen_by(caller)))


async def get_delivery(tellwire: Hub, id: str) -> WholeDeliveryOutput:
    """Get a delivery

    With its attempts, first to last.
    """
    return WholeDeliveryOutput.with_attempts(*await tellwire.deliveries.get(id))


async def retry_delivery(tellwire: Hub, id: str) -> DeliveryOutput:
    """Retry a delivery

    It is sent again now, with a whole schedule of retries before it, also where it had succeeded.
    """
    return DeliveryOutput.of(await tellwire.deliveries.retry(id))


async def cancel_delivery(tellwire: Hub, id: str) -> DeliveryOutput:
    """Cancel a delivery

    A pending one is not sent any more; an attempt that is in the air changes nothing more. One that is exhausted is
    given up, and blocks nothing behind it.
    """
    return DeliveryOutput.of(await tellwire.deliveries.cancel(id))
