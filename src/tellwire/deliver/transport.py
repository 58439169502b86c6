"""Transport: one HTTP POST to a stranger's URL, and the evidence of what came back.

Place in the life of an event: the executor hands over URL, signed headers and body; what returns is judged by
``policy.outcome`` and recorded. Nothing is raised: an attempt that failed is evidence like any other.

Every URL passes the egress guard, every name is resolved by us, and the connection is pinned to an address
that was vetted, so a second resolution (DNS rebinding) cannot happen. No redirect is followed, no proxy is
taken from the environment, no response is decompressed, and neither a slow nor an endless answer outlives
its limits.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Final, Protocol

from pyreqwest.http import HeaderMap

from tellwire import __version__
from tellwire.errors import SettingsError
from tellwire.model.attempt import AttemptError, Evidence

from .cohorts import ClientRecipe, Cohort, Cohorts, read_certificates
from .egress import Address, EgressPolicy, is_allowed, vet_url
from .faults import could_not_connect, fault_of
from .resolver import ResolveError, Resolver

_USABLE_S: Final = 60.0  # a vetted address serves that long while fresher answers are being asked for
_REFRESH_EVERY_S: Final = 1.0
_ROTATE_AFTER_S: Final = 10.0
_MAX_HOSTS: Final = 20_000
_MAX_ROUTES: Final = 50_000
_FOREVER: Final = float("inf")


class Transport(Protocol):
    """Carries one attempt. The engine takes any; a simulation gives its own."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Evidence:
        """POST ``body`` and tell what happened. Never raises, cancellation excepted."""

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""


class _Host:
    """Where a host was found, through whom it is reached, and until when that may be believed (monotonic)."""

    __slots__ = ("address", "cohort", "fresh_until", "name", "placed_at", "suspect", "usable_until")

    def __init__(self, name: str, cohort: Cohort, address: str) -> None:
        self.name = name
        self.cohort = cohort
        self.address = address
        self.fresh_until = self.usable_until = _FOREVER
        self.placed_at = monotonic()
        self.suspect: str | None = None


class _Route:
    """A URL that passed the guard, as the client reads it, and its host."""

    __slots__ = ("host", "url")

    def __init__(self, url: str, host: _Host) -> None:
        self.url = url
        self.host = host


class _RefusedAddressError(Exception):
    """A name has an address that deliveries may not reach."""


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
        user_agent: str = f"Tellwire/{__version__}",
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
            user_agent: names us to receivers.

        Raises:
            SettingsError: where ``ca_file`` or ``proxy`` cannot be used.
        """
        self._policy = policy
        self._timeout_s = timeout_s
        self._resolver = resolver or Resolver()
        self._max_body_bytes = max_body_bytes
        self._kept_bytes = kept_bytes
        self._routes: dict[str, _Route] = {}
        self._hosts: dict[str, _Host] = {}
        self._vetting: dict[str, asyncio.Task[_Host]] = {}
        recipe = ClientRecipe(timeout_s, user_agent, proxy, read_certificates(ca_file) if ca_file else ())
        self._cohorts = Cohorts(recipe)
        try:
            self._literals = Cohort(recipe({}), {})
        except ValueError as error:
            raise SettingsError(f"the egress proxy or the CA file cannot be used: {error}") from None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Evidence:
        """POST ``body`` to ``url``, once, and tell what happened."""
        started = monotonic()
        route = self._routes.get(url)
        timeout: timedelta | None = None
        if route is None or started >= route.host.fresh_until:
            found = await self._find_route(url, started)
            if isinstance(found, Evidence):
                return found
            route = found
            timeout = timedelta(seconds=max(self._timeout_s - (monotonic() - started), 0.001))
        status: int | None = None
        kept: tuple[tuple[str, str], ...] = ()
        try:
            # The buffer is off, so that status and headers are known before the body is.
            request = (
                route.host.cohort.client.post(route.url)
                .headers(headers)
                .body_bytes(body)
                .streamed_read_buffer_limit(0)
            )
            if timeout is not None:
                request = request.timeout(timeout)
            async with request.build_streamed() as response:
                status = response.status
                kept = _kept_headers(response.headers, self._kept_bytes)
                answer = await response.body_reader.read(self._max_body_bytes)
                text = b"" if answer is None else answer[: self._kept_bytes].to_bytes()
            return Evidence(status, None, None, kept, text, int((monotonic() - started) * 1000))
        except Exception as exception:
            error, detail = fault_of(exception, self._timeout_s, answered=status is not None)
            if could_not_connect(exception):
                self._suspect(route.host)
            return Evidence(status, error, detail, kept, b"", int((monotonic() - started) * 1000))

    async def aclose(self) -> None:
        """Close every connection; attempts in flight end as errors."""
        for task in tuple(self._vetting.values()):
            task.cancel()
        self._routes.clear()
        self._hosts.clear()
        await self._cohorts.aclose()
        await self._literals.client.close()
        await self._resolver.aclose()

    async def _find_route(self, url: str, started: float) -> _Route | Evidence:
        route = self._routes.get(url)
        if route is not None and started < route.host.usable_until:
            # Stale: this send goes to the address that was vetted, while the next answer is asked for.
            route.host.fresh_until = started + _REFRESH_EVERY_S
            self._vet(route.host.name)
            return route
        target = vet_url(url, self._policy)
        if isinstance(target, str):
            return _no_answer(AttemptError.REFUSED_ADDRESS, f"the endpoint URL is refused: {target}", started)
        try:
            host = await self._find_host(target.host, target.address)
        except _RefusedAddressError as refusal:
            return _no_answer(AttemptError.REFUSED_ADDRESS, str(refusal), started)
        except ResolveError as error:
            return _no_answer(
                AttemptError.DNS, f"the name {target.host} could not be resolved: {error}", started
            )
        except TimeoutError:
            detail = f"resolving {target.host} took longer than {self._timeout_s:g} s"
            return _no_answer(AttemptError.TIMEOUT, detail, started)
        except Exception as exception:
            return _no_answer(*fault_of(exception, self._timeout_s, answered=False), started)
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        route = self._routes[url] = _Route(target.url, host)
        return route

    async def _find_host(self, name: str, address: Address | None) -> _Host:
        if address is not None:
            return _Host(name, self._literals, str(address))
        host = self._hosts.get(name)
        if host is not None and monotonic() < host.fresh_until:
            return host
        async with asyncio.timeout(self._timeout_s):
            # Whoever gives up waiting must not take the answer away from the others.
            return await asyncio.shield(self._vet(name))

    def _vet(self, name: str) -> "asyncio.Task[_Host]":
        task = self._vetting.get(name)
        if task is None:
            task = self._vetting[name] = asyncio.create_task(self._resolve_and_place(name))
            task.add_done_callback(lambda done: self._vetted(name, done))
        return task

    def _vetted(self, name: str, task: "asyncio.Task[_Host]") -> None:
        del self._vetting[name]
        if task.cancelled():
            return
        host = self._hosts.get(name)
        if host is not None and isinstance(task.exception(), _RefusedAddressError):
            host.fresh_until = host.usable_until = 0.0

    async def _resolve_and_place(self, name: str) -> _Host:
        resolution = await self._resolver.resolve(name)
        for found in resolution.addresses:
            if not is_allowed(found, self._policy):
                raise _RefusedAddressError(f"{name} resolves to {found}, which is not a public address")
        known = self._hosts.get(name)
        address = _choose(resolution.addresses, known)
        cohort = await self._cohorts.place(name, address)
        host = self._hosts.pop(name, None) or _Host(name, cohort, address)
        if host.address != address:
            host.placed_at = monotonic()
        host.cohort, host.address = cohort, address
        host.fresh_until = resolution.expires_at
        host.usable_until = monotonic() + _USABLE_S
        if len(self._hosts) >= _MAX_HOSTS:
            self._forget_eldest()
        # Last in the dict's order: the eldest is the one that nobody has sent to for longest.
        self._hosts[name] = host
        return host

    def _forget_eldest(self) -> None:
        name = next(iter(self._hosts))
        host = self._hosts.pop(name)
        host.fresh_until = host.usable_until = 0.0
        self._cohorts.leave(name)

    def _suspect(self, host: _Host) -> None:
        """Let the next look-up choose another of the host's addresses, if it has one; not too often."""
        if host.cohort is not self._literals and monotonic() > host.placed_at + _ROTATE_AFTER_S:
            host.suspect = host.address
            host.fresh_until = min(host.fresh_until, monotonic())


def _choose(addresses: Sequence[Address], known: _Host | None) -> str:
    """The address to pin: the one in use while it is still named (its connections live), unless suspect."""
    texts = [str(address) for address in addresses]
    if known is None:
        return texts[0]
    if known.address in texts and known.suspect != known.address:
        return known.address
    suspect, known.suspect = known.suspect, None
    return next((text for text in texts if text != suspect), texts[0])


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


def _no_answer(error: AttemptError, detail: str, started: float) -> Evidence:
    return Evidence(error=error, detail=detail, duration_ms=int((monotonic() - started) * 1000))
