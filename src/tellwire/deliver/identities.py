"""Identities: HTTP clients that show a client certificate (mutual TLS), apart from all others.

Place in the life of an event: where an endpoint has one, the transport takes its route from here. A connection
belongs to the client that made it, so an identity has cohorts and routes of its own: no request of another endpoint
can travel on a connection that was made with somebody's certificate, and private authorities are trusted by it alone.

As many are kept as are worth their memory (two clients each, 120 KB); beyond that, the one that was not used for
longest is forgotten, and made anew (16 ms in a thread) when it is wanted again. What it has in flight ends as
if nothing had happened.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from tellwire.model.attempt import AttemptError
from tellwire.model.authentication import MutualTls

from .cohorts import ClientRecipe, Cohort, Cohorts, certificates_in
from .routes import RouteError, Routes

MAX_IDENTITIES: Final = 256

MakeRoutes = Callable[[Cohorts, Cohort], Routes]


class _Way(msgspec.Struct, frozen=True, eq=False):
    routes: Routes
    cohorts: Cohorts
    literals: Cohort


class Identities:
    """Routes by identity; ``recipe`` makes the clients but for their certificate."""

    def __init__(self, recipe: ClientRecipe, make_routes: MakeRoutes, *, most: int = MAX_IDENTITIES) -> None:
        self._recipe = recipe
        self._make_routes = make_routes
        self._most = most
        self._ways: dict[MutualTls, _Way] = {}  # the one that was used last is last
        self._making = asyncio.Lock()

    async def routes(self, identity: MutualTls) -> Routes:
        """The routes of one identity. Raises RouteError where its certificate cannot be used."""
        way = self._ways.pop(identity, None)
        if way is None:
            way = await self._make(identity)
        self._ways[identity] = way
        return way.routes

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""
        ways, self._ways = list(self._ways.values()), {}
        for way in ways:
            await way.routes.aclose()
            await way.cohorts.aclose()
            await way.literals.client.close()

    async def _make(self, identity: MutualTls) -> _Way:
        async with self._making:
            if identity in self._ways:
                return self._ways[identity]
            recipe = msgspec.structs.replace(
                self._recipe,
                roots=(*self._recipe.roots, *certificates_in(identity.ca.encode())),
                identity=f"{identity.key.strip()}\n{identity.certificate.strip()}\n".encode(),
            )
            try:
                literals = Cohort(await asyncio.to_thread(recipe, {}), {})
            except ValueError:
                detail = (
                    "the client certificate, its key or the authorities cannot be used by the HTTP client"
                )
                raise RouteError(AttemptError.TLS, detail) from None
            cohorts = Cohorts(recipe)
            while len(self._ways) >= self._most:
                del self._ways[next(iter(self._ways))]
            way = self._ways[identity] = _Way(self._make_routes(cohorts, literals), cohorts, literals)
            return way
