"""Patience has an end: a connection that does not send a whole request head in time is closed.

uvicorn waits without limit for a first request, and for the rest of a head that has begun. Silent connections would be
enough to use up all file descriptors, and need no key.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S: Final = 10.0


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a time limit on request heads."""

    head_timeout_s = HEAD_TIMEOUT_S
    _deadline: asyncio.TimerHandle | None = None
    _head_is_whole = False

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
        super().data_received(data)
        if self._deadline is None and not self._head_is_whole:
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_is_whole = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole: the rest is the business of who reads the body, and of keep-alive."""
        self._head_is_whole = True
        self._stop_waiting()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
