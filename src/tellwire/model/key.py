"""API key: what a client shows to prove who it is. Only its hash is stored."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from .portal import Capability


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
    """Who asks, and the tenant that it is bound to, if any. A bound caller sees its tenant and nothing else.

    ``actor`` is what the audit log and the rates know it by: the id of an API key, also behind a token that was got
    with it; ``jwt:`` and the subject of a foreign token; ``portal:`` and whom a portal token is for. None is the key
    of the settings.
    """

    actor: str | None = None
    tenant: str | None = None

    def sees(self, tenant: str | None) -> str | None:
        """The tenant to look for, where ``tenant`` (or anything, if None) is asked for: never another than its own."""
        if self.tenant is None or tenant == self.tenant:
            return tenant
        return self.tenant if tenant is None else NOBODY


class Grant(msgspec.Struct, frozen=True):
    """What a token allows: ``scopes`` with what they imply; a portal token has ``capabilities`` instead of any."""

    caller: Caller
    scopes: frozenset[Scope] = frozenset()
    capabilities: frozenset[Capability] | None = None


def with_implied(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """The scopes, and those that they imply."""
    return frozenset[Scope]().union(*(IMPLIED[scope] for scope in scopes))


NOBODY: Final = ""
"""No tenant has this id, so nothing is found under it."""
