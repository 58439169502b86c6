"""Endpoints: new ones, changes, what is shown of them, and their secrets."""

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, WithJsonSchema

from tellwire.model.authentication import without_values
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.endpoint_settings import WHOLE_RULES, shown_settings
from tellwire.model.rules import together

from .given import DAY_S, Body, Overlap
from .saying import (
    LIMITS,
    Description,
    Headers,
    HeadersPatch,
    OwnerId,
    Patterns,
    SigningSecret,
    TypeName,
    Url,
    refusing,
)
from .setting_fields import GivenSettings, PatchedSettings, ShownSettings, settings_of
from .shown import Output, ShownTime
from .subscriptions import EXAMPLE_FILTER, SubscriptionOutput, Subscriptions

_URL: Final = {"type": "string", "format": "uri", "minLength": 1, "maxLength": LIMITS.url_chars}


class NewEndpointFields(Body):
    """What a new endpoint may have besides settings, which follow these."""

    url: Url = Field(description="Where to POST; must be reachable through the egress guard.")
    events: Patterns | None = Field(default=None, description="Patterns: short for one subscription.")
    subscriptions: Subscriptions | None = Field(default=None, description="Instead of `events`.")
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
                        {"events": ["order.paid", "order.refunded"], "filter": EXAMPLE_FILTER},
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
    subscriptions: Subscriptions | None = Field(default=None, description="Replaces all subscriptions.")
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


class RotateBody(Body):
    """A new secret, and for how long the old one signs along."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_s": DAY_S}]})

    secret: SigningSecret | None = Field(
        default=None, description="`whsec_` or `whsk_` of your own; made for you if not given."
    )
    overlap_s: Overlap = Field(default=DAY_S, description="0 to 2,592,000 seconds (30 days).")


class TryBody(Body):
    """Of which type the example event is to be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "order.paid"}]})

    type: TypeName | None = Field(default=None, description="`tellwire.test` if not given.")


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
    created_at: ShownTime
    updated_at: ShownTime


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
