"""The audit log: which changes to list, and what is shown of them."""

from typing import Any

from pydantic import Field

from .given import GivenTime, TenantPageQuery, Text
from .shown import Output, ShownTime


class AuditQuery(TenantPageQuery):
    """Which changes."""

    actor: Text | None = Field(
        default=None, description="Only those made by this key, or by `admin`, `local` or `tellwire`."
    )
    subject: Text | None = Field(default=None, description="Only those of the thing with this id.")
    since: GivenTime | None = Field(default=None, description="Made at this time or later.")
    until: GivenTime | None = Field(default=None, description="Made before this time.")


class AuditOutput(Output):
    """One change of the control plane."""

    id: str = Field(examples=["aud_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    at: ShownTime
    action: str = Field(examples=["endpoint.updated"])
    actor: str = Field(
        description="The id of an API key; `jwt:` or `portal:` and a subject; `admin` for the key of the settings; "
        "`local` for the command line and code; `tellwire` for Tellwire itself, which disables endpoints that are gone "
        "or fail for days."
    )
    tenant: str | None = Field(description="Whose thing was changed.")
    subject: str = Field(description="The id of the thing.", examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    request_id: str | None
    before: dict[str, Any] | None = Field(description="The fields that were changed; null for a new thing.")
    after: dict[str, Any] | None = Field(description="The same fields after; null where the thing is gone.")
