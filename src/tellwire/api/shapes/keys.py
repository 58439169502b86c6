"""API keys, and the tokens that are made with them."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from tellwire.model.key import Scope
from tellwire.model.portal import DEFAULT_LIFETIME_S, MAX_LIFETIME_S, MIN_LIFETIME_S, SUBJECT_FORM, Capability

from .given import DAY_S, Body, GivenTime, Overlap, Whole
from .saying import Name, TenantId, says
from .shown import Output, ShownTime


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
    expires_at: GivenTime | None = Field(default=None, description="Never if not given.")


class KeyRotateBody(Body):
    """For how long the old key stays good, and when the new one ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_s": DAY_S}]})

    overlap_s: Overlap = Field(default=DAY_S, description="0 to 2,592,000 seconds (30 days).")
    expires_at: GivenTime | None = Field(
        default=None, description="If not given, the new key lives as long as the old one was made to live."
    )


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


class KeyOutput(Output):
    """An API key without the key itself."""

    id: str = Field(examples=["key_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    name: str
    prefix: str = Field(
        description="How the key begins, to tell it from others.", examples=["tw_live_4fzN8x"]
    )
    scopes: list[Scope]
    tenant: str | None = Field(description="The one that it is bound to.")
    created_at: ShownTime
    expires_at: ShownTime | None
    revoked_at: ShownTime | None
    last_used_at: ShownTime | None = Field(description="Exact to a minute.")


class NewKeyOutput(KeyOutput):
    """A new API key; it is shown this once."""

    key: str = Field(examples=["tw_live_..."])


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
    expires_at: ShownTime
