"""Events to look at. Publishing them is in ``publish``."""

from typing import Annotated

import msgspec
from fastapi import Query, Response

from tellwire.clock import rfc3339, to_ms
from tellwire.model.event import StoredEvent

from .caller import Who
from .hub import Hub
from .shapes.events import CancelledEventOutput, EventOutput, EventQuery
from .shapes.shown import ListOutput


async def list_events(
    tellwire: Hub, caller: Who, asked: Annotated[EventQuery, Query()]
) -> ListOutput[EventOutput]:
    """List events

    Newest first, without their data.
    """
    return ListOutput[EventOutput].of(await tellwire.events.list(**asked.seen_by(caller)))


async def get_event(tellwire: Hub, id: str) -> Response:
    """Get an event

    With its data, byte for byte as it was published.
    """
    return Response(_rendered(await tellwire.events.get(id)), media_type="application/json")


async def cancel_event(tellwire: Hub, id: str) -> CancelledEventOutput:
    """Cancel an event

    All its pending deliveries end as cancelled: before it is due, that is all of them. What has been delivered stays
    so, and an attempt that is in the air changes nothing more. Where nothing is pending, that is a conflict.
    """
    return CancelledEventOutput.with_count(*await tellwire.events.cancel(id))


def _rendered(event: StoredEvent) -> bytes:
    head = msgspec.json.encode(
        {
            "id": event.id,
            "type": event.type,
            "tenant": event.tenant,
            "occurred_at": rfc3339(to_ms(event.occurred_at)),
            "created_at": rfc3339(to_ms(event.created_at)),
            "idempotency_key": event.idempotency_key,
            "deliveries": event.deliveries,
            "fanned_out": event.fanned_out,
            "data_expired": event.data_expired,
            "deliver_at": event.deliver_at and rfc3339(to_ms(event.deliver_at)),
            "expires_at": event.expires_at and rfc3339(to_ms(event.expires_at)),
            "ordering_key": event.ordering_key,
        }
    )
    return head[:-1] + b',"data":' + (event.data or b"null") + b"}"
