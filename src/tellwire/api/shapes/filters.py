"""Filters and subscriptions that are tried out, and what comes of it."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from tellwire.manage.filters import PreviewedEvent
from tellwire.model.rules import none_of, together

from .given import Body, FilterObject, JsonObject, Whole
from .saying import LIMITS, OwnerId, Patterns, TypeName, refusing, says
from .shown import Output, ShownTime
from .subscriptions import EXAMPLE_FILTER, Subscriptions


class FilterTestBody(Body):
    """A filter, and an event to try it on: a stored one, or what it is like."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            *(together("event", name) for name in ("type", "tenant", "data")),
            examples=[
                {"filter": EXAMPLE_FILTER, "type": "order.paid", "data": {"order_id": "o_1", "amount": 4200}},
                {"filter": EXAMPLE_FILTER, "event": "evt_01k5w3m8qhe5sbd3y0t2vwz9ra"},
            ],
        )
    )

    filter: FilterObject = Field(examples=[EXAMPLE_FILTER])
    event: str | None = Field(default=None, description="The id of a stored event.")
    type: TypeName | None = Field(default=None, description="Else its type: `tellwire.test` if not given.")
    tenant: str | None = Field(default=None, description="Its tenant: `default` if not given.")
    data: JsonObject | None = Field(default=None, description="Its data: `{}` if not given.")


class PreviewBody(Body):
    """Subscriptions to look through the last events with: an endpoint's, or those that are given, or both."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            none_of("endpoint", "events", "subscriptions"),
            together("events", "subscriptions"),
            together("endpoint", "tenant"),
            examples=[
                {"subscriptions": [{"events": ["order.paid"], "filter": EXAMPLE_FILTER}], "limit": 2},
                {"endpoint": "ep_01k5w3m8qhe5sbd3y0t2vwz9ra"},
            ],
        )
    )

    endpoint: str | None = Field(
        default=None, description="An endpoint: its tenant, and its subscriptions unless others are given."
    )
    tenant: OwnerId | None = Field(
        default=None, description="Whose events, without endpoint: `default` if not given."
    )
    events: Patterns | None = Field(default=None, description="Patterns: short for one subscription.")
    subscriptions: Subscriptions | None = Field(default=None, description="Instead of `events`.")
    limit: Annotated[Whole, says(minimum=1, maximum=LIMITS.page_items)] | None = Field(
        default=None, description="How many events to look at: 1 to 250, else 100."
    )
    bodies: bool = Field(
        default=False, description="Whether to show what would have been sent, of the newest 20 that match."
    )


class ReasonOutput(Output):
    """A condition of a filter: asked of which part of the event, and what came of it."""

    path: list[str | int] = Field(description="Where in the event.", examples=[["data", "amount"]])
    condition: Any = Field(examples=[{"$gte": 1000}])
    matches: bool
    msg: str = Field(description="What was found there.", examples=["4200 is at least 1000"])


class FilterTestOutput(Output):
    """Whether a filter matches an event, and what was asked to find out (at most 50 reasons)."""

    matches: bool
    reasons: list[ReasonOutput]


class PreviewReasonOutput(Output):
    """What one subscription, by its place, says of an event."""

    subscription: int
    path: list[str | int] = Field(description="Where in the event.", examples=[["data", "amount"]])
    msg: str = Field(description="What was found there.", examples=["42 is less than 1000"])


class PreviewedBodyOutput(Output):
    """What would have been sent."""

    content_type: str = Field(examples=["application/json"])
    body: str | None = Field(
        description="The first 8 KiB of the body; null where there is an error.",
        examples=['{"order": "o_1"}'],
    )
    size_bytes: int = Field(description="How long the whole body is.")
    error: str | None = Field(description="Why nothing would have been sent.")


class PreviewedEventOutput(Output):
    """A stored event, and whether it would have been received; `reasons` are at most 20."""

    id: str = Field(examples=["evt_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    type: str = Field(examples=["order.paid"])
    tenant: str = Field(examples=["default"])
    occurred_at: ShownTime
    created_at: ShownTime
    matches: bool
    reasons: list[PreviewReasonOutput]
    request: PreviewedBodyOutput | None = Field(
        description="What would have been sent, where `bodies` was asked for."
    )


class PreviewOutput(Output):
    """The last events, newest first, and how many of them would have been received."""

    data: list[PreviewedEventOutput]
    matched: int

    @classmethod
    def of_events(cls, previewed: list[PreviewedEvent]) -> Self:
        """The answer that shows these."""
        data = [
            PreviewedEventOutput(
                id=one.event.id,
                type=one.event.type,
                tenant=one.event.tenant,
                occurred_at=one.event.occurred_at,
                created_at=one.event.created_at,
                matches=one.matches,
                reasons=[PreviewReasonOutput.of(reason) for reason in one.reasons],
                request=None if one.request is None else PreviewedBodyOutput.of(one.request),
            )
            for one in previewed
        ]
        return cls(data=data, matched=sum(one.matches for one in data))
