"""Patience has an end: a request head that does not come in time, or is too large, ends its connection.

uvicorn waits without limit for a first request, and for the rest of a head that has begun. Silent connections would be
enough to use up all file descriptors, and endless heads to use up all memory; neither needs a key. And what is refused
here, because it is no HTTP or one connection too many, is refused with a problem document, as everywhere.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tellwire.clock import SystemClock
from tellwire.ids import REQUEST, IdMaker, encode
from tellwire.model.limits import KIB

from .asgi import SAFE, Receive, Scope, Send, answer
from .problems import CONTENT_TYPE, HEAD_TOO_LARGE, MALFORMED, RETRY_AFTER_S, UNAVAILABLE, Problem, problem

HEAD_TIMEOUT_S: Final = 10.0
HEAD_BYTES: Final = 64 * KIB
"""How large the target and the headers of a request may be together, trailers included."""


_new_id: Final = IdMaker(SystemClock().now_ms)
"""Names the requests that are refused before they reach the app, which names all others."""


class HeadTooLargeError(Exception):
    """The head of a request is larger than ``HEAD_BYTES``: raised out of the parser, which ends the connection."""


def written(refused: Problem, request_id: bytes, *more: str) -> bytes:
    """A whole HTTP/1.1 response that is a problem document; ``more`` are further lines of its head."""
    head = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}"]
    head += [f"{name}: {value}" for name, value in refused.headers.items()]
    head += [f"{name.decode()}: {value.decode()}" for name, value in SAFE]
    head += [f"content-length: {len(refused.body)}", f"x-request-id: {request_id.decode()}", *more, "", ""]
    return "\r\n".join(head).encode() + refused.body


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the time and the size of request heads."""

    head_timeout_s = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.most_connections = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn's own refusal is text

    _deadline: asyncio.TimerHandle | None = None
    _head_is_whole = False
    _head_bytes = 0
    _stuck_bytes = 0  # came in whole pieces that brought the parser nowhere
    _moved = False

    @property
    def head_is_too_large(self) -> bool:
        """Whether that is what is wrong with what came."""
        return max(self._head_bytes, self._stuck_bytes) > HEAD_BYTES

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: its first head is awaited."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came. Only a head that is still in pieces gets a timer, so whole requests pay nothing."""
        self._moved = False
        super().data_received(data)
        self._stuck_bytes = 0 if self._moved else self._stuck_bytes + len(data)
        if self._stuck_bytes > HEAD_BYTES and not self.transport.is_closing():
            # Of a header that has no end, or a trailer, the parser tells nothing.
            self.send_400_response("The request head is too large.")
        if self._deadline is None and not self._head_is_whole:
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_is_whole = False
        self._head_bytes = 0
        self._moved = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the target came."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or trailer came."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body came."""
        self._moved = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """A head is whole: the rest is the business of who reads the body, and of keep-alive."""
        self._head_is_whole = True
        self._stop_waiting()
        most = self.most_connections
        if most is None or (len(self.connections) < most and len(self.tasks) < most):
            super().on_headers_complete()
            return
        app, self.app = self.app, self._refuse_connection
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP, or too much of it: tell so as the API tells every error, and hang up."""
        request_id = encode(REQUEST, _new_id())
        if self.head_is_too_large:
            told = f"target and headers have more than {HEAD_BYTES} bytes together"
            refused = problem(HEAD_TOO_LARGE, told, request_id)
        else:
            refused = problem(MALFORMED, "the bytes that came are no HTTP/1.1 request", request_id)
        self.transport.write(written(refused, request_id.encode(), "connection: close"))
        self.transport.close()

    async def _refuse_connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: there are too many connections."""
        request_id = encode(REQUEST, _new_id())
        told = f"there are as many connections as this process takes, {self.most_connections}; try again"
        refused = problem(UNAVAILABLE, told, request_id, stored=False)
        extra = [(b"retry-after", str(RETRY_AFTER_S).encode()), (b"connection", b"close")]
        await answer(
            send, refused.status, refused.body, request_id, content_type=CONTENT_TYPE.encode(), extra=extra
        )

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > HEAD_BYTES:
            raise HeadTooLargeError

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
