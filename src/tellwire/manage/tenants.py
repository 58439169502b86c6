"""Tenants: your customers, under the ids that you call them by. Made, changed, removed with everything of theirs."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import ConflictError, InvalidInputError
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.tenant import (
    DEFAULT_TENANT,
    MAX_PUBLISH_PER_S,
    MAX_TENANT_ENDPOINTS,
    OPERATIONAL_TENANT,
    Tenant,
    TenantLimits,
    TenantState,
    is_tenant_id,
)
from tellwire.model.verification import Verification
from tellwire.store import tenants
from tellwire.store.store import Store

from .asked import asked_limit, check_metadata, check_name, merged
from .audit import Audit, Note
from .tenant_defaults import defaults_after


class Tenants:
    """Create, change, look at and delete tenants."""

    def __init__(self, store: Store, clock: Clock, limits: Limits, audit: Audit) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._audit = audit

    async def create(
        self,
        id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limits: TenantLimits | None = None,
        verification: Verification | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Tenant:
        """Make a tenant known.

        Args:
            id: your own.
            name: for people; the id if not given.
            metadata: yours; Tellwire only keeps it.
            limits: its own, where they are to differ from the server's.
            verification: how new URLs of its endpoints are verified; as the server says if not given.
            defaults: of its endpoints, by the names of ``TenantDefaults``.

        Raises:
            InvalidInputError: the id has other characters than ``A-Z a-z 0-9 . _ -``, or more than 64; a limit that
                cannot be.
            LimitExceededError: too much metadata.
            ConflictError: there is one of that id, or one is being deleted.
        """
        if not is_tenant_id(id):
            raise InvalidInputError.at(
                "id", msg="must be 1 to 64 characters of A-Z a-z 0-9 . _ -, and not . or .."
            )
        name = id if name is None else name
        metadata, limits = dict(metadata or {}), limits or TenantLimits()
        self._check(name, metadata, limits)
        its_defaults = defaults_after(defaults)
        now_ms = self._clock.now_ms()

        def create(connection: Connection, note: Note) -> Tenant:
            tenant = tenants.create(
                connection,
                id,
                name,
                metadata=metadata,
                limits=limits,
                verification=verification,
                defaults=its_defaults,
                now_ms=now_ms,
            )
            note(id, id, None, tenant)
            return tenant

        return await self._audit.write("tenant.created", create)

    async def get(self, id: str) -> Tenant:
        """One tenant. Raises NotFoundError."""
        return await self._store.read(lambda connection: tenants.get(connection, id))

    async def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Tenant]:
        """Tenants by id. ``@tellwire``, which is nobody's, is not among them."""
        limit = asked_limit(limit, self._limits)
        return await self._store.read(
            lambda connection: tenants.list_page(connection, limit=limit, cursor=cursor)
        )

    async def update(self, id: str, patch: Mapping[str, Any]) -> Tenant:
        """Change what ``patch`` names, as a JSON merge patch: None clears, ``metadata`` and ``limits`` merge.

        Keys: ``name`` (cleared, it is the id again), ``metadata``, ``limits`` (a mapping with the fields of
        ``TenantLimits``), ``verification`` (cleared, it is as the server says), ``defaults`` (a mapping with the
        fields of ``TenantDefaults``, which merges too; all endpoints of the tenant go by what comes of it).

        Raises:
            NotFoundError: there is no such tenant.
            ConflictError: it is being deleted, or it is ``@tellwire``.
            InvalidInputError, LimitExceededError: as for ``create``.
        """
        _refuse_own(id)

        def change(connection: Connection, note: Note) -> Tenant:
            before = tenants.get(connection, id)
            if before.state is TenantState.DELETING:
                raise ConflictError(f"tenant {id!r} is being deleted, and cannot be changed any more")
            fields: dict[str, Any] = {}
            if "name" in patch:
                fields["name"] = id if patch["name"] is None else patch["name"]
            if "metadata" in patch:
                fields["metadata"] = merged(before.metadata, patch["metadata"])
            if "verification" in patch:
                fields["verification"] = _verification(patch["verification"])
            if "defaults" in patch:
                fields["defaults"] = defaults_after(patch["defaults"], before.defaults)
            if "limits" in patch:
                fields["limits"] = _limits(before.limits, patch["limits"])
            self._check(
                fields.get("name", before.name),
                fields.get("metadata", {}),
                fields.get("limits", TenantLimits()),
            )
            after = tenants.change(connection, id, fields)
            note(id, id, before, after)
            return after

        return await self._audit.write("tenant.updated", change)

    async def delete(self, id: str) -> Tenant:
        """Remove a tenant with its endpoints, secrets, events, deliveries and attempts.

        It publishes and delivers no more when this returns. What is stored goes a few seconds later and in small
        pieces, by the engine of whichever process delivers; until then the tenant is there as ``deleting``, and its id
        is taken.

        Raises:
            NotFoundError: there is no such tenant.
            ConflictError: it is ``default`` or ``@tellwire``.
        """
        _refuse_own(id)
        if id == DEFAULT_TENANT:
            raise ConflictError("the tenant 'default' cannot be deleted: it is there from the start")
        now_ms = self._clock.now_ms()

        def delete(connection: Connection, note: Note) -> Tenant:
            before = tenants.get(connection, id)
            after = tenants.mark_deleted(connection, id, now_ms=now_ms)
            note(id, id, before, after)
            return after

        return await self._audit.write("tenant.deleted", delete)

    def _check(self, name: str, metadata: Mapping[str, str], limits: TenantLimits) -> None:
        check_name(name)
        check_metadata(metadata, self._limits)
        if limits.endpoints is not None and not 0 <= limits.endpoints <= MAX_TENANT_ENDPOINTS:
            raise InvalidInputError.at("limits", "endpoints", msg=f"must be 0 to {MAX_TENANT_ENDPOINTS}")
        if limits.publish_per_s is not None and not 1 <= limits.publish_per_s <= MAX_PUBLISH_PER_S:
            raise InvalidInputError.at("limits", "publish_per_s", msg=f"must be 1 to {MAX_PUBLISH_PER_S}")
        most = self._limits.payload_bytes
        if limits.payload_bytes is not None and not 1 <= limits.payload_bytes <= most:
            msg = f"must be 1 to {most}, which is the server's own limit"
            raise InvalidInputError.at("limits", "payload_bytes", msg=msg)


def _refuse_own(id: str) -> None:
    if id == OPERATIONAL_TENANT:
        raise ConflictError(f"the tenant {id!r} is Tellwire's own, and cannot be changed or deleted")


def _verification(given: object) -> Verification | None:
    try:
        return None if given is None else Verification(str(given))
    except ValueError:
        words = ", ".join(Verification)
        raise InvalidInputError.at("verification", msg=f"must be one of {words}, or null") from None


def _limits(before: TenantLimits, patch: Mapping[str, int | None] | None) -> TenantLimits:
    if patch is None:
        return TenantLimits()
    try:
        return msgspec.convert({**msgspec.to_builtins(before), **patch}, TenantLimits)
    except msgspec.ValidationError as error:
        raise InvalidInputError.at("limits", msg=str(error)) from None
