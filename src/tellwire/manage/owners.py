"""Whose things are: a caller that is bound to a tenant finds what is its own, and nothing else is there for it."""

from tellwire.errors import NotFoundError
from tellwire.model.key import Caller
from tellwire.store.owners import owner_of
from tellwire.store.store import Store


async def check_owner(store: Store, caller: Caller, kind: str, id: str) -> None:
    """Let a bound caller pass to its own. Raises NotFoundError, for what is another's as for what is not there.

    Asked before the request is done, in a transaction of its own: what a thing belongs to never changes.
    """
    tenant = caller.tenant
    if tenant is not None and await store.read(lambda connection: owner_of(connection, kind, id)) != tenant:
        raise NotFoundError(kind, id)
