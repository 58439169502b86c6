"""Tenant: one of your customers. Owns endpoints and events."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .retry import RetryPolicy
from .subscription import Envelope
from .verification import Verification

DEFAULT_TENANT: Final = "default"
"""Exists from the start, so that who has no customers of their own need not know the word."""

OPERATIONAL_TENANT: Final = "@tellwire"
"""Tellwire's own: its events tell what happens in Tellwire itself. Not an id that anybody can give or publish to."""

MAX_TENANT_ENDPOINTS: Final = 1_000_000
"""No limit of a tenant's own allows it more endpoints."""

MAX_PUBLISH_PER_S: Final = 1_000_000

TENANT_ID_FORM: Final = r"^[A-Za-z0-9._-]{1,64}$"
_ID: Final = re.compile(TENANT_ID_FORM)


class TenantState(StrEnum):
    """Whether a tenant is there, or being removed with everything of its own."""

    ACTIVE = "active"
    DELETING = "deleting"


class TenantLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tenant's own limits; None leaves it with the server's (``model.limits``).

    Attributes:
        endpoints: how many it may have, fewer or more than ``endpoints_per_tenant``.
        payload_bytes: the data of one of its events; never more than the server's ``payload_bytes``.
        publish_per_s: events that it may publish a second over HTTP, in each process of the server.
    """

    endpoints: int | None = None
    payload_bytes: int | None = None
    publish_per_s: int | None = None


class TenantDefaults(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What endpoints of a tenant have where they do not say it themselves; None leaves it with the server.

    Attributes:
        retry: when a failed attempt is followed by another. An endpoint's own ``retry`` comes first, part by part.
        envelope: the form in which a new subscription sends events. It is written into the subscription when that is
            made, because a receiver that is there already reads the form that it has always got.
    """

    retry: (
        Annotated[
            RetryPolicy,
            Meta(
                description="When a failed attempt is followed by another, where an endpoint does not say it itself; "
                "as the server says if null.",
                examples=[{"delays_s": [5, 300, 3600], "max_age_s": 86_400}],
            ),
        ]
        | None
    ) = None
    envelope: (
        Annotated[
            Envelope,
            Meta(
                description="The form in which new subscriptions send events, where they do not say it themselves; "
                "`standard` if null. Subscriptions that are there stay as they are.",
                examples=["cloudevents"],
            ),
        ]
        | None
    ) = None


NO_DEFAULTS: Final = TenantDefaults()


class Tenant(msgspec.Struct, frozen=True):
    """One of your customers, under the id that you call them by.

    ``verification`` is how new URLs of its endpoints are verified; None: as the server says. ``defaults`` are those
    of its endpoints.
    """

    id: str
    name: str
    metadata: Mapping[str, str]
    limits: TenantLimits
    state: TenantState
    created_at: datetime
    verification: Verification | None = None
    defaults: TenantDefaults = NO_DEFAULTS


def is_tenant_id(text: str) -> bool:
    """Whether ``text`` can be a tenant's id: 1 to 64 of ``A-Z a-z 0-9 . _ -`` (docs/reference/http-api.md).

    ``.`` and ``..`` cannot: clients would take them out of the path of a URL (RFC 3986 section 5.2.4).
    """
    return _ID.fullmatch(text) is not None and text not in {".", ".."}
