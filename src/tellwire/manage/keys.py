"""API keys: made here, shown once, kept as a hash; found again by every request that carries one."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from tellwire.clock import Clock
from tellwire.errors import ForbiddenError, InvalidInputError, UnauthorizedError
from tellwire.model.key import ApiKey, Scope
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.store import keys
from tellwire.store.store import Store

from .asked import asked_limit, asked_ms, check_name

PREFIX: Final = "tw_"
_EVERY_SCOPE: Final = frozenset(Scope)
_SHOWN_CHARS: Final = 8
_MAX_KEY_CHARS: Final = 256


class Keys:
    """Create, list and revoke API keys, and tell what a key may do."""

    def __init__(
        self, store: Store, clock: Clock, new_id: Callable[[], bytes], limits: Limits, admin_key: str | None
    ) -> None:
        """``admin_key`` is always accepted, with every scope (setting ``TELLWIRE_ADMIN_KEY``)."""
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._admin_hash = _hash(admin_key) if admin_key else None

    def authorize(self, shown: str | None, scope: Scope) -> None:
        """Let a request pass that shows a good key with ``scope``; runs without I/O on every request.

        Raises:
            UnauthorizedError: no key, or one that is unknown, revoked or expired (which of these is not told).
            ForbiddenError: the key is good and lacks the scope.
        """
        if not shown:
            raise UnauthorizedError("an API key is required: send the header Authorization: Bearer tw_...")
        scopes = self._scopes(shown)
        if scopes is None:
            raise UnauthorizedError("this API key is not known, or no longer good")
        # Who manages reads what comes of it.
        if scope not in scopes and not (scope is Scope.READ and Scope.MANAGE in scopes):
            raise ForbiddenError(scope)

    def _scopes(self, shown: str) -> frozenset[Scope] | None:
        if len(shown) > _MAX_KEY_CHARS:
            return None
        shown_hash = _hash(shown)
        if self._admin_hash is not None and hmac.compare_digest(shown_hash, self._admin_hash):
            return _EVERY_SCOPE
        # The look-up is by a SHA-256 of 256 random bits: its timing says nothing about a key that one does not have.
        key = self._store.roster.keys.get(shown_hash)
        if key is None or not hmac.compare_digest(key.hash, shown_hash):
            return None
        if key.expires_ms is not None and key.expires_ms <= self._clock.now_ms():
            return None
        return key.scopes

    async def create(
        self, name: str, *, scopes: Sequence[str] = tuple(Scope), expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """A new key and, this once, its text.

        Raises:
            InvalidInputError: a name outside 1 to 200 characters, no or unknown scopes, an end in the past.
        """
        check_name(name)
        known = _checked_scopes(scopes)
        now_ms, expires_ms = self._clock.now_ms(), asked_ms("expires_at", expires_at)
        if expires_ms is not None and expires_ms <= now_ms:
            raise InvalidInputError.at("expires_at", msg="lies in the past")
        text = PREFIX + secrets.token_urlsafe(32)
        key_id = self._new_id()
        key = await self._store.write(
            lambda connection: keys.create(
                connection, key_id, name=name, prefix=text[:_SHOWN_CHARS], hash=_hash(text), scopes=known,
                expires_ms=expires_ms, now_ms=now_ms,
            )
        )  # fmt: skip
        return key, text

    async def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        """Keys, newest first, the revoked ones included; never their texts."""
        limit = asked_limit(limit, self._limits)
        return await self._store.read(
            lambda connection: keys.list_page(connection, limit=limit, cursor=cursor)
        )

    async def get(self, id: str) -> ApiKey:
        """One key. Raises NotFoundError."""
        return await self._store.read(lambda connection: keys.get(connection, id))

    async def revoke(self, id: str) -> ApiKey:
        """Make a key useless from now on. Raises NotFoundError."""
        now_ms = self._clock.now_ms()
        return await self._store.write(lambda connection: keys.revoke(connection, id, now_ms=now_ms))


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
