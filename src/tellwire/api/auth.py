"""Who asks, and whether they may: API keys in the ``Authorization`` header, one scope for each route.

``publish`` publishes and nothing else. ``read`` reads events, deliveries, endpoints and tenants. ``manage`` changes
endpoints and deliveries, sees signing secrets, and reads too. ``admin`` makes keys and tenants; since it can make a key
of any scope, it has them all. A key that is bound to a tenant sees that tenant and nothing else, whatever its scopes;
which routes there are for it stands in ``routes``.
"""

from tellwire.errors import StoreError, UnauthorizedError
from tellwire.hub import Tellwire
from tellwire.model.key import Caller, Scope


def bearer(authorization: bytes | None) -> str | None:
    """The token of an ``Authorization: Bearer`` header, or None (RFC 6750 section 2.1)."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip().decode("latin-1")


def authorize(tellwire: Tellwire, authorization: bytes | None, scope: Scope) -> Caller:
    """Let a request pass whose header shows a good key with ``scope``. Raises UnauthorizedError, ForbiddenError."""
    return tellwire.keys.authorize(bearer(authorization), scope)


async def authorize_fresh(tellwire: Tellwire, authorization: bytes | None, scope: Scope) -> Caller:
    """As ``authorize``; a key that is not known is looked for once more: another process may have just made it."""
    try:
        return authorize(tellwire, authorization, scope)
    except UnauthorizedError as error:
        if not error.shown:
            raise
        try:
            await tellwire.keys.catch_up()
        except StoreError:  # then what is known decides
            raise error from None
        return authorize(tellwire, authorization, scope)
