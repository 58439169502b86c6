"""Sending in the clear: what goes to http:// URLs, on the event loop, over connections of our own.

Place in the life of an event: the transport hands over here what goes to an http:// URL without a proxy; all else goes
through ``secure``. Without TLS there is little left of an HTTP client, and a request that never leaves the event loop
costs a fifth of one that goes through the threads of a library (docs/adr/0020-plain-http-on-the-event-loop.md).
"""

import asyncio
import re
from collections.abc import Mapping
from time import monotonic
from typing import Final

from tellwire.model.attempt import AttemptError

from .answer import Answer
from .connections import Connections
from .faults import SHUTTING_DOWN, reason_of
from .routes import Route

_NOT_IN_NAMES: Final = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")  # RFC 9110, section 5.6.2
_IN_VALUES: Final = re.compile(r"[\t\x20-\x7e]*")
_UNUSABLE: Final = Answer(error=AttemptError.PROTOCOL, detail="the request could not be made (ValueError)")
_CLOSED: Final = Answer(error=AttemptError.CONNECT, detail=SHUTTING_DOWN)


class Plain:
    """Sends requests in the clear; belongs to the event loop in which it first sends."""

    def __init__(self, timeout_s: float, user_agent: str, connections: Connections) -> None:
        """``timeout_s``: of an attempt; half of it for connecting. ``connections`` are for this alone."""
        self._timeout_s = timeout_s
        self._defaults = {"accept": "*/*", "user-agent": user_agent}
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._closed = False

    async def send(
        self,
        route: Route,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        kept_bytes: int,
        timeout_s: float | None,
    ) -> Answer:
        """Send a request; once more where a kept connection turns out to be dead before anything came back.

        ``timeout_s`` where it has less time than an attempt may take.
        """
        try:
            data = self._written(route, method, headers, body)
        except ValueError:
            return _UNUSABLE
        ends = monotonic() + (timeout_s or self._timeout_s)
        key = (route.host.address, route.authority)
        connection = self._connections.take(key)
        while True:
            if connection is None:
                try:
                    within_s = min(self._timeout_s / 2, ends - monotonic())
                    connection = await self._connections.make(key, route.port, within_s)
                except OSError as error:
                    return _CLOSED if self._closed else self._unreachable(error)
                if self._closed:
                    connection.close()
                    return _CLOSED
            if ends < self._timer_at:
                self._wake_at(ends)
            waiting = connection.request(data, kept_bytes, ends)
            try:
                answer = await waiting
            except asyncio.CancelledError:
                # Where the answer has come all the same, the connection may be somebody else's by now.
                if waiting.cancelled():
                    connection.close()
                raise
            if not answer.stale:
                return answer
            connection = None

    def close(self) -> None:
        """Close every connection; requests under way end as errors."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._connections.close()
        for connection in self._connections.under_way():
            connection.fail(AttemptError.CONNECT, SHUTTING_DOWN)

    def _written(self, route: Route, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """The request as it is sent. Raises ValueError where a header cannot be one."""
        given = self._defaults | {name.lower(): value for name, value in headers.items()}
        values = "".join(given.values())
        if _NOT_IN_NAMES.search("".join(given)) or not (values.isprintable() or _IN_VALUES.fullmatch(values)):
            raise ValueError
        lines = "".join([f"{name}: {value}\r\n" for name, value in given.items()])
        asked = f"{method} {route.path} HTTP/1.1\r\nhost: {route.authority}\r\n"
        head = f"{asked}{lines}content-length: {len(body)}\r\n\r\n"
        return head.encode("ascii") + body

    def _wake_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(max(at - monotonic(), 0.001), self._give_up)

    def _give_up(self) -> None:
        """End the requests whose time is over."""
        now = monotonic()
        self._timer, self._timer_at = None, float("inf")
        for connection in self._connections.under_way():
            if connection.ends <= now:
                missing = "the answer's body did not end" if connection.answered else "no answer"
                connection.fail(AttemptError.TIMEOUT, f"{missing} within {self._timeout_s:g} s")
            elif connection.ends < self._timer_at:
                self._timer_at = connection.ends
        if self._timer_at < float("inf"):
            self._wake_at(self._timer_at)

    def _unreachable(self, error: OSError) -> Answer:
        if isinstance(error, TimeoutError):
            detail = f"no connection within {self._timeout_s / 2:g} s"
            return Answer(error=AttemptError.TIMEOUT, detail=detail, unreachable=True)
        return Answer(
            error=AttemptError.CONNECT, detail=f"no connection: {reason_of(error)}", unreachable=True
        )
