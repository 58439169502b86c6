"""Our own tokens: access tokens that keys are exchanged for (OAuth 2), and portal tokens for your customers' pages.

A token is kept nowhere: what it allows is sealed in its text, and no other can be made without the server's secret key.
So a request that shows one costs no look into the database. It ends with the key that it was got with: that is looked
for in the roster each time; and with its tenant, also where another of the same id is made.

    tw_at_ or tw_pt_ + base64url(sealed by a key that is derived from the secret key; the prefix is bound to it)
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, to_datetime, to_ms
from tellwire.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    SettingsError,
    StoreError,
    UnauthorizedError,
)
from tellwire.model.key import Caller, Grant, Scope, with_implied
from tellwire.model.portal import (
    DEFAULT_LIFETIME_S,
    MAX_LIFETIME_S,
    MAX_SUBJECT_CHARS,
    MIN_LIFETIME_S,
    SUBJECT_FORM,
    Capability,
    PortalToken,
)
from tellwire.model.portal import with_implied as with_implied_capabilities
from tellwire.model.tenant import OPERATIONAL_TENANT, Tenant, TenantState
from tellwire.signing.vault import Vault
from tellwire.store import tenants
from tellwire.store.roster import LiveKey
from tellwire.store.store import Store

from .audit import Audit, Note
from .keys import Keys

ACCESS: Final = "tw_at_"
PORTAL: Final = "tw_pt_"
_MAX_CHARS: Final = 2_048
_ACTOR_CHARS: Final = 64
_SUBJECT: Final = re.compile(SUBJECT_FORM)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


class AccessToken(msgspec.Struct, frozen=True):
    """A new access token: its text, what it may do, and for how many seconds."""

    token: str
    scopes: tuple[Scope, ...]
    expires_in_s: int


class _Access(msgspec.Struct, frozen=True, array_like=True):
    key: bytes
    scopes: tuple[Scope, ...]
    expires_ms: int


class _Portal(msgspec.Struct, frozen=True, array_like=True):
    key: bytes | None
    capabilities: tuple[Capability, ...]
    tenant: str
    tenant_created_ms: int
    subject: str | None
    expires_ms: int


T = TypeVar("T", _Access, _Portal)


class Tokens:
    """Make tokens, and tell what one allows."""

    def __init__(
        self, store: Store, keys: Keys, clock: Clock, vault: Vault, audit: Audit, *, access_s: float
    ) -> None:
        """``access_s`` is how long access tokens live."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._vault = vault.derived(b"tokens")
        self._audit = audit
        self._access_ms = round(access_s * 1000)
        self._read_access = msgspec.msgpack.Decoder(_Access)
        self._read_portal = msgspec.msgpack.Decoder(_Portal)

    def access(self, key: LiveKey, scopes: Sequence[Scope]) -> AccessToken:
        """An access token of ``key``, which has the ``scopes`` and no others. It ends with the key at the latest."""
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + self._access_ms
        if key.expires_ms is not None:
            expires_ms = min(expires_ms, key.expires_ms)
        text = self._sealed(ACCESS, _Access(key.hash, tuple(scopes), expires_ms))
        return AccessToken(text, tuple(scopes), (expires_ms - now_ms) // 1000)

    async def portal(
        self,
        tenant: str,
        capabilities: Sequence[str],
        *,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        subject: str | None = None,
        made_with: str | None = None,
        ends_ms: int | None = None,
    ) -> PortalToken:
        """A portal token of a tenant.

        Args:
            tenant: whose things it gets at, and no others.
            capabilities: what it may do with them; see ``Capability``.
            lifetime_s: 60 to 86,400 seconds.
            subject: whom it is for, as you call them: up to 50 printable ASCII characters without spaces. Its changes
                stand in the audit log under ``portal:`` and this, or the tenant's id if not given.
            made_with: the API key or access token that asks for it: the portal token ends with that key.
            ends_ms: when what it was asked with ends, if it ends no key; the token does not live longer.

        Raises:
            NotFoundError: there is no such tenant.
            ConflictError: it is being deleted.
            InvalidInputError: no or unknown capabilities, another lifetime, a malformed subject.
        """
        known = _checked(capabilities, lifetime_s, subject)
        now_ms, key = self._clock.now_ms(), self._key_of(made_with)
        expires_ms = min(now_ms + lifetime_s * 1000, ends_ms or now_ms + lifetime_s * 1000)

        def note_it(connection: Connection, note: Note) -> Tenant:
            found = tenants.get(connection, tenant)
            if found.state is TenantState.DELETING:
                raise ConflictError(f"tenant {tenant!r} is being deleted")
            if tenant == OPERATIONAL_TENANT:
                raise ConflictError(f"tenant {tenant!r} is Tellwire's own: there are no portal tokens for it")
            made = {"capabilities": known, "subject": subject, "expires_at": to_datetime(expires_ms)}
            note(tenant, tenant, None, made)
            return found

        found = await self._audit.write("tenant.portal_token_made", note_it)
        text = self._sealed(PORTAL, _Portal(key, known, tenant, to_ms(found.created_at), subject, expires_ms))
        return PortalToken(text, tenant, known, subject, to_datetime(expires_ms))

    def find(self, shown: str) -> Grant | None:
        """What a token allows; None for a text that is none of ours. Runs without I/O.

        Raises UnauthorizedError: it has expired or ended with its key or tenant, or was never made here.
        """
        if shown.startswith(ACCESS):
            access = self._opened(ACCESS, shown, self._read_access)
            self._check_time(access.expires_ms)
            key = self._good_key(access.key)
            return Grant(key.caller, with_implied(access.scopes) & key.scopes)
        if shown.startswith(PORTAL):
            return self._portal_grant(self._opened(PORTAL, shown, self._read_portal))
        return None

    def _portal_grant(self, portal: _Portal) -> Grant:
        self._check_time(portal.expires_ms)
        tenant = self._store.roster.tenants.get(portal.tenant)
        if tenant is None or tenant.created_ms != portal.tenant_created_ms:
            raise UnauthorizedError("the tenant of this token is not there any more", shown=True)
        if portal.key is not None:
            self._good_key(portal.key)
        actor = f"portal:{portal.subject or portal.tenant}"[:_ACTOR_CHARS]
        caller = Caller(actor, portal.tenant)
        return Grant(caller, capabilities=with_implied_capabilities(portal.capabilities))

    def _good_key(self, hash: bytes) -> LiveKey:
        key = self._keys.find_hashed(hash)
        if key is None:
            raise UnauthorizedError("the API key of this token is no longer good", shown=True)
        return key

    def _key_of(self, made_with: str | None) -> bytes | None:
        """The hash of the key that stands behind a credential; None behind one that has no key."""
        if made_with is None:
            return None
        if made_with.startswith(ACCESS):
            return self._opened(ACCESS, made_with, self._read_access).key
        key = self._keys.find(made_with)
        return None if key is None else key.hash

    def _check_time(self, expires_ms: int) -> None:
        if expires_ms <= self._clock.now_ms():
            raise UnauthorizedError("the token has expired", shown=True)

    def _sealed(self, prefix: str, content: _Access | _Portal) -> str:
        sealed = self._vault.seal(msgspec.msgpack.encode(content), prefix.encode())
        return prefix + urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def _opened(self, prefix: str, shown: str, read: msgspec.msgpack.Decoder[T]) -> T:
        try:
            text = shown[len(prefix) :]
            if len(text) > _MAX_CHARS or _BASE64URL.fullmatch(text) is None:
                raise ValueError("no text of ours")
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return read.decode(self._vault.open(sealed, prefix.encode()))
        except (ValueError, binascii.Error, SettingsError, StoreError, msgspec.MsgspecError):
            raise UnauthorizedError("this token was not made here", shown=True) from None


def _checked(capabilities: Sequence[str], lifetime_s: int, subject: str | None) -> tuple[Capability, ...]:
    faults: list[FieldError] = []
    known: tuple[Capability, ...] = ()
    try:
        known = tuple(dict.fromkeys(map(Capability, capabilities)))
    except ValueError:
        there = ", ".join(Capability)
        faults.append(FieldError(("capabilities",), f"holds an unknown capability; there are {there}"))
    else:
        if not known:
            faults.append(FieldError(("capabilities",), "must name at least one capability"))
    if not MIN_LIFETIME_S <= lifetime_s <= MAX_LIFETIME_S:
        msg = f"must be {MIN_LIFETIME_S} to {MAX_LIFETIME_S} seconds"
        faults.append(FieldError(("lifetime_s",), msg))
    if subject is not None and not _SUBJECT.fullmatch(subject):
        msg = f"must have 1 to {MAX_SUBJECT_CHARS} printable ASCII characters without spaces"
        faults.append(FieldError(("subject",), msg))
    if faults:
        raise InvalidInputError(faults)
    return known
