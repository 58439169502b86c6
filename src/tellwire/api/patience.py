"""Patience has an end: a request head that does not come in time, or is too large, ends its connection.

uvicorn waits without limit for a first request, and for the rest of a head that has begun. Silent connections would be
enough to use up all file descriptors, and endless heads to use up all memory; neither needs a key.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tellwire.model.limits import KIB

HEAD_TIMEOUT_S: Final = 10.0
HEAD_BYTES: Final = 64 * KIB
"""How large the target and the headers of a request may be together, trailers included."""


class HeadTooLargeError(Exception):
    """The head of a request is larger than ``HEAD_BYTES``: raised out of the parser, which ends the connection."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the time and the size of request heads."""

    head_timeout_s = HEAD_TIMEOUT_S
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
        super().on_headers_complete()

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
