"""Deliveries and their attempts: which to list, and what is shown of them."""

from typing import Literal, Self

from pydantic import Field

from tellwire.model.attempt import Attempt, AttemptError, Trigger
from tellwire.model.delivery import Delivery, State, WaitingFor

from .events import EventQuery
from .given import Text
from .shown import Output, ShownTime


class DeliveryQuery(EventQuery):
    """Which deliveries."""

    endpoint: Text | None = Field(default=None, description="Only deliveries to this endpoint.")
    event: Text | None = Field(default=None, description="Only deliveries of this event.")
    state: State | None = None


class DeliveryOutput(Output):
    """One event on its way to one endpoint."""

    id: str = Field(examples=["dlv_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    event_id: str = Field(examples=["evt_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    endpoint_id: str = Field(examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    tenant: str = Field(examples=["default"])
    type: str = Field(examples=["order.paid"])
    state: State
    attempt_count: int
    due_at: ShownTime | None = Field(description="When the next attempt is due; null once it has ended.")
    last_status_code: int | None
    last_error: str | None
    created_at: ShownTime
    finished_at: ShownTime | None
    waiting_for: WaitingFor | None = Field(
        description="What it waits for besides its time: `rate`, the endpoint takes no more requests now; "
        "`circuit`, it keeps failing and is left alone for a while; `batch`, others that go in the same request; "
        "`order`, those before it in its line; `paused`, `disabled` or `unverified`, the endpoint is."
    )
    batch_id: str | None = Field(
        description="The `webhook-id` of the request in which it was sent last, if that was a batch."
    )
    waiting_until: ShownTime | None = Field(
        description="Until when it waits for that, where it is known: the end of a `Retry-After`, or when an open "
        "circuit is tried again."
    )


class AttemptOutput(Output):
    """One HTTP try of a delivery, with its evidence."""

    id: str = Field(examples=["att_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    number: int
    started_at: ShownTime
    duration_ms: int
    outcome: Literal["succeeded", "failed"]
    status_code: int | None
    error: AttemptError | None
    response_headers: dict[str, str] = Field(description="Repeated names are joined by a comma and a space.")
    response_body: str = Field(
        description="The first 4 KiB, read as UTF-8; what is none is replaced by U+FFFD."
    )
    trigger: Trigger

    @classmethod
    def of(cls, noun: object) -> Self:
        """The answer that shows an attempt."""
        assert isinstance(noun, Attempt)  # noqa: S101 - narrows the type
        headers: dict[str, str] = {}
        for name, value in noun.response_headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls.model_validate(
            {
                **{name: getattr(noun, name) for name in cls.model_fields},
                "response_headers": headers,
                "response_body": noun.response_body.decode("utf-8", "replace"),
            }
        )


class WholeDeliveryOutput(DeliveryOutput):
    """A delivery with its attempts, first to last."""

    attempts: list[AttemptOutput]

    @classmethod
    def with_attempts(cls, delivery: Delivery, attempts: list[Attempt]) -> Self:
        """The answer that shows a delivery and its attempts."""
        own = DeliveryOutput.of(delivery)
        return cls(**dict(own), attempts=[AttemptOutput.of(attempt) for attempt in attempts])
