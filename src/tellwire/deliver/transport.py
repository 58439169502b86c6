"""Transport: one HTTP POST to a stranger's URL, and the evidence of what came back.

Place in the life of an event: the executor hands over URL, signed headers and body; what returns is judged by
``policy.outcome`` and recorded. Nothing is raised: an attempt that failed is evidence like any other.

Every URL passes the egress guard, every name is resolved by us, and the connection is pinned to an address
that was vetted, so a second resolution (DNS rebinding) cannot happen. No redirect is followed, no proxy is
taken from the environment, no response is decompressed, and neither a slow nor an endless answer outlives
its limits.
"""

from asyncio import CancelledError, Task, current_task
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from pyreqwest.http import HeaderMap

from tellwire.errors import SettingsError
from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.authentication import MutualTls

from .cohorts import ClientRecipe, Cohort, Cohorts, read_certificates
from .egress import EgressPolicy
from .faults import SHUTTING_DOWN, could_not_connect, fault_of
from .identities import Identities
from .resolver import Resolver
from .routes import Route, RouteError, Routes


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


PLAIN: Final = Manner()


class Transport(Protocol):
    """Carries one attempt. The engine takes any; a simulation gives its own."""

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, manner: Manner = PLAIN
    ) -> Evidence:
        """Send ``body`` and tell what happened. Never raises, cancellation excepted."""

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""


class _Request(NamedTuple):
    """One request on its way; ``started`` is monotonic."""

    routes: Routes
    route: Route
    headers: Mapping[str, str]
    body: bytes
    manner: Manner
    started: float


class HttpTransport:
    """The real transport: pyreqwest, whose connections and TLS live on their own threads.

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
            kept_bytes: of an answer's body, and of its headers, in the evidence.
            user_agent: names us to receivers; ``Tellwire/<version>`` by default.

        Raises:
            SettingsError: where ``ca_file`` or ``proxy`` cannot be used.
        """
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._kept_bytes = kept_bytes
        self._closed = False
        roots = read_certificates(ca_file) if ca_file else ()
        recipe = ClientRecipe(timeout_s, user_agent or f"Tellwire/{version('tellwire')}", proxy, roots)
        try:
            self._literals = Cohort(recipe({}), {})
        except ValueError as error:
            raise SettingsError(f"the egress proxy or the CA file cannot be used: {error}") from None
        self._resolver = resolver or Resolver()
        self._cohorts = Cohorts(recipe)
        self._routes = Routes(policy, self._resolver, self._cohorts, self._literals)
        self._identities = Identities(
            recipe, lambda cohorts, literals: Routes(policy, self._resolver, cohorts, literals)
        )

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, manner: Manner = PLAIN
    ) -> Evidence:
        """Send ``body`` to ``url``, once, and tell what happened."""
        started = monotonic()
        routes = self._routes
        route = routes.get(url) if manner.identity is None else None
        if route is not None and started < route.host.fresh_until:
            return await self._send(_Request(routes, route, headers, body, manner, started), None)
        try:
            if self._closed:
                raise RouteError(AttemptError.CONNECT, SHUTTING_DOWN)
            if manner.identity is not None:
                routes = await self._identities.routes(manner.identity)
                route = routes.get(url)
            if route is None or started >= route.host.fresh_until:
                route = await routes.find(url, self._timeout_s)
        except CancelledError:
            # The look-up that we shared was cancelled by ``aclose``; or was it this very task?
            _heed_cancellation(current_task())
            return Evidence(error=AttemptError.CONNECT, detail=SHUTTING_DOWN, duration_ms=_ms_since(started))
        except RouteError as error:
            return Evidence(error=error.error, detail=error.detail, duration_ms=_ms_since(started))
        except Exception as exception:
            fault, detail = fault_of(exception, self._timeout_s, answered=False)
            return Evidence(error=fault, detail=detail, duration_ms=_ms_since(started))
        return await self._send(
            _Request(routes, route, headers, body, manner, started), self._left_s(started)
        )

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""
        self._closed = True
        await self._routes.aclose()
        await self._identities.aclose()
        await self._cohorts.aclose()
        await self._literals.client.close()
        await self._resolver.aclose()

    async def _send(self, asked: _Request, timeout_s: float | None) -> Evidence:
        host, started = asked.route.host, asked.started
        address = host.address
        status: int | None = None
        kept: tuple[tuple[str, str], ...] = ()
        task = current_task()
        try:
            # The buffer is off, so that status and headers are known before the body is.
            request = (
                host.cohort.client.request(asked.manner.method, asked.route.url)
                .headers(asked.headers)
                .body_bytes(asked.body)
                .streamed_read_buffer_limit(0)
            )
            if timeout_s is not None:
                request = request.timeout(timedelta(seconds=timeout_s))
            async with request.build_streamed() as response:
                _heed_cancellation(task)
                status = response.status
                kept = _kept_headers(response.headers, self._kept_bytes)
                answer = await response.body_reader.read(self._max_body_bytes)
                text = (
                    b""
                    if answer is None
                    else answer[: asked.manner.kept_bytes or self._kept_bytes].to_bytes()
                )
            _heed_cancellation(task)
            return Evidence(status, None, None, kept, text, _ms_since(started))
        except Exception as exception:
            # Without a connection nothing was sent, so another address may have the rest of the time.
            if could_not_connect(exception) and await self._turn_to_next(asked, address):
                return await self._send(asked, self._left_s(started))
            error, detail = fault_of(exception, self._timeout_s, answered=status is not None)
            return Evidence(status, error, detail, kept, b"", _ms_since(started))

    async def _turn_to_next(self, asked: _Request, failed: str) -> bool:
        try:
            return await asked.routes.turn_to_next(asked.route.host, failed, self._left_s(asked.started))
        except CancelledError:
            _heed_cancellation(current_task())
            return False
        except Exception:
            return False  # the failure that brought us here is the one to record

    def _left_s(self, started: float) -> float:
        return max(self._timeout_s - (monotonic() - started), 0.001)


def _heed_cancellation(task: Task[Any] | None) -> None:
    """Raise the cancellation that the client swallows where it comes together with what was awaited."""
    if task is not None and task.cancelling():
        raise CancelledError


def _kept_headers(headers: HeaderMap, limit_bytes: int) -> tuple[tuple[str, str], ...]:
    try:
        items = tuple(headers.items())
    except ValueError:
        items = _readable_headers(headers)
    if sum([len(name) + len(value) for name, value in items]) <= limit_bytes:
        return items
    kept: list[tuple[str, str]] = []
    for name, value in items:
        limit_bytes -= len(name) + len(value)
        if limit_bytes < 0:
            limit_bytes += len(name) + len(value)
            continue
        kept.append((name, value))
    return tuple(kept)


def _readable_headers(headers: HeaderMap) -> tuple[tuple[str, str], ...]:
    """The headers, where some value is not ASCII: the client cannot show those; U+FFFD stands for them."""
    items: list[tuple[str, str]] = []
    for name in dict.fromkeys(headers):
        try:
            items.extend((name, value) for value in headers.getall(name))
        except ValueError:
            items.append((name, "\N{REPLACEMENT CHARACTER}"))
    return tuple(items)


def _ms_since(started: float) -> int:
    return int((monotonic() - started) * 1000)
