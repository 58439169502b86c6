"""Tenant: one of your customers. Owns endpoints and events."""

import re
from datetime import datetime
from typing import Final

import msgspec

DEFAULT_TENANT: Final = "default"
"""Exists from the start, so that who has no customers of their own need not know the word."""

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Tenant(msgspec.Struct, frozen=True):
    """One of your customers, under the id that you call them by."""

    id: str
    name: str
    created_at: datetime


def is_tenant_id(text: str) -> bool:
    """Whether ``text`` can be a tenant's id: 1 to 64 of ``A-Z a-z 0-9 . _ -`` (docs/reference/http-api.md)."""
    return _ID.fullmatch(text) is not None
