"""Sending through the HTTP client: what goes to https:// URLs, through a proxy, or with a client certificate.

Place in the life of an event: the transport hands over here what ``plain`` does not send. The client is pyreqwest,
whose connections and TLS live on threads of their own.
"""

from asyncio import CancelledError, Task, current_task
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pyreqwest.http import HeaderMap

from .answer import Answer, kept
from .faults import could_not_connect, fault_of
from .routes import Route


class Secure:
    """Sends requests through the client of their route's host."""

    def __init__(self, timeout_s: float, max_body_bytes: int) -> None:
        """``timeout_s``: what the clients are made with. ``max_body_bytes``: of an answer that are read."""
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes

    async def send(
        self,
        route: Route,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        kept_bytes: int,
        timeout_s: float | None,
    ) -> Answer:
        """Send a request once; ``timeout_s`` where it has less time than the client gives."""
        status: int | None = None
        found: tuple[tuple[str, str], ...] = ()
        task = current_task()
        cohort = route.host.cohort
        assert cohort is not None  # noqa: S101 - such routes have one
        try:
            # The buffer is off, so that status and headers are known before the body is.
            request = (
                cohort.client.request(method, route.url)
                .headers(headers)
                .body_bytes(body)
                .streamed_read_buffer_limit(0)
            )
            if timeout_s is not None:
                request = request.timeout(timedelta(seconds=timeout_s))
            async with request.build_streamed() as response:
                heed_cancellation(task)
                status = response.status
                found = kept(_headers(response.headers))
                read = await response.body_reader.read(self._max_body_bytes)
                text = b"" if read is None else read[:kept_bytes].to_bytes()
            heed_cancellation(task)
            return Answer(status, None, None, found, text)
        except Exception as exception:
            error, detail = fault_of(exception, self._timeout_s, answered=status is not None)
            return Answer(status, error, detail, found, unreachable=could_not_connect(exception))


def heed_cancellation(task: Task[Any] | None) -> None:
    """Raise the cancellation that the client swallows where it comes together with what was awaited."""
    if task is not None and task.cancelling():
        raise CancelledError


def _headers(headers: HeaderMap) -> tuple[tuple[str, str], ...]:
    """Its headers; where some value is not ASCII the client cannot show it, and U+FFFD stands for it."""
    try:
        return tuple(headers.items())
    except ValueError:
        pass
    items: list[tuple[str, str]] = []
    for name in dict.fromkeys(headers):
        try:
            items.extend((name, value) for value in headers.getall(name))
        except ValueError:
            items.append((name, "\N{REPLACEMENT CHARACTER}"))
    return tuple(items)
