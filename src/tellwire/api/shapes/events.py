"""Events: which to list, and what is shown of them. What publishing takes and answers is in ``publish``."""

from typing import Any, Self

from pydantic import Field

from tellwire.model.event import StoredEvent

from .given import GivenTime, TenantPageQuery
from .saying import Pattern
from .shown import Output, ShownTime


class EventQuery(TenantPageQuery):
    """Which events."""

    type: Pattern | None = Field(default=None, description="An event type, or a pattern such as `order.*`.")
    since: GivenTime | None = Field(default=None, description="Created at this time or later.")
    until: GivenTime | None = Field(default=None, description="Created before this time.")


class EventOutput(Output):
    """Something that happened. Lists leave its data out."""

    id: str = Field(examples=["evt_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    type: str = Field(examples=["order.paid"])
    tenant: str = Field(examples=["default"])
    occurred_at: ShownTime
    created_at: ShownTime
    idempotency_key: str | None
    deliveries: int = Field(description="How many endpoints are to get it.")
    fanned_out: int = Field(
        description="For how many of them that is done: fewer than `deliveries` only while an event for very many "
        "endpoints is fanned out in the background."
    )
    data_expired: bool = Field(description="Whether its data has been removed, past the payload retention.")
    deliver_at: ShownTime | None = Field(description="It is not delivered before.")
    expires_at: ShownTime | None = Field(description="It is not delivered after.")
    ordering_key: str | None = Field(
        description="Endpoints whose `order` is `key` get events with the same one in order."
    )


class CancelledEventOutput(EventOutput):
    """An event that was cancelled, without its data."""

    cancelled: int = Field(description="How many deliveries that were pending have ended.")

    @classmethod
    def with_count(cls, event: StoredEvent, cancelled: int) -> Self:
        """The answer that shows an event and how many of its deliveries were cancelled."""
        return cls(**dict(EventOutput.of(event)), cancelled=cancelled)


class WholeEventOutput(EventOutput):
    """Something that happened, with its data: the very bytes that were published; null once they have expired."""

    data: dict[str, Any] | None = Field(examples=[{"order_id": "o_1", "amount": 4200}])
