"""Tenants: your customers, under the ids that you call them by."""

from tellwire.clock import Clock
from tellwire.errors import InvalidInputError
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.tenant import Tenant, is_tenant_id
from tellwire.store import tenants
from tellwire.store.store import Store

from .asked import asked_limit, check_name


class Tenants:
    """Create, get and list tenants."""

    def __init__(self, store: Store, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits

    async def create(self, id: str, *, name: str | None = None) -> Tenant:
        """Make a tenant known; its name is its id unless one is given.

        Raises:
            InvalidInputError: the id has other characters than ``A-Z a-z 0-9 . _ -``, or more than 64.
            ConflictError: there is one of that id.
        """
        if not is_tenant_id(id):
            raise InvalidInputError.at("id", msg="must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
        name = id if name is None else name
        check_name(name)
        now_ms = self._clock.now_ms()
        return await self._store.write(lambda connection: tenants.create(connection, id, name, now_ms=now_ms))

    async def get(self, id: str) -> Tenant:
        """One tenant. Raises NotFoundError."""
        return await self._store.read(lambda connection: tenants.get(connection, id))

    async def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Tenant]:
        """Tenants by id."""
        limit = asked_limit(limit, self._limits)
        return await self._store.read(
            lambda connection: tenants.list_page(connection, limit=limit, cursor=cursor)
        )
