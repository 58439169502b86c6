"""What requests may hold: bodies and query strings, strictly typed. Unknown fields are refused, never dropped.

Bodies come from the strict JSON parser (see ``guard``), so that ``"1"`` is no number and ``1`` no string. What a
field's value may be is the hub's to decide; only its type is checked here.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from jiter import LosslessFloat
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from tellwire.clock import to_datetime
from tellwire.manage.endpoints import MAX_OVERLAP_S
from tellwire.model.delivery import State
from tellwire.model.endpoint_settings import WHOLE_RULES
from tellwire.model.key import Caller, Scope
from tellwire.model.limits import MAX_PAYLOAD_HARD_BYTES
from tellwire.model.portal import (
    DEFAULT_LIFETIME_S,
    MAX_LIFETIME_S,
    MIN_LIFETIME_S,
    SUBJECT_FORM,
    Capability,
)
from tellwire.model.replay import Again, ReplayState
from tellwire.model.rules import none_of, together
from tellwire.model.stats import Span
from tellwire.model.subscription import Envelope, Subscription
from tellwire.model.tenant import (
    MAX_PUBLISH_PER_S,
    MAX_TENANT_ENDPOINTS,
    TenantDefaults,
    TenantLimits,
)
from tellwire.model.verification import Verification
from tellwire.policy.filter_syntax import EVENT_FIELDS, LOGIC
from tellwire.policy.selecting import MAX_PATH_CHARS, PATH_FORM
from tellwire.publish.occurred import occurred_ms
from tellwire.publish.strict_json import with_decimals

from .saying import (
    LIMITS,
    Description,
    Headers,
    HeadersPatch,
    Name,
    OwnerId,
    Pattern,
    Patterns,
    SigningSecret,
    TenantId,
    TypeName,
    Url,
    refusing,
    says,
)
from .setting_fields import GivenSettings, PatchedSettings, given_of, patches_of, settings_of

_DAY_S: Final = 86_400
_RETRY: Final = given_of(TenantDefaults)["retry"]
_RETRY_PATCH: Final = patches_of(TenantDefaults)["retry"]


def _time(value: object) -> datetime:
    return to_datetime(occurred_ms(value))


def _digits(value: object) -> int:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) < 10):
        raise ValueError("expected a whole number")
    return int(value)


def _whole(value: object) -> object:
    """What is written as 30.0 or 3e1 is an integer too (JSON Schema, section 4.2.3 of its core)."""
    if isinstance(value, LosslessFloat) and float(value).is_integer():
        return int(float(value))
    return value


def _yes_or_no(value: object) -> bool:
    if value not in ("true", "false"):
        raise ValueError("expected true or false")
    return value == "true"


Time = Annotated[
    datetime,
    BeforeValidator(_time),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:30:00.123Z"]}),
]
"""RFC 3339 with a zone."""

JsonObject = Annotated[dict[str, Any], BeforeValidator(with_decimals)]
"""Any JSON object; its numbers keep all their digits."""

FilterObject = Annotated[JsonObject, says(propertyNames={"enum": [*EVENT_FIELDS, *LOGIC]})]
"""A filter (docs/reference/filters.md); below these names it is a language of its own."""

_FILTER: Final[dict[str, Any]] = {"data": {"amount": {"$gte": 1000}}}

Limit = Annotated[
    int,
    BeforeValidator(_digits),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 250, "default": 50}),
]
Whole = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, StringConstraints(min_length=1)]
_Paths = Annotated[
    list[Annotated[str, says(pattern=PATH_FORM, maxLength=MAX_PATH_CHARS)]],
    says(minItems=1, maxItems=LIMITS.fields_per_subscription),
]
_Overlap = Annotated[Whole, says(minimum=0, maximum=MAX_OVERLAP_S)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no), WithJsonSchema({"type": "boolean", "default": False})]


class Query(BaseModel):
    """A query string; an empty value is refused like an unknown name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Which page of a list."""

    limit: Limit = Field(default=50, description="Items on a page.")
    cursor: Text | None = Field(default=None, description="The `next` of the page before.")


class EventTypeQuery(PageQuery):
    """Which page of the event types."""

    operational: YesOrNo = Field(
        default=False, description="Those of operational events, instead of the catalogue's."
    )


class TenantPageQuery(PageQuery):
    """Which page of a list that belongs to a tenant."""

    tenant: Text | None = Field(default=None, description="Only what is this tenant's.")

    def seen_by(self, caller: Caller) -> dict[str, Any]:
        """The query, narrowed to what ``caller`` may see."""
        return dict(self) | {"tenant": caller.sees(self.tenant)}


class EventQuery(TenantPageQuery):
    """Which events."""

    type: Pattern | None = Field(default=None, description="An event type, or a pattern such as `order.*`.")
    since: Time | None = Field(default=None, description="Created at this time or later.")
    until: Time | None = Field(default=None, description="Created before this time.")


class DeliveryQuery(EventQuery):
    """Which deliveries."""

    endpoint: Text | None = Field(default=None, description="Only deliveries to this endpoint.")
    event: Text | None = Field(default=None, description="Only deliveries of this event.")
    state: State | None = None


class AuditQuery(TenantPageQuery):
    """Which changes."""

    actor: Text | None = Field(
        default=None, description="Only those made by this key, or by `admin` or `local`."
    )
    subject: Text | None = Field(default=None, description="Only those of the thing with this id.")
    since: Time | None = Field(default=None, description="Made at this time or later.")
    until: Time | None = Field(default=None, description="Made before this time.")


class ReplayQuery(TenantPageQuery):
    """Which replays."""

    endpoint: Text | None = Field(default=None, description="Only replays to this endpoint.")
    state: ReplayState | None = None


class StatsQuery(Query):
    """Which statistics."""

    by: Span = Field(
        default=Span.HOUR, description="How long the pieces are; they begin at full hours or days of UTC."
    )
    since: Time | None = Field(
        default=None, description="From the piece that this lies in; 24 hours or 30 days of it if not given."
    )
    until: Time | None = Field(default=None, description="To the piece that this ends; to now if not given.")


class TenantStatsQuery(StatsQuery):
    """Which statistics of several endpoints."""

    tenant: Text | None = Field(default=None, description="Of this tenant; of the whole server if not given.")


class Body(BaseModel):
    """A JSON body. Null in an optional field is the same as leaving it out, unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PatternsBody(Body):
    """Event-type patterns."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": ["invoice.paid"]}]})

    events: Patterns = Field(description="Event types and patterns.", examples=[["order.*"]])


class SubscriptionBody(Body):
    """Event-type patterns, and optionally a filter and a form."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            together("fields", "transform"), examples=[{"events": ["order.paid"], "filter": _FILTER}]
        )
    )

    events: Patterns = Field(description="Event types and patterns.", examples=[["order.*"]])
    filter: FilterObject | None = Field(
        default=None,
        description="What else the event must be like: conditions on its `type`, `tenant` and `data`.",
        examples=[_FILTER],
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


_Subscriptions = Annotated[list[SubscriptionBody], says(maxItems=LIMITS.subscriptions_per_endpoint)]


_URL: Final = {"type": "string", "format": "uri", "minLength": 1, "maxLength": LIMITS.url_chars}


class NewEndpointFields(Body):
    """What a new endpoint may have besides settings, which follow these."""

    url: Url = Field(description="Where to POST; must be reachable through the egress guard.")
    events: Patterns | None = Field(default=None, description="Patterns: short for one subscription.")
    subscriptions: _Subscriptions | None = Field(default=None, description="Instead of `events`.")
    tenant: OwnerId | None = Field(default=None, description="`default` if not given.")
    description: Description | None = Field(default=None, description="For people.")
    headers: Headers | None = Field(default=None, description="Sent along with every delivery.")
    metadata: dict[str, str] | None = Field(default=None, description="Yours; Tellwire only keeps it.")
    secret: SigningSecret | None = Field(
        default=None, description="`whsec_` or `whsk_` of your own; made for you if not given."
    )


class EndpointBody(GivenSettings, NewEndpointFields):
    """A new endpoint."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            together("events", "subscriptions"),
            *WHOLE_RULES,
            examples=[
                {"url": "https://example.com/hook", "events": ["order.*"], "description": "the shop"},
                {
                    "url": "https://example.com/hook",
                    "tenant": "acme",
                    "subscriptions": [
                        {"events": ["order.paid", "order.refunded"], "filter": _FILTER},
                        {"events": ["invoice.*"]},
                    ],
                    "headers": {"X-Shop": "north"},
                    "metadata": {"plan": "gold"},
                },
            ],
        )
    )

    def settings(self) -> dict[str, Any]:
        """The settings that were given."""
        return settings_of(self)


class EndpointPatchFields(Body):
    """What a change of an endpoint may have besides settings, which follow these."""

    url: Annotated[Url | None, WithJsonSchema(_URL)] = Field(default=None, description="Cannot be cleared.")
    events: Patterns | None = Field(default=None, description="Replaces all subscriptions by one.")
    subscriptions: _Subscriptions | None = Field(default=None, description="Replaces all subscriptions.")
    description: Description | None = None
    headers: HeadersPatch | None = Field(default=None, description="Merged name by name.")
    metadata: dict[str, str | None] | None = Field(default=None, description="Merged name by name.")


class EndpointPatch(PatchedSettings, EndpointPatchFields):
    """Changes to an endpoint, as a JSON merge patch (RFC 7396): null clears, what is left out stays."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            {"required": ["events", "subscriptions"]},
            examples=[{"description": "the new shop", "metadata": {"plan": None}}],
        )
    )

    def patch(self) -> dict[str, Any]:
        """What was given, null included."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if given.get("subscriptions") is not None:
            given["subscriptions"] = [one.subscription() for one in given["subscriptions"]]
        return given


class FilterTestBody(Body):
    """A filter, and an event to try it on: a stored one, or what it is like."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            *(together("event", name) for name in ("type", "tenant", "data")),
            examples=[
                {"filter": _FILTER, "type": "order.paid", "data": {"order_id": "o_1", "amount": 4200}},
                {"filter": _FILTER, "event": "evt_01k5w3m8qhe5sbd3y0t2vwz9ra"},
            ],
        )
    )

    filter: FilterObject = Field(examples=[_FILTER])
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
                {"subscriptions": [{"events": ["order.paid"], "filter": _FILTER}], "limit": 2},
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
    subscriptions: _Subscriptions | None = Field(default=None, description="Instead of `events`.")
    limit: Annotated[Whole, says(minimum=1, maximum=LIMITS.page_items)] | None = Field(
        default=None, description="How many events to look at: 1 to 250, else 100."
    )
    bodies: bool = Field(
        default=False, description="Whether to show what would have been sent, of the newest 20 that match."
    )


class ReplayBody(Body):
    """What is to be sent to an endpoint again: a range of time, or one event."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            none_of("since", "event"),
            *(together("event", name) for name in ("since", "until", "types", "states")),
            examples=[
                {
                    "since": "2026-01-27T00:00:00Z",
                    "types": ["order.*"],
                    "states": ["exhausted"],
                    "dry_run": True,
                },
                {"event": "evt_01k5w3m8qhe5sbd3y0t2vwz9ra"},
            ],
        )
    )

    since: Time | None = Field(default=None, description="Published at this time or later.")
    until: Time | None = Field(default=None, description="Published before this time; now if not given.")
    types: Patterns | None = Field(default=None, description="Event types and patterns; all if not given.")
    states: Annotated[list[Annotated[Again, Field(strict=False)]], says(minItems=1)] | None = Field(
        default=None,
        description="What has become of an event at this endpoint; `missing`: it has no delivery to it, but the "
        "endpoint's present subscriptions want it. `exhausted` and `missing` if not given.",
    )
    event: str | None = Field(
        default=None, description="This event alone, whatever became of it, instead of a range of time."
    )
    dry_run: bool = Field(default=False, description="Only count.")


class RotateBody(Body):
    """A new secret, and for how long the old one signs along."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_s": _DAY_S}]})

    secret: SigningSecret | None = Field(
        default=None, description="`whsec_` or `whsk_` of your own; made for you if not given."
    )
    overlap_s: _Overlap = Field(default=_DAY_S, description="0 to 2,592,000 seconds (30 days).")


class TryBody(Body):
    """Of which type the example event is to be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "order.paid"}]})

    type: TypeName | None = Field(default=None, description="`tellwire.test` if not given.")


class TenantLimitsBody(Body):
    """A tenant's own limits; null leaves it with the server's."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"endpoints": 500}]})

    endpoints: Annotated[Whole, says(minimum=0, maximum=MAX_TENANT_ENDPOINTS)] | None = Field(
        default=None, description="How many endpoints it may have."
    )
    payload_bytes: Annotated[Whole, says(minimum=1, maximum=MAX_PAYLOAD_HARD_BYTES)] | None = Field(
        default=None, description="What the data of one event may have; at most the server's own limit."
    )
    publish_per_s: Annotated[Whole, says(minimum=1, maximum=MAX_PUBLISH_PER_S)] | None = Field(
        default=None, description="Events that it may publish a second, in each process of the server."
    )

    def limits(self) -> TenantLimits:
        """The limits that this describes."""
        return TenantLimits(**dict(self))


class TenantDefaultsBody(Body):
    """What endpoints of a tenant have where they do not say it themselves."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"retry": {"delays_s": [5, 300, 3600]}}]})

    retry: Annotated[Any, BeforeValidator(with_decimals), WithJsonSchema(_RETRY)] = None
    envelope: Annotated[Envelope, Field(strict=False)] | None = Field(
        default=None,
        description="The form in which new subscriptions send events, where they do not say it themselves; "
        "`standard` if null. Subscriptions that are there stay as they are.",
    )


class TenantDefaultsPatch(TenantDefaultsBody):
    """Changes to what endpoints of a tenant have where they do not say it themselves."""

    retry: Annotated[Any, BeforeValidator(with_decimals), WithJsonSchema(_RETRY_PATCH)] = None


class TenantBody(Body):
    """A new tenant."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "acme",
                    "name": "Acme Inc.",
                    "metadata": {"plan": "gold"},
                    "limits": {"endpoints": 500},
                }
            ]
        }
    )

    id: TenantId = Field(description="Your own: 1 to 64 of `A-Z a-z 0-9 . _ -`.")
    name: Name | None = Field(default=None, description="The id if not given.")
    metadata: dict[str, str] | None = Field(default=None, description="Yours; Tellwire only keeps it.")
    limits: TenantLimitsBody | None = None
    defaults: TenantDefaultsBody | None = None
    verification: Annotated[Verification, Field(strict=False)] | None = Field(
        default=None,
        description="How new URLs of its endpoints are verified; as the server says if not given.",
    )


class TenantPatch(Body):
    """Changes to a tenant, as a JSON merge patch (RFC 7396): null clears, what is left out stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Acme Corp.", "limits": {"payload_bytes": 65_536}}]}
    )

    name: Name | None = Field(default=None, description="Cleared, it is the id again.")
    metadata: dict[str, str | None] | None = Field(default=None, description="Merged name by name.")
    limits: TenantLimitsBody | None = Field(default=None, description="Merged limit by limit.")
    defaults: TenantDefaultsPatch | None = Field(
        default=None, description="Merged field by field; `retry` holds for endpoints that are there, too."
    )
    verification: Annotated[Verification, Field(strict=False)] | None = Field(
        default=None, description="How new URLs of its endpoints are verified; null: as the server says."
    )

    def patch(self) -> dict[str, Any]:
        """What was given, null included."""
        return self.model_dump(exclude_unset=True)


class PortalTokenBody(Body):
    """What a portal token may do, for how long, and for whom."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"capabilities": ["endpoints:write", "deliveries:read"], "subject": "user_123"}]
        }
    )

    capabilities: list[str] = Field(
        description="What it may do with the things of its tenant.",
        json_schema_extra={"items": {"type": "string", "enum": list(Capability)}, "minItems": 1},
    )
    lifetime_s: Annotated[Whole, says(minimum=MIN_LIFETIME_S, maximum=MAX_LIFETIME_S)] = Field(
        default=DEFAULT_LIFETIME_S, description="60 to 86,400 seconds."
    )
    subject: Annotated[str, says(pattern=SUBJECT_FORM)] | None = Field(
        default=None,
        description="Whom it is for, as you call them: the audit log tells it. Up to 50 printable ASCII characters "
        "without spaces.",
    )


class KeyBody(Body):
    """A new API key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "shop", "scopes": ["publish"], "expires_at": "2027-01-01T00:00:00.000Z"},
                {"name": "for Acme", "scopes": ["manage"], "tenant": "acme"},
            ]
        }
    )

    name: Name = Field(description="1 to 200 characters.")
    scopes: Annotated[list[Annotated[str, says(enum=list(Scope))]], says(minItems=1)] | None = Field(
        default=None, description="All of them if not given."
    )
    tenant: TenantId | None = Field(
        default=None, description="Bind it to this tenant: then it sees that tenant and nothing else."
    )
    expires_at: Time | None = Field(default=None, description="Never if not given.")


class KeyRotateBody(Body):
    """For how long the old key stays good, and when the new one ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_s": _DAY_S}]})

    overlap_s: _Overlap = Field(default=_DAY_S, description="0 to 2,592,000 seconds (30 days).")
    expires_at: Time | None = Field(
        default=None, description="If not given, the new key lives as long as the old one was made to live."
    )
