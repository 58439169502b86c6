"""The roster: what every publish and every send must know about tenants, endpoints and keys, kept in memory.

An immutable picture of the control plane at one ``revision``. Each change of the control plane raises the revision in
its own transaction; whoever holds an older picture reads only the rows that are newer. So routing inside the publish
transaction costs one small query per commit, and is never out of date.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec
from sqlalchemy import BindParameter, Connection, RowMapping, and_, bindparam, or_, select, update

from tellwire.ids import ENDPOINT, KEY, behind, encode
from tellwire.model.endpoint import EndpointState
from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, EndpointSettings
from tellwire.model.key import Caller, Scope, with_implied
from tellwire.model.limits import MAX_PAYLOAD_HARD_BYTES
from tellwire.model.subscription import Subscription
from tellwire.model.tenant import NO_DEFAULTS, TenantDefaults, TenantLimits
from tellwire.policy.filtering import Filter, Meter, any_matches, event_of
from tellwire.policy.retry import Retries, compile_retries
from tellwire.policy.schema import Schema
from tellwire.policy.shaping import Shapes, compile_shapes
from tellwire.policy.subscribing import Wants, compile_subscriptions
from tellwire.signing.secret import SigningSecret, parse_secret
from tellwire.signing.vault import Vault

from .endpoint_settings import opened_settings
from .event_types import live_schemas
from .signers import LiveSecret, signers
from .tables import endpoints, keys, rearrangements, revisions, secrets, tenants

_MAX_REMEMBERED_TARGETS: Final = 20_000

# Made once: every process asks after each change of the control plane.
_SEEN: Final[BindParameter[int]] = bindparam("seen")
_CHANGED_TENANTS: Final = select(
    tenants.c.id, tenants.c.created_ms, tenants.c.limits, tenants.c.defaults, tenants.c.deleted_ms
).where(tenants.c.revision > _SEEN)
_CHANGED_KEYS: Final = select(keys).where(keys.c.revision > _SEEN)
_ENDPOINTS: Final = select(endpoints, rearrangements.c.behind).outerjoin(
    rearrangements, and_(rearrangements.c.endpoint_id == endpoints.c.id, rearrangements.c.holds == 1)
)


class LiveEndpoint(msgspec.Struct, frozen=True, eq=False):
    """What routing and sending need of an endpoint. ``order`` is None where it has none.

    ``rearranging`` is there while what waits takes its place in a new order (see ``rearranging``): its lane rests, and
    what is published stands behind the delivery with this id.
    """

    id: bytes
    text_id: str
    tenant: str
    url: str
    wants: Wants
    state: EndpointState
    headers: Mapping[str, str]
    secrets: tuple[LiveSecret, ...]
    settings: EndpointSettings = DEFAULT_SETTINGS
    retries: Retries | None = None
    exclusive: bool = False
    shapes: Shapes | None = None
    order: str | None = None
    rearranging: bytes | None = None

    def place_of(self, id: bytes) -> bytes:
        """The id under which a new delivery stands in a sequence behind what was there: ``id``, mostly."""
        return id if self.rearranging is None else behind(id, self.rearranging)

    def signing_secrets(self, now_ms: int) -> list[SigningSecret]:
        """The secrets to sign with now: the current one and those whose overlap has not ended."""
        return [live.secret for live in self.secrets if live.expires_ms is None or live.expires_ms > now_ms]


class Targets(msgspec.Struct, frozen=True, eq=False):
    """The endpoints that may be to receive events of one type.

    ``filters`` stands in the same order, None where no endpoint has any: of the filters of an endpoint, an event has to
    pass one, if there are any.
    """

    endpoints: tuple[LiveEndpoint, ...]
    filters: tuple[tuple[Filter, ...], ...] | None

    def passed(self, type: str, tenant: str, data: bytes, pool: Meter | None) -> tuple[LiveEndpoint, ...]:
        """The endpoints whose filters let this event pass. Its data is parsed once for all of them, if at all."""
        if self.filters is None:
            return self.endpoints
        event = event_of(type, tenant, data, (one for filters in self.filters for one in filters))
        return tuple(
            endpoint
            for endpoint, filters in zip(self.endpoints, self.filters, strict=True)
            if not filters or any_matches(filters, event, pool)
        )


class LiveTenant(msgspec.Struct, frozen=True):
    """What publishing needs of a tenant. One that is being deleted is not in the roster.

    ``created_ms`` tells it from another that had the same id before. ``payload_bytes`` is what the data of its events
    may have at most, ``publish_per_s`` its own rate, if any. ``defaults`` are resolved in its endpoints already.
    """

    created_ms: int
    payload_bytes: int = MAX_PAYLOAD_HARD_BYTES
    publish_per_s: int | None = None
    defaults: TenantDefaults = NO_DEFAULTS


class LiveKey(msgspec.Struct, frozen=True):
    """What authenticating a request needs of an API key; ``scopes`` has what they imply too."""

    hash: bytes
    scopes: frozenset[Scope]
    expires_ms: int | None
    caller: Caller


class Roster:
    """The control plane at ``revision``. Never changed after it is made; ``refresh`` makes the next one."""

    def __init__(
        self,
        revision: int = -1,
        live_tenants: Mapping[str, LiveTenant] | None = None,
        endpoints_by_id: Mapping[bytes, LiveEndpoint] | None = None,
        endpoints_by_tenant: Mapping[str, Mapping[bytes, LiveEndpoint]] | None = None,
        keys_by_hash: Mapping[bytes, LiveKey] | None = None,
        schemas: Mapping[str, Schema] | None = None,
    ) -> None:
        """``endpoints_by_tenant`` has those that are not disabled, ``schemas`` those that publishing asks, by type."""
        self.revision = revision
        self.tenants: Mapping[str, LiveTenant] = live_tenants or {}
        self.endpoints: Mapping[bytes, LiveEndpoint] = endpoints_by_id or {}
        self.keys: Mapping[bytes, LiveKey] = keys_by_hash or {}
        self._by_tenant: Mapping[str, Mapping[bytes, LiveEndpoint]] = endpoints_by_tenant or {}
        self._targets: dict[tuple[str, str], Targets] = {}
        self.schemas = schemas or None

    def has_endpoints(self, tenant: str) -> bool:
        """Whether any endpoint of ``tenant`` is not disabled."""
        return bool(self._by_tenant.get(tenant))

    def targets(
        self, tenant: str, type: str, data: bytes, pool: Meter | None = None
    ) -> tuple[LiveEndpoint, ...]:
        """The endpoints of ``tenant`` that are to receive this event: not disabled, and a subscription wants it.

        By type this is remembered; ``data`` is looked at only where an endpoint has filters for the type. ``pool`` is
        what the tenant's filters may still spend in this transaction.
        """
        found = self._targets.get((tenant, type))
        if found is None:
            found = self._targets_of(tenant, type)
            if len(self._targets) >= _MAX_REMEMBERED_TARGETS:  # type names come from outside: stay bounded
                self._targets.clear()
            self._targets[tenant, type] = found
        return found.endpoints if found.filters is None else found.passed(type, tenant, data, pool)

    def _targets_of(self, tenant: str, type: str) -> Targets:
        asked = [(e, e.wants.filters_for(type)) for e in self._by_tenant.get(tenant, {}).values()]
        found = [(endpoint, filters) for endpoint, filters in asked if filters is not None]
        endpoints_of = tuple(endpoint for endpoint, _ in found)
        if not any(filters for _, filters in found):
            return Targets(endpoints_of, None)
        return Targets(endpoints_of, tuple(filters for _, filters in found))

    def with_changes(
        self,
        revision: int,
        changed_tenants: Mapping[str, LiveTenant | None],
        changed: Mapping[bytes, LiveEndpoint | None],
        changed_keys: Mapping[bytes, LiveKey | None],
        schemas: Mapping[str, Schema] | None = None,
    ) -> "Roster":
        """The next one, with these tenants, endpoints and keys as they are now; None where one is gone.

        ``schemas`` are all of them, or None if they have not changed.

        What did not change is copied as a whole: with 10,000 endpoints a change takes a tenth of a millisecond.
        """
        live, gone = self._tenants_with(changed_tenants)
        keys_by_hash = self._keys_with(changed_keys, gone)
        schemas = self.schemas if schemas is None else schemas
        if not changed and not gone:
            return Roster(revision, live, self.endpoints, self._by_tenant, keys_by_hash, schemas)
        by_id, by_tenant = dict(self.endpoints), dict(self._by_tenant)
        if gone:
            by_id = {id: endpoint for id, endpoint in by_id.items() if endpoint.tenant not in gone}
            for tenant in gone:
                by_tenant.pop(tenant, None)
        fresh: dict[str, dict[bytes, LiveEndpoint]] = {}
        for id, endpoint in changed.items():
            if endpoint is not None and endpoint.tenant not in live:
                continue
            known = by_id.get(id)
            for one in (known, endpoint):
                if one is not None and one.tenant not in fresh:
                    by_tenant[one.tenant] = fresh[one.tenant] = dict(by_tenant.get(one.tenant, {}))
            if endpoint is None:
                by_id.pop(id, None)
            else:
                by_id[id] = endpoint
            if endpoint is not None and endpoint.state is not EndpointState.DISABLED:
                fresh[endpoint.tenant][id] = endpoint
            elif known is not None:
                fresh[known.tenant].pop(id, None)
        return Roster(revision, live, by_id, by_tenant, keys_by_hash, schemas)

    def _tenants_with(
        self, changed: Mapping[str, LiveTenant | None]
    ) -> tuple[Mapping[str, LiveTenant], set[str]]:
        """The tenants as they are now, and those of which nothing is left; another may have taken such an id."""
        if not changed:
            return self.tenants, set()
        live, gone = dict(self.tenants), set[str]()
        for id, tenant in changed.items():
            known = live.pop(id, None)
            if known is not None and (tenant is None or tenant.created_ms != known.created_ms):
                gone.add(id)
            if tenant is not None:
                live[id] = tenant
        return live, gone

    def _keys_with(self, changed: Mapping[bytes, LiveKey | None], gone: set[str]) -> Mapping[bytes, LiveKey]:
        if not changed and not gone:
            return self.keys
        left = {hash: key for hash, key in self.keys.items() if key.caller.tenant not in gone}
        merged = {**left, **changed}
        return {hash: key for hash, key in merged.items() if key is not None}


def raise_revision(connection: Connection) -> int:
    """Count one change of the control plane; the new revision goes into the rows that changed."""
    revision: int = connection.execute(
        update(revisions)
        .where(revisions.c.name == "control")
        .values(value=revisions.c.value + 1)
        .returning(revisions.c.value)
    ).scalar_one()
    return revision


def refresh(connection: Connection, roster: Roster, vault: Vault, revision: int) -> Roster:
    """The roster as of this transaction, which is at ``revision``: the same one where nothing changed."""
    if revision == roster.revision:
        return roster
    if revision < roster.revision:  # a change that was seen has been rolled back: start anew
        roster = Roster()
    seen = roster.revision
    changed_tenants = _changed_tenants(connection, seen)

    def defaults_of(id: str) -> TenantDefaults:
        live = changed_tenants[id] if id in changed_tenants else roster.tenants.get(id)
        return NO_DEFAULTS if live is None else live.defaults

    anew = [
        id
        for id, tenant in changed_tenants.items()
        if tenant is not None and id in roster.tenants and tenant.defaults != roster.tenants[id].defaults
    ]
    return roster.with_changes(
        revision,
        changed_tenants,
        _changed_endpoints(connection, seen, vault, anew, defaults_of),
        _changed_keys(connection, seen),
        live_schemas(connection, seen),
    )


def _changed_tenants(connection: Connection, seen: int) -> dict[str, LiveTenant | None]:
    rows = connection.execute(_CHANGED_TENANTS, {"seen": seen})
    return {
        id: None if deleted_ms is not None else _live_tenant(created_ms, limits, defaults)
        for id, created_ms, limits, defaults, deleted_ms in rows
    }


def _live_tenant(created_ms: int, text: str, defaults: str) -> LiveTenant:
    limits = msgspec.json.decode(text, type=TenantLimits)
    payload_bytes = MAX_PAYLOAD_HARD_BYTES if limits.payload_bytes is None else limits.payload_bytes
    its_defaults = msgspec.json.decode(defaults, type=TenantDefaults)
    return LiveTenant(created_ms, payload_bytes, limits.publish_per_s, its_defaults)


def _changed_endpoints(
    connection: Connection,
    seen: int,
    vault: Vault,
    anew: Collection[str],
    defaults_of: Callable[[str], TenantDefaults],
) -> dict[bytes, LiveEndpoint | None]:
    """The endpoints that have changed, and those of the tenants ``anew``, whose defaults have."""
    since = endpoints.c.revision > _SEEN
    if anew:
        since = or_(since, endpoints.c.tenant.in_(anew))
    changed = connection.execute(_ENDPOINTS.where(since), {"seen": seen}).mappings().all()
    if not changed:
        return {}
    # Not ordered by the database: that would make SQLite go through all secrets in order, after every change.
    rows = connection.execute(
        select(secrets)
        .join(endpoints, endpoints.c.id == secrets.c.endpoint_id)
        .where(since, endpoints.c.deleted_ms.is_(None)),
        {"seen": seen},
    ).mappings()
    secrets_of: dict[bytes, list[LiveSecret]] = {}
    for row in sorted(
        rows, key=lambda row: row["id"], reverse=True
    ):  # the newest, which is current, signs first
        text = vault.open(row["sealed"], row["endpoint_id"]).decode()
        secrets_of.setdefault(row["endpoint_id"], []).append(
            LiveSecret(parse_secret(text), row["expires_ms"])
        )
    return {
        row["id"]: None
        if row["deleted_ms"] is not None
        else _live_endpoint(row, secrets_of.get(row["id"], []), vault, defaults_of(row["tenant"]))
        for row in changed
    }


def _live_endpoint(
    row: RowMapping, live_secrets: list[LiveSecret], vault: Vault, defaults: TenantDefaults
) -> LiveEndpoint:
    subscriptions = msgspec.json.decode(row["subscriptions"], type=list[Subscription])
    settings = opened_settings(vault, row["id"], row["settings"])
    return LiveEndpoint(
        id=row["id"],
        text_id=encode(ENDPOINT, row["id"]),
        tenant=row["tenant"],
        url=row["url"],
        wants=compile_subscriptions(subscriptions),
        state=EndpointState(row["state"]),
        headers=msgspec.json.decode(vault.open(row["headers"], row["id"])),
        secrets=signers(live_secrets, settings.signing, vault),
        settings=settings,
        exclusive=settings.exclusive,
        retries=compile_retries(settings.retry, settings.retry_by_type, defaults.retry),
        shapes=compile_shapes(subscriptions),
        order=None if settings.order == "none" else settings.order,
        rearranging=row["behind"],
    )


def _changed_keys(connection: Connection, seen: int) -> dict[bytes, LiveKey | None]:
    changed = connection.execute(_CHANGED_KEYS, {"seen": seen}).mappings()
    return {row["hash"]: None if row["revoked_ms"] is not None else _live_key(row) for row in changed}


def _live_key(row: RowMapping) -> LiveKey:
    scopes = with_implied(Scope(scope) for scope in row["scopes"].split())
    caller = Caller(encode(KEY, row["id"]), row["tenant"])
    return LiveKey(row["hash"], scopes, row["expires_ms"], caller)
