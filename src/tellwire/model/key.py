"""API key: what a client shows to prove who it is. Only its hash is stored."""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class Scope(StrEnum):
    """What a key may do: publish events; read; manage endpoints and deliveries; administer keys and tenants."""

    PUBLISH = "publish"
    MANAGE = "manage"
    READ = "read"
    ADMIN = "admin"


IMPLIED: Final = {
    Scope.PUBLISH: frozenset({Scope.PUBLISH}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.MANAGE: frozenset({Scope.MANAGE, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}
"""What each scope allows. Who manages reads what comes of it; who can make a key of any scope has them all."""


class ApiKey(msgspec.Struct, frozen=True):
    """A key as lists show it: everything but the key itself.

    ``tenant`` is the one that it is bound to, or None. ``last_used_at`` is exact to a minute.
    """

    id: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    tenant: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the id of an API key (None for the key of the settings), and the tenant that it is bound to, if any.

    A bound caller sees its tenant and nothing else.
    """

    key_id: str | None = None
    tenant: str | None = None

    def sees(self, tenant: str | None) -> str | None:
        """The tenant to look for, where ``tenant`` (or anything, if None) is asked for: never another than its own."""
        if self.tenant is None or tenant == self.tenant:
            return tenant
        return self.tenant if tenant is None else NOBODY


NOBODY: Final = ""
"""No tenant has this id, so nothing is found under it."""
