"""A connection in the clear: HTTP/1.1 over TCP, one request and its answer at a time, on the event loop.

Place in the life of an event: ``plain`` keeps these and sends through them what goes to http:// URLs. Everything that
arrives is a stranger's: it is read by llhttp, bounded in every direction, and what does not end as it should ends the
connection. Source: RFC 9112 (message framing: section 6; closing: section 9).
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

import httptools

from tellwire.model.attempt import AttemptError

from .answer import Answer, kept
from .faults import reason_of

MAX_HEAD_BYTES: Final = 128 * 1024
"""Of everything that comes before the body: informational answers, status line, headers."""
MAX_HEADERS: Final = 100

Key = tuple[str, str]
"""Address, and host and port as the URL has them."""

_FIRST_FINAL: Final = 200
_CLOSED: Final = "the connection was closed too early"
_NO_ANSWER: Final = "no HTTP answer: {}"


class Connection(asyncio.Protocol):
    """One connection to ``key``. ``rests`` is called with it when it may be used again, ``gone`` when it is lost."""

    def __init__(
        self,
        key: Key,
        rests: Callable[["Connection"], None],
        gone: Callable[["Connection"], None],
        max_body_bytes: int,
    ) -> None:
        self.key = key
        self.rested_at = 0.0
        """When it was used last (monotonic)."""
        self.ends = 0.0
        """When the request that is under way is to be given up (monotonic)."""
        self._rests = rests
        self._gone = gone
        self._max_body_bytes = max_body_bytes
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self._used = self._overlong = False
        self._kept_bytes = 0
        # Of the answer that is under way:
        self._status: int | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._received = self._body_bytes = self._begun = 0
        self._keeps = self._whole = False

    def request(self, data: bytes, kept_bytes: int, ends: float) -> "asyncio.Future[Answer]":
        """Send a whole request; gives its answer with at most ``kept_bytes`` of its body, and never an exception.

        That the request is given up when it ``ends`` (monotonic) is seen to by others.
        """
        self.ends = ends
        self._kept_bytes = kept_bytes
        self._answer = answer = self._loop.create_future()
        if self._transport.is_closing():
            self._lose(None)
        else:
            self._transport.write(data)
        return answer

    def fail(self, error: AttemptError, detail: str) -> None:
        """End the connection, and what is under way on it, for a reason of ours."""
        self._transport.abort()
        self._tell(Answer(self._status, error, detail, self._kept_headers()))

    def close(self) -> None:
        """End the connection, which nobody waits for any more."""
        self._answer = None
        self._transport.abort()

    @property
    def is_under_way(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._answer is not None

    @property
    def answered(self) -> bool:
        """Whether status and headers of the answer have arrived."""
        return self._status is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of ``asyncio.Protocol``."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, by us or by the receiver."""
        self._gone(self)
        if self._answer is not None:
            self._lose(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if self._answer is None or self._answer.cancelled():  # nobody asked, or nobody waits any more
            self._transport.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._keeps = False
        except httptools.HttpParserError as error:
            self._keeps = False
            if not self._whole:
                self._break_off(str(error))
                return
        if self._whole:
            self._finish(keep=self._keeps and self._begun == 1)
        elif self._is_too_much():
            if self._status is None:
                self._break_off("its headers are too long")
            else:
                self._finish(keep=False)  # the status counts; the rest is left there

    def on_message_begin(self) -> None:
        """An answer begins."""
        self._begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind the body, which is not kept."""
        if self._status is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Status and headers are there."""
        if self._whole:
            return  # another answer, to nothing
        status = self._parser.get_status_code()
        if len(self._headers) > MAX_HEADERS:
            self._overlong = True
        elif status >= _FIRST_FINAL or status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._status = status
            self._keeps = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._body_bytes < self._kept_bytes and not self._whole:
            self._pieces.append(body)
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        """An answer has ended; an informational one (1xx) is followed by another."""
        if self._status is not None:
            self._whole = True
        else:
            self._headers.clear()
            self._begun = 0

    def _lose(self, exc: Exception | None) -> None:
        if exc is None and self._status is not None and not self._is_framed():
            self._finish(keep=False)  # the end of the connection is the end of this body
        elif self._used and not self._received:
            self._tell(Answer(error=AttemptError.PROTOCOL, detail=_NO_ANSWER.format(_CLOSED), stale=True))
        else:
            self._break_off(_CLOSED if exc is None else reason_of(exc))

    def _is_too_much(self) -> bool:
        if self._status is None:
            return self._overlong or self._received > MAX_HEAD_BYTES or len(self._headers) > MAX_HEADERS
        return (
            self._body_bytes > self._max_body_bytes or self._received > self._max_body_bytes + MAX_HEAD_BYTES
        )

    def _is_framed(self) -> bool:
        """Whether the answer says where its body ends."""
        names = {name.lower() for name, _ in self._headers}
        return b"content-length" in names or b"transfer-encoding" in names

    def _break_off(self, reason: str) -> None:
        if self._status is None:
            self.fail(AttemptError.PROTOCOL, _NO_ANSWER.format(reason))
        else:
            self.fail(AttemptError.BODY, f"the answer's body broke off: {reason}")

    def _finish(self, *, keep: bool) -> None:
        body = b"".join(self._pieces)[: self._kept_bytes]
        answer = Answer(self._status, None, None, self._kept_headers(), body)
        transport = self._transport
        if keep and not transport.is_closing() and not transport.get_write_buffer_size():
            self._clear()
            self._tell(answer)
            self._rests(self)
        else:
            transport.abort()
            self._tell(answer)

    def _tell(self, answer: Answer) -> None:
        waiting, self._answer = self._answer, None
        self._used = True
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _clear(self) -> None:
        self._status = None
        self._headers = []
        self._pieces = []
        self._received = self._body_bytes = self._begun = 0
        self._keeps = self._whole = False

    def _kept_headers(self) -> tuple[tuple[str, str], ...]:
        return kept([(name.lower().decode("latin-1"), _readable(value)) for name, value in self._headers])


def _readable(value: bytes) -> str:
    return value.decode() if value.isascii() else "\N{REPLACEMENT CHARACTER}"
