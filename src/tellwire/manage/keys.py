"""API keys: made here, shown once, kept as a hash; found again by every request that carries one."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, to_ms
from tellwire.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
)
from tellwire.model.key import ApiKey, Caller, Scope
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.signing.api_key import SHOWN_CHARS, is_forged, key_text
from tellwire.store import keys
from tellwire.store.keys import NewKey
from tellwire.store.roster import LiveKey
from tellwire.store.store import Store

from .asked import asked_limit, asked_ms, check_name
from .audit import Audit, Note
from .endpoints import DEFAULT_OVERLAP_S, MAX_OVERLAP_S
from .last_uses import LastUses

_MAX_KEY_CHARS: Final = 256


class Keys:
    """Create, list, rotate and revoke API keys, and tell what a key may do."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        limits: Limits,
        admin_key: str | None,
        audit: Audit,
        *,
        test: bool = False,
    ) -> None:
        """``admin_key`` is always accepted, with every scope (setting ``TELLWIRE_ADMIN_KEY``).

        ``test``: keys that are made here begin with ``tw_test_``.
        """
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._audit = audit
        self._test = test
        self._admin = LiveKey(_hash(admin_key), frozenset(Scope), None, Caller()) if admin_key else None
        self._looking: asyncio.Task[None] | None = None
        self._one_look = asyncio.Lock()
        self.last_uses = LastUses(store, clock)

    async def catch_up(self) -> None:
        """Take in what other processes have changed: a key that is not known here may be a moment old.

        Who comes while a look waits for its turn shares it: so many wrong keys cost the database hardly more than one.
        Raises StoreError.
        """
        looking = self._looking
        if looking is None:
            looking = self._looking = asyncio.create_task(self._look())
        await asyncio.shield(looking)

    async def _look(self) -> None:
        async with self._one_look:
            self._looking = None
            await self._store.write(
                lambda _: None
            )  # after each transaction, the roster is that of the database

    def find(self, shown: str) -> LiveKey | None:
        """The good key of this text; runs without I/O on every request.

        None for one that is unknown, revoked or expired, or whose tenant is deleted: which of these is not told.
        """
        if len(shown) > _MAX_KEY_CHARS:
            return None
        shown_hash = _hash(shown)
        admin = self._admin
        if admin is not None and hmac.compare_digest(shown_hash, admin.hash):
            return admin
        if is_forged(shown):
            return None
        return self._good(shown_hash)

    def find_hashed(self, hash: bytes) -> LiveKey | None:
        """The good key of this hash, which stands in a token that was got with it. The key of the settings too."""
        admin = self._admin
        if admin is not None and hmac.compare_digest(hash, admin.hash):
            return admin
        return self._good(hash)

    def _good(self, shown_hash: bytes) -> LiveKey | None:
        # The look-up is by a SHA-256 of 256 random bits: its timing says nothing about a key that one does not have.
        roster = self._store.roster
        key = roster.keys.get(shown_hash)
        if key is None or not hmac.compare_digest(key.hash, shown_hash):
            return None
        if key.expires_ms is not None and key.expires_ms <= self._clock.now_ms():
            return None
        caller = key.caller
        if caller.tenant is not None and caller.tenant not in roster.tenants:
            return None
        self.last_uses.note(caller.actor)  # type: ignore[arg-type] # only the key of the settings has none
        return key

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = tuple(Scope),
        tenant: str | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and, this once, its text.

        Args:
            name: what it is for.
            scopes: what it may do.
            tenant: bind it to this tenant, which is then all that it sees; with ``admin`` it can make keys of the
                same tenant.
            expires_at: when it ends; never if not given.

        Raises:
            InvalidInputError: a name outside 1 to 200 characters, no or unknown scopes, an unknown tenant, an end in
                the past.
            LimitExceededError: the tenant has as many good keys as it may have.
        """
        check_name(name)
        known = _checked_scopes(scopes)
        if tenant == OPERATIONAL_TENANT:
            msg = f"{tenant!r} is Tellwire's own: no key is bound to it; one that is bound to none gets at it"
            raise InvalidInputError.at("tenant", msg=msg)
        now_ms = self._clock.now_ms()
        text, new = self._draw(name, known, tenant, self._end_ms(expires_at, now_ms))

        def create(connection: Connection, note: Note) -> ApiKey:
            try:
                key = keys.create(connection, new, now_ms=now_ms)
            except NotFoundError as error:
                raise InvalidInputError.at("tenant", msg=str(error)) from None
            self._check_room(connection, tenant, now_ms)
            note(key.id, tenant, None, key)
            return key

        return await self._audit.write("key.created", create), text

    async def list(
        self, *, tenant: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[ApiKey]:
        """Keys, newest first, the revoked ones included; never their texts. ``tenant``: only those bound to it."""
        limit = asked_limit(limit, self._limits)
        return await self._store.read(
            lambda connection: keys.list_page(connection, tenant=tenant, limit=limit, cursor=cursor)
        )

    async def get(self, id: str) -> ApiKey:
        """One key. Raises NotFoundError."""
        return await self._store.read(lambda connection: keys.get(connection, id))

    async def rotate(
        self, id: str, *, overlap_s: int = DEFAULT_OVERLAP_S, expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """A new key like an old one, which stays good for ``overlap_s`` more (0 to 30 days), and the new one's text.

        The new key lives as long as the old one was made to live, unless ``expires_at`` says otherwise.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: it is revoked or has expired.
            InvalidInputError: a malformed overlap; an end in the past.
            LimitExceededError: the tenant has as many good keys as it may have, and the old one is to stay good.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidInputError.at("overlap_s", msg=f"must be 0 to {MAX_OVERLAP_S} seconds")
        now_ms = self._clock.now_ms()
        end_ms = self._end_ms(expires_at, now_ms)

        def rotate(connection: Connection, note: Note) -> tuple[ApiKey, str]:
            old = keys.get(connection, id)
            old_end_ms = None if old.expires_at is None else to_ms(old.expires_at)
            if old.revoked_at is not None or (old_end_ms is not None and old_end_ms <= now_ms):
                raise ConflictError(f"key {id!r} is no longer good: make a new one")
            lifetime_ms = None if old_end_ms is None else old_end_ms - to_ms(old.created_at)
            later_ms = None if lifetime_ms is None else now_ms + lifetime_ms
            text, new = self._draw(old.name, old.scopes, old.tenant, end_ms or later_ms)
            key = keys.create(connection, new, now_ms=now_ms)
            keys.expire(connection, id, at_ms=now_ms + overlap_s * 1000)
            self._check_room(connection, old.tenant, now_ms)  # without an overlap, the old one makes room
            after = msgspec.structs.asdict(keys.get(connection, id)) | {"rotated_to": key.id}
            note(id, old.tenant, old, after)
            return key, text

        return await self._audit.write("key.rotated", rotate)

    async def revoke(self, id: str) -> ApiKey:
        """Make a key useless from now on. Raises NotFoundError."""
        now_ms = self._clock.now_ms()

        def revoke(connection: Connection, note: Note) -> ApiKey:
            before = keys.get(connection, id)
            after = keys.revoke(connection, id, now_ms=now_ms)
            note(id, after.tenant, before, after)
            return after

        return await self._audit.write("key.revoked", revoke)

    def _draw(
        self, name: str, scopes: tuple[Scope, ...], tenant: str | None, expires_ms: int | None
    ) -> tuple[str, NewKey]:
        text = key_text(secrets.token_bytes(32), test=self._test)
        new = NewKey(self._new_id(), name, text[:SHOWN_CHARS], _hash(text), scopes, tenant, expires_ms)
        return text, new

    def _end_ms(self, expires_at: datetime | None, now_ms: int) -> int | None:
        expires_ms = asked_ms("expires_at", expires_at)
        if expires_ms is not None and expires_ms <= now_ms:
            raise InvalidInputError.at("expires_at", msg="lies in the past")
        return expires_ms

    def _check_room(self, connection: Connection, tenant: str | None, now_ms: int) -> None:
        most = self._limits.keys_per_tenant
        if tenant is not None and keys.count_good(connection, tenant, now_ms=now_ms) > most:
            fault = FieldError(("tenant",), f"tenant {tenant!r} has {most} good keys, which is the limit")
            raise LimitExceededError([fault], limit="keys_per_tenant", maximum=most)


def _checked_scopes(scopes: Sequence[str]) -> tuple[Scope, ...]:
    try:
        known = tuple(dict.fromkeys(map(Scope, scopes)))
    except ValueError:
        raise InvalidInputError.at(
            "scopes", msg=f"holds an unknown scope; there are {', '.join(Scope)}"
        ) from None
    if not known:
        raise InvalidInputError.at("scopes", msg="must name at least one scope")
    return known


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
