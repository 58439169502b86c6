"""What answers hold: one model for each noun, field for field as API.md lists them.

Times are RFC 3339 in UTC with milliseconds. Every field is always there; null says that there is nothing.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from tellwire.clock import rfc3339, to_ms
from tellwire.manage.filters import PreviewedEvent
from tellwire.model.attempt import Attempt, AttemptError, Trigger
from tellwire.model.authentication import without_values
from tellwire.model.delivery import Delivery, State, WaitingFor
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.endpoint_settings import shown_settings
from tellwire.model.event import StoredEvent
from tellwire.model.key import Scope
from tellwire.model.portal import Capability
from tellwire.model.replay import Again, ReplayState
from tellwire.model.stats import Span
from tellwire.model.subscription import Envelope
from tellwire.model.tenant import TenantDefaults, TenantState
from tellwire.model.verification import Verification

from .setting_fields import ShownSettings, schemas_of

T = TypeVar("T")

Time = Annotated[
    datetime,
    PlainSerializer(lambda at: rfc3339(to_ms(at)), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:30:00.123Z"]}),
]


class Output(BaseModel):
    """Reads its fields off a noun of ``model``."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    @classmethod
    def of(cls, noun: object) -> Self:
        """The answer that shows ``noun``."""
        return cls.model_validate(noun)


class ListOutput(Output, Generic[T]):
    """One page of a list. `next` is the `cursor` of the page that follows, or null at the end."""

    data: list[T]
    next: str | None


class EventOutput(Output):
    """Something that happened. Lists leave its data out."""

    id: str = Field(examples=["evt_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    type: str = Field(examples=["order.paid"])
    tenant: str = Field(examples=["default"])
    occurred_at: Time
    created_at: Time
    idempotency_key: str | None
    deliveries: int = Field(description="How many endpoints are to get it.")
    fanned_out: int = Field(
        description="For how many of them that is done: fewer than `deliveries` only while an event for very many "
        "endpoints is fanned out in the background."
    )
    data_expired: bool = Field(description="Whether its data has been removed, past the payload retention.")
    deliver_at: Time | None = Field(description="It is not delivered before.")
    expires_at: Time | None = Field(description="It is not delivered after.")
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


class SubscriptionOutput(Output):
    """Event-type patterns, the filter that an event must pass besides, and the form in which it is sent."""

    events: list[str] = Field(examples=[["order.*"]])
    filter: dict[str, Any] | None = Field(examples=[{"data": {"amount": {"$gte": 1000}}}])
    envelope: Envelope
    fields: list[str] | None = Field(
        description="The only parts of the data that are sent, if not all of it.",
        examples=[["order_id", "customer.id"]],
    )
    transform: str | None = Field(
        description="The JMESPath expression whose result is sent instead of the data, if any.",
        examples=["{order: data.order_id}"],
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
    occurred_at: Time
    created_at: Time
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


class EndpointFields(Output):
    """What an endpoint has besides its settings, which follow these."""

    id: str = Field(examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    tenant: str = Field(examples=["default"])
    url: str = Field(examples=["https://example.com/hook"])
    description: str
    events: list[str] = Field(examples=[["order.*"]])
    subscriptions: list[SubscriptionOutput]
    headers: dict[str, str] = Field(
        description="Sent along with every delivery. Values are secret: each is shown as `***`, and stays what it is "
        "where that comes back in a change.",
        examples=[{"X-Shop": "***"}],
    )
    metadata: dict[str, str]
    state: EndpointState
    state_reason: str | None = Field(description="Why it is not enabled.")
    created_at: Time
    updated_at: Time


class EndpointOutput(ShownSettings, EndpointFields):
    """Where a tenant receives. `events` has the patterns of all subscriptions."""

    @classmethod
    def of(cls, noun: object, **more: Any) -> Self:
        """The answer that shows an endpoint; ``more`` are fields that it does not hold itself."""
        assert isinstance(noun, Endpoint)  # noqa: S101 - narrows the type
        return cls(
            id=noun.id,
            tenant=noun.tenant,
            url=noun.url,
            description=noun.description,
            events=list(dict.fromkeys(event for one in noun.subscriptions for event in one.events)),
            subscriptions=[SubscriptionOutput.of(one) for one in noun.subscriptions],
            headers=without_values(noun.headers),
            metadata=noun.metadata,
            state=noun.state,
            state_reason=noun.state_reason,
            created_at=noun.created_at,
            updated_at=noun.updated_at,
            **shown_settings(noun.settings),
            **more,
        )


class NewEndpointOutput(EndpointOutput):
    """A new endpoint, with its signing secret."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class SecretOutput(Output):
    """The secret that deliveries are signed with now."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class DeliveryOutput(Output):
    """One event on its way to one endpoint."""

    id: str = Field(examples=["dlv_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    event_id: str = Field(examples=["evt_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    endpoint_id: str = Field(examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    tenant: str = Field(examples=["default"])
    type: str = Field(examples=["order.paid"])
    state: State
    attempt_count: int
    due_at: Time | None = Field(description="When the next attempt is due; null once it has ended.")
    last_status_code: int | None
    last_error: str | None
    created_at: Time
    finished_at: Time | None
    waiting_for: WaitingFor | None = Field(
        description="What it waits for besides its time: `rate`, the endpoint takes no more requests now; "
        "`circuit`, it keeps failing and is left alone for a while; `batch`, others that go in the same request; "
        "`paused`, `disabled` or `unverified`, the endpoint is."
    )
    batch_id: str | None = Field(
        description="The `webhook-id` of the request in which it was sent last, if that was a batch."
    )


class AttemptOutput(Output):
    """One HTTP try of a delivery, with its evidence."""

    id: str = Field(examples=["att_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    number: int
    started_at: Time
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


class ReplayOutput(Output):
    """A job that sends to an endpoint again."""

    id: str = Field(examples=["rpl_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    endpoint_id: str = Field(examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    tenant: str = Field(examples=["default"])
    state: ReplayState
    reason: str | None = Field(description="Why it was cancelled.")
    waiting_for: Literal["paused", "disabled", "unverified"] | None = Field(
        description="The state of its endpoint that must end before it goes on."
    )
    dry_run: bool = Field(description="Whether it only counts.")
    since: Time | None
    until: Time | None
    types: list[str]
    states: list[Again]
    event_id: str | None
    progress: float = Field(description="How much of the range has been looked at, from 0 to 1.")
    looked_at: int = Field(description="Events of the tenant that were looked at.")
    retried: int = Field(description="Deliveries that were made pending again, or would be.")
    created: int = Field(description="New deliveries of events that had none, or how many there would be.")
    expired: int = Field(
        description="Events that fit but have lost their data, or are about to; they were passed over."
    )
    created_at: Time
    updated_at: Time
    finished_at: Time | None


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

    start: Time


class StatsOutput(Output):
    """Statistics of a range of time. Hours or days in which nothing happened are left out of `data`."""

    tenant: str | None = Field(description="Null for the whole server.")
    endpoint_id: str | None = Field(description="Null for all endpoints, deleted ones among them.")
    by: Span
    since: Time
    until: Time
    total: CountsOutput
    data: list[PieceOutput]


class TenantLimitsOutput(Output):
    """A tenant's own limits; null where the server's holds."""

    endpoints: int | None
    payload_bytes: int | None
    publish_per_s: int | None


class TenantDefaultsOutput(Output):
    """What endpoints of a tenant have where they do not say it themselves; null where the server's holds."""

    retry: Annotated[
        Any, PlainSerializer(msgspec.to_builtins), WithJsonSchema(schemas_of(TenantDefaults)["retry"])
    ]
    envelope: Envelope | None = Field(
        description="The form of new subscriptions that do not say it themselves; `standard` if null."
    )


class TenantOutput(Output):
    """One of your customers."""

    id: str = Field(examples=["acme"])
    name: str
    metadata: dict[str, str]
    limits: TenantLimitsOutput
    defaults: TenantDefaultsOutput
    state: TenantState = Field(description="`deleting` while what is left of it is being removed.")
    created_at: Time
    verification: Verification | None = Field(
        description="How new URLs of its endpoints are verified; as the server says if null."
    )


class KeyOutput(Output):
    """An API key without the key itself."""

    id: str = Field(examples=["key_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    name: str
    prefix: str = Field(
        description="How the key begins, to tell it from others.", examples=["tw_live_4fzN8x"]
    )
    scopes: list[Scope]
    tenant: str | None = Field(description="The one that it is bound to.")
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="Exact to a minute.")


class NewKeyOutput(KeyOutput):
    """A new API key; it is shown this once."""

    key: str = Field(examples=["tw_live_..."])


class AuditOutput(Output):
    """One change of the control plane."""

    id: str = Field(examples=["aud_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    at: Time
    action: str = Field(examples=["endpoint.updated"])
    actor: str = Field(
        description="The id of an API key; `admin` for the key of the settings; `local` for the command line and code."
    )
    tenant: str | None = Field(description="Whose thing was changed.")
    subject: str = Field(description="The id of the thing.", examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    request_id: str | None
    before: dict[str, Any] | None = Field(description="The fields that were changed; null for a new thing.")
    after: dict[str, Any] | None = Field(description="The same fields after; null where the thing is gone.")


class TokenOutput(Output):
    """An access token (RFC 6749 section 5.1)."""

    access_token: str = Field(description="Shown as `Authorization: Bearer`.", examples=["tw_at_AbX..."])
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds.", examples=[900])
    scope: str = Field(description="What it may do: scopes, with spaces between.", examples=["publish"])


class PortalTokenOutput(Output):
    """A portal token; it is shown this once."""

    token: str = Field(examples=["tw_pt_AbX..."])
    tenant: str = Field(examples=["acme"])
    capabilities: list[Capability]
    subject: str | None = Field(description="Whom it is for, as you call them.", examples=["user_123"])
    expires_at: Time


class HealthOutput(Output):
    """The process answers, or is ready."""

    status: str


class PublicKeyOutput(Output):
    """An Ed25519 key as a JSON Web Key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str = Field(description="The public key, in base64url.")
    kid: str = Field(description="Its thumbprint (RFC 7638).")
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    whpk: str = Field(description="The same key as libraries for Standard Webhooks take it.")


class PublicKeysOutput(Output):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[PublicKeyOutput]


class FaultOutput(Output):
    """One fault: where it is, and what is wrong."""

    loc: list[str | int] = Field(examples=[["subscriptions", 0, "events", 1]])
    msg: str


class ProblemOutput(Output):
    """An error (RFC 9457). What stands below `request_id` is there where it says something."""

    type: str = Field(description="Leads to an explanation.")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="The same as the header X-Request-Id; name it when you ask for help.")
    errors: list[FaultOutput] = Field(default=[], description="Every fault that was found, by field.")
    limit: str = Field(default="", description="The limit that was exceeded.")
    maximum: int = Field(default=0, description="What it allows.")
    scope: str = Field(default="", description="The scope that this needs, and the API key or token lacks.")
    bound_to: str = Field(default="", description="The tenant that the API key or token is bound to.")
    capability: str | None = Field(
        default=None, description="What a portal token would have to be able to do; null: none may do this."
    )
    index: int = Field(default=0, description="The place in the batch of the event that is in conflict.")
    stored: bool | None = Field(
        default=False,
        description="Of a 503: false, nothing was stored; null, that is not known, because the connection to the "
        "database was lost at the very commit.",
    )
