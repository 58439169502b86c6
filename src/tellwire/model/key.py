"""API key: what a client shows to prove who it is. Only its hash is stored."""

from datetime import datetime
from enum import StrEnum

import msgspec


class Scope(StrEnum):
    """What a key may do: publish events; manage endpoints, tenants and keys; read."""

    PUBLISH = "publish"
    MANAGE = "manage"
    READ = "read"


class ApiKey(msgspec.Struct, frozen=True):
    """A key as lists show it: everything but the key itself."""

    id: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
