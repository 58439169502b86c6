"""Resolver: names to addresses, all of them, so that the egress guard can judge every one.

Place in the life of an event: the transport asks it before the first send to a host and again when the
answer has aged. It looks a name up (hosts file included), remembers the answer briefly and lets concurrent
askers share one look-up. It judges nothing; that is ``egress``'s part.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

import aiodns
import msgspec
import pycares

from .egress import Address

# A burst of questions overruns sockets; a slow name server must not take the places of the others' questions.
_BURST: Final = 64
_BURST_SHARE_S: Final = 0.25

# c-ares waits five times as long as a name server took of late, a quarter of a second at least, and twice as long after
# each time that it asked: two would end after 0.75 s where answers used to be quick. Our own limit on time ends them.
_TRIES: Final = 5

# A name in a stranger's URL is absolute: our own search domains must not complete it.
_FLAGS: Final = pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS


class ResolveError(Exception):
    """A name has no address that we could learn; the text says why. Internal to ``deliver``."""


class Resolution(msgspec.Struct, frozen=True):
    """The addresses of a name in the order to try them (RFC 6724), good until ``expires_at`` (monotonic)."""

    addresses: tuple[Address, ...]
    expires_at: float


class Resolver:
    """Looks names up without blocking the event loop.

    Answers are kept for their time to live, but at least ``min_ttl_s`` (hosts-file entries and some
    attackers say zero) and at most ``max_ttl_s``; c-ares, which asks for us, may repeat an answer within
    its time to live. A resolver belongs to the event loop in which it is first used.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        timeout_s: float = 5.0,
        min_ttl_s: float = 1.0,
        max_ttl_s: float = 30.0,
        max_names: int = 10_000,
    ) -> None:
        """Ask ``nameservers`` (``"ip"`` or ``"ip:port"``), or those of the system where there are none."""
        self._nameservers = tuple(nameservers)
        self._timeout_s = timeout_s
        self._min_ttl_s = min_ttl_s
        self._max_ttl_s = max_ttl_s
        self._max_names = max_names
        self._known: dict[str, Resolution] = {}
        self._asking: dict[str, asyncio.Task[Resolution]] = {}
        self._channel: aiodns.DNSResolver | None = None
        self._burst = asyncio.Semaphore(_BURST)

    async def resolve(self, name: str) -> Resolution:
        """All A and AAAA addresses of ``name``.

        Raises:
            ResolveError: where there are none, or nobody said so in time.
        """
        known = self._known.get(name)
        if known is not None and time.monotonic() < known.expires_at:
            return known
        task = self._asking.get(name)
        if task is None:
            task = asyncio.create_task(self._ask(name))
            self._asking[name] = task
            task.add_done_callback(lambda done: self._asked(name, done))
        # Whoever gives up waiting must not take the look-up away from the others.
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Give up all look-ups and free the sockets."""
        for task in tuple(self._asking.values()):
            task.cancel()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _asked(self, name: str, task: "asyncio.Task[Resolution]") -> None:
        del self._asking[name]
        if task.cancelled() or task.exception() is not None:
            return
        self._known.pop(name, None)
        if len(self._known) >= self._max_names:
            del self._known[next(iter(self._known))]
        self._known[name] = task.result()

    async def _ask(self, name: str) -> Resolution:
        if self._channel is None:
            self._channel = aiodns.DNSResolver(
                nameservers=self._nameservers or None, timeout=self._timeout_s / 3, tries=_TRIES, flags=_FLAGS
            )
        try:
            async with self._burst:
                asked = self._channel.getaddrinfo(name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
                await asyncio.wait([asked], timeout=_BURST_SHARE_S)
            async with asyncio.timeout(self._timeout_s - _BURST_SHARE_S):
                answer = await asked
        except TimeoutError:
            raise ResolveError(f"no name server answered within {self._timeout_s:g} s") from None
        except aiodns.error.DNSError as error:
            raise ResolveError(str(error.args[1] if len(error.args) > 1 else error)) from None
        addresses = tuple(dict.fromkeys(ip_address(node.addr[0].decode()) for node in answer.nodes))
        if not addresses:
            raise ResolveError("it has no address")
        ttls = [node.ttl for node in answer.nodes] + [cname.ttl for cname in answer.cnames]
        lifetime_s = min(max(min(ttls), self._min_ttl_s), self._max_ttl_s)
        return Resolution(addresses=addresses, expires_at=time.monotonic() + lifetime_s)
