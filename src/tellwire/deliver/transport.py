"""Transport: one HTTP POST to a stranger's URL, and the evidence of what came back.

Place in the life of an event: the executor hands over URL, signed headers and body; what returns is judged by
``policy.outcome`` and recorded. Nothing is raised: an attempt that failed is evidence like any other.

Every URL passes the egress guard, every name is resolved by us, and the connection is pinned to an address
that was vetted, so a second resolution (DNS rebinding) cannot happen. No redirect is followed, no proxy is
taken from the environment, no response is decompressed, and neither a slow nor an endless answer outlives
its limits.
"""

from asyncio import CancelledError, current_task
from collections.abc import Mapping
from importlib.metadata import version
from time import monotonic
from typing import Final, Protocol

import msgspec

from tellwire.errors import SettingsError
from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.authentication import MutualTls

from .cohorts import ClientRecipe, Cohort, Cohorts, read_certificates
from .connections import Connections
from .egress import EgressPolicy
from .faults import SHUTTING_DOWN, fault_of
from .identities import Identities
from .plain import Plain
from .resolver import Resolver
from .routes import Route, RouteError, Routes
from .secure import Secure, heed_cancellation


class Manner(msgspec.Struct, frozen=True):
    """In what a request is unlike others.

    Attributes:
        method: of HTTP.
        identity: the client certificate to show, and authorities to trust besides the others.
        kept_bytes: of the answer's body, instead of what the transport keeps of each.
    """

    method: str = "POST"
    identity: MutualTls | None = None
    kept_bytes: int | None = None


USUAL: Final = Manner()


class Transport(Protocol):
    """Carries one attempt. The engine takes any; a simulation gives its own."""

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, manner: Manner = USUAL
    ) -> Evidence:
        """Send ``body`` and tell what happened. Never raises, cancellation excepted."""

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""


_Way = tuple[Routes, Plain | Secure]


class HttpTransport:
    """The real transport: in the clear over connections of its own, else through pyreqwest.

    It belongs to the event loop in which it first sends.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        timeout_s: float = 15.0,
        resolver: Resolver | None = None,
        proxy: str | None = None,
        ca_file: str | None = None,
        max_body_bytes: int = 65_536,
        kept_bytes: int = 4_096,
        user_agent: str | None = None,
    ) -> None:
        """Prepare to send under ``policy``.

        Args:
            policy: what may be reached.
            timeout_s: for a whole attempt: name, connection, request, answer and its body.
            resolver: how names become addresses; the system's name servers by default.
            proxy: URL of an egress proxy. Names are vetted here all the same, but the proxy resolves them
                again: it must refuse private addresses itself.
            ca_file: PEM file with certificates to trust besides the system's.
            max_body_bytes: of an answer; what is longer is not read, and the status counts all the same.
            kept_bytes: of an answer's body in the evidence.
            user_agent: names us to receivers; ``Tellwire/<version>`` by default.

        Raises:
            SettingsError: where ``ca_file`` or ``proxy`` cannot be used.
        """
        self._timeout_s = timeout_s
        self._kept_bytes = kept_bytes
        self._closed = False
        user_agent = user_agent or f"Tellwire/{version('tellwire')}"
        roots = read_certificates(ca_file) if ca_file else ()
        recipe = ClientRecipe(timeout_s, user_agent, proxy, roots)
        try:
            self._literals = Cohort(recipe({}), {})
        except ValueError as error:
            raise SettingsError(f"the egress proxy or the CA file cannot be used: {error}") from None
        self._resolver = resolver or Resolver()
        self._cohorts = Cohorts(recipe)
        self._plain = Plain(timeout_s, user_agent, Connections(max_body_bytes))
        self._secure = Secure(timeout_s, max_body_bytes)
        self._secure_way: _Way = (
            Routes(policy, self._resolver, self._cohorts, self._literals),
            self._secure,
        )
        self._plain_way: _Way = (
            (Routes(policy, self._resolver), self._plain) if proxy is None else self._secure_way
        )
        self._identities = Identities(
            recipe, lambda cohorts, literals: Routes(policy, self._resolver, cohorts, literals)
        )

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, manner: Manner = USUAL
    ) -> Evidence:
        """Send ``body`` to ``url``, once, and tell what happened."""
        started = monotonic()
        routes, sender = self._plain_way if url.startswith("http:") else self._secure_way
        route = routes.get(url)
        left_s: float | None = None  # all of it
        if route is None or started >= route.host.fresh_until or manner.identity is not None:
            try:
                if manner.identity is not None:
                    routes, sender = await self._routes_of(manner.identity), self._secure
                route = await self._find(routes, url)
            except CancelledError:
                # The look-up that we shared was cancelled by ``aclose``; or was it this very task?
                heed_cancellation(current_task())
                return _failed(started, AttemptError.CONNECT, SHUTTING_DOWN)
            except RouteError as error:
                return _failed(started, error.error, error.detail)
            except Exception as exception:
                return _failed(started, *fault_of(exception, self._timeout_s, answered=False))
            left_s = self._left_s(started)
        kept_bytes = manner.kept_bytes or self._kept_bytes
        while True:
            address = route.host.address
            answer = await sender.send(route, manner.method, headers, body, kept_bytes, left_s)
            # Without a connection nothing was sent, so another address may have the rest of the time.
            if not answer.unreachable or not await self._turn_to_next(routes, route, address, started):
                break
            left_s = self._left_s(started)
        return Evidence(
            answer.status, answer.error, answer.detail, answer.headers, answer.body, _ms_since(started)
        )

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""
        self._closed = True
        self._plain.close()
        for routes, _ in (self._plain_way, self._secure_way):
            await routes.aclose()
        await self._identities.aclose()
        await self._cohorts.aclose()
        await self._literals.client.close()
        await self._resolver.aclose()

    async def _find(self, routes: Routes, url: str) -> Route:
        """The route of ``url``, looked for unless it is known and fresh."""
        if self._closed:
            raise RouteError(AttemptError.CONNECT, SHUTTING_DOWN)
        route = routes.get(url)
        if route is not None and monotonic() < route.host.fresh_until:
            return route
        return await routes.find(url, self._timeout_s)

    async def _routes_of(self, identity: MutualTls) -> Routes:
        if self._closed:
            raise RouteError(AttemptError.CONNECT, SHUTTING_DOWN)
        return await self._identities.routes(identity)

    async def _turn_to_next(self, routes: Routes, route: Route, failed: str, started: float) -> bool:
        try:
            return await routes.turn_to_next(route.host, failed, self._left_s(started))
        except CancelledError:
            heed_cancellation(current_task())
            return False
        except Exception:
            return False  # the failure that brought us here is the one to record

    def _left_s(self, started: float) -> float:
        return max(self._timeout_s - (monotonic() - started), 0.001)


def _failed(started: float, error: AttemptError, detail: str) -> Evidence:
    return Evidence(error=error, detail=detail, duration_ms=_ms_since(started))


def _ms_since(started: float) -> int:
    return int((monotonic() - started) * 1000)
