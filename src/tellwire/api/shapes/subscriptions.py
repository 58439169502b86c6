"""Subscriptions, as endpoints have them and previews try them."""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from tellwire.model.rules import together
from tellwire.model.subscription import Envelope, Subscription
from tellwire.policy.selecting import MAX_PATH_CHARS, PATH_FORM

from .given import Body, FilterObject
from .saying import LIMITS, Patterns, refusing, says
from .shown import Output

EXAMPLE_FILTER: Final[dict[str, Any]] = {"data": {"amount": {"$gte": 1000}}}
_Paths = Annotated[
    list[Annotated[str, says(pattern=PATH_FORM, maxLength=MAX_PATH_CHARS)]],
    says(minItems=1, maxItems=LIMITS.fields_per_subscription),
]


class PatternsBody(Body):
    """Event-type patterns."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": ["invoice.paid"]}]})

    events: Patterns = Field(description="Event types and patterns.", examples=[["order.*"]])


class SubscriptionBody(Body):
    """Event-type patterns, and optionally a filter and a form."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            together("fields", "transform"), examples=[{"events": ["order.paid"], "filter": EXAMPLE_FILTER}]
        )
    )

    events: Patterns = Field(description="Event types and patterns.", examples=[["order.*"]])
    filter: FilterObject | None = Field(
        default=None,
        description="What else the event must be like: conditions on its `type`, `tenant` and `data`.",
        examples=[EXAMPLE_FILTER],
    )
    envelope: Annotated[Envelope, Field(strict=False)] | None = Field(
        default=None,
        description="The form in which what it wants is sent: as the tenant's `defaults` say if not given, "
        "else `standard`.",
    )
    fields: _Paths | None = Field(
        default=None,
        description="The only parts of the data that are sent, as dotted paths; arrays on the way are gone through.",
        examples=[["order_id", "customer.id", "items.sku"]],
    )
    transform: Annotated[str, says(minLength=1, maxLength=LIMITS.transform_chars)] | None = Field(
        default=None,
        description="Instead of `fields`: a JMESPath expression over the event (`id`, `type`, `tenant`, `timestamp`, "
        "`data`), whose result is sent instead of the data.",
        examples=["{order: data.order_id, euros: data.amount}"],
    )

    def subscription(self) -> Subscription:
        """The subscription that this describes."""
        return Subscription(
            tuple(self.events),
            self.filter,
            self.envelope,
            None if self.fields is None else tuple(self.fields),
            self.transform,
        )


Subscriptions = Annotated[list[SubscriptionBody], says(maxItems=LIMITS.subscriptions_per_endpoint)]


class SubscriptionOutput(Output):
    """Event-type patterns, the filter that an event must pass besides, and the form in which it is sent."""

    events: list[str] = Field(examples=[["order.*"]])
    filter: dict[str, Any] | None = Field(examples=[EXAMPLE_FILTER])
    envelope: Envelope
    fields: list[str] | None = Field(
        description="The only parts of the data that are sent, if not all of it.",
        examples=[["order_id", "customer.id"]],
    )
    transform: str | None = Field(
        description="The JMESPath expression whose result is sent instead of the data, if any.",
        examples=["{order: data.order_id}"],
    )
