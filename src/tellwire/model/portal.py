"""Portal token: what a page that your customer sees shows instead of an API key. Bound to a tenant, short-lived.

It has no scopes but capabilities, each of which opens a few routes (``api.routes``); every other route refuses it.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

DEFAULT_LIFETIME_S: Final = 3_600
MIN_LIFETIME_S: Final = 60
MAX_LIFETIME_S: Final = 86_400
MAX_SUBJECT_CHARS: Final = 50
SUBJECT_FORM: Final = rf"^[!-~]{{1,{MAX_SUBJECT_CHARS}}}$"


class Capability(StrEnum):
    """What a portal token may do with the things of its tenant."""

    EVENTS_READ = "events:read"
    ENDPOINTS_READ = "endpoints:read"
    ENDPOINTS_WRITE = "endpoints:write"
    SECRETS_READ = "secrets:read"
    SECRETS_ROTATE = "secrets:rotate"
    DELIVERIES_READ = "deliveries:read"
    DELIVERIES_RETRY = "deliveries:retry"


_IMPLIED: Final = {
    Capability.ENDPOINTS_WRITE: Capability.ENDPOINTS_READ,
    Capability.SECRETS_ROTATE: Capability.SECRETS_READ,
    Capability.DELIVERIES_RETRY: Capability.DELIVERIES_READ,
}


class PortalToken(msgspec.Struct, frozen=True):
    """A new portal token; ``token`` is its text, which is kept nowhere."""

    token: str
    tenant: str
    capabilities: tuple[Capability, ...]
    subject: str | None
    expires_at: datetime


def with_implied(capabilities: Iterable[Capability]) -> frozenset[Capability]:
    """The capabilities, and those that they imply: who changes a thing sees it."""
    given = frozenset(capabilities)
    return given | {_IMPLIED[one] for one in given if one in _IMPLIED}
