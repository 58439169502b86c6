"""Cohorts: HTTP clients shared by hosts whose connections are pinned to vetted addresses.

Place in the life of an event: the transport places each vetted host here and sends through its cohort's
client.

The HTTP client can only be told at its making which host lives at which address, and a client costs 8 ms
and 120 KB whether it knows one host or 256. So hosts share clients: newcomers gather in the open cohort,
whose client is made anew for them; once it is full it is sealed and left alone with its kept-alive
connections. A host whose address changes leaves its cohort and joins the open one; so the restless gather
there and the others keep their connections. Requests in flight on a replaced client end as if nothing had
happened.
"""

import asyncio
import atexit
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.proxy import ProxyBuilder

from tellwire.errors import SettingsError
from tellwire.leaving import let_native_threads_out

from .connections import IDLE_S

atexit.register(let_native_threads_out)

HOSTS_PER_CLIENT: Final = 256

_LINGER_S: Final = 0.002
_REST_FACTOR: Final = 5.0  # making clients takes at most a sixth of one core, however many hosts move

Build = Callable[[Mapping[str, str]], Client]


class ClientRecipe(msgspec.Struct, frozen=True):
    """How every client is made, whatever hosts it knows.

    Attributes:
        timeout_s: for a whole request, from connecting to the end of the answer's body.
        user_agent: names us to receivers.
        proxy: URL of an egress proxy, the only one that is used: none comes from the environment.
        roots: PEM certificates to trust besides the system's.
        identity: PEM private key and certificates that are shown to receivers who ask for them.
    """

    timeout_s: float
    user_agent: str
    proxy: str | None = None
    roots: tuple[bytes, ...] = ()
    identity: bytes | None = None

    def __call__(self, pins: Mapping[str, str]) -> Client:
        """A client that connects to each host of ``pins`` at its address there and asks no resolver."""
        builder = (
            ClientBuilder()
            .no_proxy()
            .follow_redirects(False)
            .referer(False)
            .http1_only()
            .http1_lower_case_headers()
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .user_agent(self.user_agent)
            .timeout(timedelta(seconds=self.timeout_s))
            .connect_timeout(timedelta(seconds=self.timeout_s / 2))
            .pool_idle_timeout(timedelta(seconds=IDLE_S))
        )
        if self.proxy is not None:
            builder = builder.proxy(ProxyBuilder.all(self.proxy))
        for root in self.roots:
            builder = builder.add_root_certificate_pem(root)
        if self.identity is not None:
            builder = builder.identity_pem(self.identity)
        for host, address in pins.items():
            # Port 0: whatever the URL says.
            builder = builder.resolve(host, address, 0)
        return builder.build()


def read_certificates(path: str) -> tuple[bytes, ...]:
    """The certificates of a PEM bundle, one by one (the client reads only the first of a text).

    Raises:
        SettingsError: where the file cannot be read or holds none.
    """
    try:
        found = certificates_in(Path(path).read_bytes())
    except OSError as error:
        raise SettingsError(f'CA file "{path}" cannot be read: {error.strerror}') from None
    if not found:
        raise SettingsError(f'CA file "{path}" holds no certificate; give a PEM file')
    return found


def certificates_in(bundle: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM bundle, one by one."""
    end = b"-----END CERTIFICATE-----"
    return tuple(block + end for block in bundle.split(end)[:-1])


class Cohort:
    """Hosts that share a client. ``client`` changes while the cohort is open: read it anew for each send."""

    __slots__ = ("client", "pins")

    def __init__(self, client: Client, pins: Mapping[str, str]) -> None:
        self.client = client
        self.pins = pins


class Cohorts:
    """Places hosts at addresses; ``build`` makes a client that knows the given pins (host to address)."""

    def __init__(self, build: Build, *, hosts_per_client: int = HOSTS_PER_CLIENT) -> None:
        self._build = build
        self._size = hosts_per_client
        self._places: dict[str, Cohort] = {}
        self._open: Cohort | None = None
        self._joining: dict[str, str] = {}
        self._round: asyncio.Task[None] | None = None
        self._rested_at = 0.0

    async def place(self, host: str, address: str) -> Cohort:
        """The cohort through which ``host`` is reached at ``address``, and at no other."""
        cohort = self._places.get(host)
        while cohort is None or cohort.pins.get(host) != address:
            self._joining[host] = address
            if self._round is None or self._round.done():
                self._round = asyncio.create_task(self._admit())
            await asyncio.shield(self._round)
            cohort = self._places.get(host)
        return cohort

    def leave(self, host: str) -> None:
        """Forget ``host``; a cohort that nobody is left in is freed."""
        self._places.pop(host, None)

    async def aclose(self) -> None:
        """Close every client; what is in flight on them fails."""
        if self._round is not None:
            self._round.cancel()
        for cohort in set(self._places.values()):
            await cohort.client.close()
        self._places.clear()
        self._open = None

    async def _admit(self) -> None:
        """Wait for company, then make one client for all who came."""
        await asyncio.sleep(max(_LINGER_S, self._rested_at - time.monotonic()))
        while self._joining:
            batch = dict(list(self._joining.items())[: self._size])
            for host in batch:
                del self._joining[host]
            await self._make(batch)

    async def _make(self, batch: dict[str, str]) -> None:
        started = time.monotonic()
        cohort, pins = self._open, batch
        if cohort is not None:
            staying = {
                host: address for host, address in cohort.pins.items() if self._places.get(host) is cohort
            }
            pins = staying | batch
            if len(pins) > self._size:
                cohort, pins = None, batch
        # In a thread: otherwise nothing else would be sent in these 8 ms.
        client = await asyncio.to_thread(self._build, pins)
        if cohort is None:
            cohort = self._open = Cohort(client, pins)
        else:
            cohort.client, cohort.pins = client, pins
        for host in batch:
            self._places[host] = cohort
        ended = time.monotonic()
        self._rested_at = ended + _REST_FACTOR * (ended - started)
