"""Tenants, with their limits and defaults."""

from typing import Annotated, Any, Final

import msgspec
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from tellwire.model.limits import MAX_PAYLOAD_HARD_BYTES
from tellwire.model.subscription import Envelope
from tellwire.model.tenant import (
    MAX_PUBLISH_PER_S,
    MAX_TENANT_ENDPOINTS,
    TenantDefaults,
    TenantLimits,
    TenantState,
)
from tellwire.model.verification import Verification
from tellwire.publish.strict_json import with_decimals

from .given import Body, Whole
from .saying import Name, TenantId, says
from .setting_fields import given_of, patches_of, schemas_of
from .shown import Output, ShownTime

_RETRY: Final = given_of(TenantDefaults)["retry"]
_RETRY_PATCH: Final = patches_of(TenantDefaults)["retry"]


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
    created_at: ShownTime
    verification: Verification | None = Field(
        description="How new URLs of its endpoints are verified; as the server says if null."
    )
