"""Routes: from a URL to the vetted address, and the client pinned to it, through which to send.

Place in the life of an event: the transport asks for the route of each attempt. A known route costs one
look-up and one comparison. Otherwise the URL passes the egress guard, its name is resolved, every address
is judged, and the host is placed in a cohort at one of them.

Answers age. When one is stale, sends go on to the address that was vetted while the next answer is asked
for, up to a minute; then they wait for it.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final

from pyreqwest.http import Url

from tellwire.model.attempt import AttemptError

from .cohorts import Cohort, Cohorts
from .egress import EgressPolicy, Target, is_allowed, vet_url
from .resolver import ResolveError, Resolver

_USABLE_S: Final = 60.0
_REFRESH_EVERY_S: Final = 1.0
_SUSPECT_S: Final = 10.0
_MAX_ADDRESSES: Final = 4  # of one host that are tried
_MAX_HOSTS: Final = 20_000
_MAX_ROUTES: Final = 50_000
_FOREVER: Final = float("inf")


class RouteError(Exception):
    """There is no way to a URL: ``error`` is the class, the text a sentence. Internal to ``deliver``."""

    def __init__(self, error: AttemptError, detail: str) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail


class Host:
    """Where a host was found, through whom it is reached, and until when that may be believed (monotonic)."""

    __slots__ = (
        "address",
        "addresses",
        "cohort",
        "fresh_until",
        "name",
        "suspects",
        "suspects_until",
        "usable_until",
    )

    def __init__(self, name: str, cohort: Cohort | None, address: str) -> None:
        self.name = name
        self.cohort = cohort
        self.address = address
        self.addresses: tuple[str, ...] = (address,)
        self.fresh_until = self.usable_until = _FOREVER
        self.suspects: set[str] = set()
        self.suspects_until = 0.0

    def doubt(self) -> None:
        """Believe nothing of it any more: the next send asks anew and waits for the answer."""
        self.fresh_until = self.usable_until = 0.0


class Route:
    """A URL that passed the guard, as the client reads it, and its host.

    ``authority`` is host and port as a request names them, ``path`` has the query with it.
    """

    __slots__ = ("authority", "host", "path", "port", "url")

    def __init__(self, target: Target, host: Host) -> None:
        self.url = Url(target.url)  # parsed once: the client would parse a string for every attempt
        self.host = host
        self.port = target.port
        self.authority, _, path = target.url.partition("://")[2].partition("/")
        self.path = f"/{path}"


class Routes:
    """Finds and remembers routes; names go to ``cohorts``, IP literals to ``literals``, which pins none.

    Without them, hosts have an address and no client.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        resolver: Resolver,
        cohorts: Cohorts | None = None,
        literals: Cohort | None = None,
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._cohorts = cohorts
        self._literals = literals
        self._routes: dict[str, Route] = {}
        self._hosts: dict[str, Host] = {}
        self._vetting: dict[str, asyncio.Task[Host]] = {}
        self.get = self._routes.get
        """The known route of a URL, or None; to be used only while its host's ``fresh_until`` lies ahead."""

    async def find(self, url: str, timeout_s: float) -> Route:
        """The route of ``url``, where none is known or its host is no longer fresh.

        Raises:
            RouteError: refused, unknown, or not found in time.
        """
        now = monotonic()
        route = self._routes.get(url)
        if route is not None and now < route.host.usable_until:
            route.host.fresh_until = now + _REFRESH_EVERY_S
            self._vet(route.host.name)
            return route
        target = vet_url(url, self._policy)
        if isinstance(target, str):
            raise RouteError(AttemptError.REFUSED_ADDRESS, f"the endpoint URL is refused: {target}")
        host = await self._find_host(target, timeout_s)
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        route = self._routes[url] = Route(target, host)
        return route

    async def turn_to_next(self, host: Host, failed: str, timeout_s: float) -> bool:
        """Whether ``host`` is now pinned to another vetted address than ``failed``, which let nobody connect.

        Addresses that failed are left alone for ten seconds, so a dead host does not keep its cohort moving.
        """
        now = monotonic()
        if now >= host.suspects_until:
            host.suspects.clear()
            host.suspects_until = now + _SUSPECT_S
        host.suspects.add(failed)
        if host.address not in host.suspects:
            return True
        address = next((other for other in host.addresses if other not in host.suspects), None)
        if address is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                host.cohort, host.address = await self._place(host.name, address)
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Forget everything and stop looking."""
        for task in tuple(self._vetting.values()):
            task.cancel()
        self._routes.clear()
        self._hosts.clear()

    async def _find_host(self, target: Target, timeout_s: float) -> Host:
        if target.address is not None:
            return Host(target.host, self._literals, str(target.address))
        host = self._hosts.get(target.host)
        if host is not None and monotonic() < host.fresh_until:
            return host
        try:
            async with asyncio.timeout(timeout_s):
                # Whoever gives up waiting must not take the answer away from the others.
                return await asyncio.shield(self._vet(target.host))
        except ResolveError as error:
            detail = f"the name {target.host} could not be resolved: {error}"
            raise RouteError(AttemptError.DNS, detail) from None
        except TimeoutError:
            detail = f"finding the address of {target.host} took longer than {timeout_s:g} s"
            raise RouteError(AttemptError.TIMEOUT, detail) from None

    def _vet(self, name: str) -> "asyncio.Task[Host]":
        task = self._vetting.get(name)
        if task is None:
            task = self._vetting[name] = asyncio.create_task(self._resolve_and_place(name))
            task.add_done_callback(lambda done: self._vetted(name, done))
        return task

    def _vetted(self, name: str, task: "asyncio.Task[Host]") -> None:
        del self._vetting[name]
        host = self._hosts.get(name)
        if not task.cancelled() and isinstance(task.exception(), RouteError) and host is not None:
            host.doubt()

    async def _resolve_and_place(self, name: str) -> Host:
        resolution = await self._resolver.resolve(name)
        for found in resolution.addresses:
            if not is_allowed(found, self._policy):
                detail = f"{name} resolves to {found}, which is not a public address"
                raise RouteError(AttemptError.REFUSED_ADDRESS, detail)
        addresses = tuple([str(found) for found in resolution.addresses[:_MAX_ADDRESSES]])
        cohort, address = await self._place(name, _choose(addresses, self._hosts.get(name)))
        host = self._hosts.pop(name, None) or Host(name, cohort, address)
        host.cohort, host.address, host.addresses = cohort, address, addresses
        host.fresh_until = resolution.expires_at
        host.usable_until = monotonic() + _USABLE_S
        if len(self._hosts) >= _MAX_HOSTS:
            self._forget_eldest()
        # Last in the dict's order: the first is the one that nobody has sent to for longest.
        self._hosts[name] = host
        return host

    async def _place(self, name: str, address: str) -> tuple[Cohort | None, str]:
        """The client for a host, and the address at which that reaches it."""
        if self._cohorts is None:
            return None, address
        cohort = await self._cohorts.place(name, address)
        return cohort, cohort.pins[name]

    def _forget_eldest(self) -> None:
        name = next(iter(self._hosts))
        self._hosts.pop(name).doubt()
        if self._cohorts is not None:
            self._cohorts.leave(name)


def _choose(addresses: Sequence[str], known: Host | None) -> str:
    """The address to pin: the one in use while it is still named (it is connected), unless suspect."""
    if known is None:
        return addresses[0]
    if known.address in addresses and known.address not in known.suspects:
        return known.address
    return next((address for address in addresses if address not in known.suspects), addresses[0])
