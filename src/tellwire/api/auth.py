"""Who asks, and whether they may: a credential in the ``Authorization`` header, one scope for each route.

``publish`` publishes and nothing else. ``read`` reads events, deliveries, endpoints and tenants. ``manage`` changes
endpoints and deliveries, sees signing secrets, and reads too. ``admin`` makes keys and tenants; since it can make a key
of any scope, it has them all. Who is bound to a tenant sees that tenant and nothing else, whatever the scopes; which
routes there are for such a caller stands in ``routes``.

The credential is an API key; or a token that was got with one; or a portal token, which has capabilities and no scopes;
or, where the settings name an issuer, a token of that issuer. Keys are looked for first: a request that shows one pays
nothing for the rest.
"""

from tellwire.errors import ForbiddenError, StoreError, UnauthorizedError
from tellwire.hub import Tellwire
from tellwire.model.key import Caller, Grant, Scope
from tellwire.model.portal import Capability

from .issuer import Issuer


def bearer(authorization: bytes | None) -> str | None:
    """The token of an ``Authorization: Bearer`` header, or None (RFC 6750 section 2.1)."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip().decode("latin-1")


class Door:
    """Lets requests in that show a good credential."""

    def __init__(self, tellwire: Tellwire, issuer: Issuer | None = None) -> None:
        self._tellwire = tellwire
        self._keys = tellwire.keys
        self._issuer = issuer

    def authorize(
        self, authorization: bytes | None, scope: Scope, capability: Capability | None = None
    ) -> Caller:
        """Let a request pass whose header shows a good credential with ``scope``, or a portal token's ``capability``.

        Runs without I/O.

        Raises:
            UnauthorizedError: there is none, or it is not good.
            ForbiddenError: it is good, and may not do this.
            RefusedError: 503, it cannot be told whether it is good.
        """
        shown = bearer(authorization)
        if not shown:
            raise UnauthorizedError("an API key is required: send the header Authorization: Bearer tw_...")
        grant = self._keys.find(shown) or self._grant(shown)
        if scope in grant.scopes:
            return grant.caller
        if isinstance(grant, Grant) and grant.capabilities is not None:
            if capability in grant.capabilities:
                return grant.caller
            raise ForbiddenError(scope, portal=True, capability=capability)
        raise ForbiddenError(scope)

    async def authorize_fresh(
        self, authorization: bytes | None, scope: Scope, capability: Capability | None = None
    ) -> Caller:
        """As ``authorize``, but what is not known is looked for once more.

        Another process may have just made the key, the issuer may have a new one.
        """
        try:
            return self.authorize(authorization, scope, capability)
        except UnauthorizedError as error:
            if not error.shown or not await self._learned(bearer(authorization) or ""):
                raise
        return self.authorize(authorization, scope, capability)

    def ends_ms(self, authorization: bytes | None) -> int | None:
        """When the credential of an authorized request ends, where it is a token of the issuer; else None."""
        shown = bearer(authorization) or ""
        if self._issuer is None or not _is_jwt(shown) or self._keys.find(shown) is not None:
            return None
        return self._issuer.ends_ms(shown)

    def _grant(self, shown: str) -> Grant:
        grant = self._tellwire.tokens.find(shown)
        if grant is None and self._issuer is not None and _is_jwt(shown):
            grant = self._issuer.find(shown)
        if grant is None:
            raise UnauthorizedError("this API key is not known, or no longer good", shown=True)
        return grant

    async def _learned(self, shown: str) -> bool:
        """Whether it is worth looking at a credential once more."""
        if self._issuer is not None and _is_jwt(shown):
            return await self._issuer.look_again(shown)
        try:
            await self._keys.catch_up()
        except StoreError:  # then what is known decides
            return False
        return True


def _is_jwt(shown: str) -> bool:
    return shown.count(".") == 2
