"""The short way in and out for single events: an ordinary request is taken without the server's detour.

Place in the life of an event: before everything else. For each request uvicorn makes a scope, a cycle, a task and two
messages for the answer; on the publish path that was a third of the event loop's time (docs/adr/0006-shortcut.md). Here
the bytes are parsed by the same parser, the event goes to the publisher, and the answer leaves in one write when it is
durable. Whatever is unusual (a slow body, pipelined requests, ``Expect``, any fault) takes uvicorn's way from its first
byte, as if nothing had happened; so this module decides nothing but speed.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final, Protocol

import httptools

from tellwire.model.event import Receipt
from tellwire.publish.publisher import Answer

from .asgi import SAFE
from .patience import HEAD_BYTES, PatientProtocol, written
from .problems import Problem

PREFIX: Final = b"POST /v1/events HTTP/1.1\r\n"
_UNUSUAL: Final = (b"expect", b"upgrade")
_PIECES_WITHIN_S: Final = 0.05
"""Head and body often come apart, one right behind the other; a body that takes longer takes uvicorn's way."""
_PIECES_BYTES: Final = 256 * 1024
_SAFE: Final = b"".join(b"%b: %b\r\n" % pair for pair in SAFE)
_HEADS: Final = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + _SAFE for status in (200, 202)
}
_log: Final = logging.getLogger(__name__)


class Taker(Protocol):
    """The side of the publish routes that takes requests from here."""

    def take(self, headers: dict[bytes, bytes], body: bytes, answer: Answer) -> bool:
        """Submit the event of a request; False, and nothing has happened, where there is anything to object to."""

    def answer_to(self, receipts: list[Receipt]) -> tuple[int, bytes, bytes]:
        """Status, request id and body of the answer to an event that is durable."""

    def problem_to(self, error: Exception) -> tuple[Problem, bytes]:
        """The answer to one that is not, and its request id."""


class _Request:
    """What the parser tells of the bytes at hand."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.begun = self.whole = 0
        self.unusual = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
            self.unusual = True
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        self.whole += 1

    def clear(self) -> None:
        self.headers = []
        self.body = b""
        self.begun = self.whole = 0


class ShortcutProtocol(PatientProtocol):
    """uvicorn's HTTP protocol with the shortcut in front. ``app`` is a ``Taker``, or there is no shortcut."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker: Taker | None = self.app if hasattr(self.app, "take") else None
        self._request = _Request()
        self._reader = httptools.HttpRequestParser(self._request)
        self._pieces: list[bytes] = []  # of a request that is not whole yet
        self._pieces_end: asyncio.TimerHandle | None = None
        self._between = True  # uvicorn's parser is not within a message
        self._waiting = False  # the answer to a request that was taken here is still to come
        self._held = b""  # what came meanwhile
        self._ending = False  # close after that answer
        self._idle_since = 0.0

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if self._waiting:
            self._held += data
            self.flow.pause_reading()
        elif self._pieces or (data.startswith(PREFIX) and self._is_free()):
            self._read(data)
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins that takes uvicorn's way."""
        self._between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """It has arrived."""
        self._between = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._ending = True
        self._forget_pieces()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: an answer that is still to come is waited for."""
        if self._waiting:
            self._ending = True
            return
        if self._pieces:
            self._give_up()
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """One timer serves many requests: it looks whether the connection has really been idle all the time."""
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if self._waiting or self._pieces or left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                max(left_s, 1.0), self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def done(self) -> bool:
        """Part of ``Answer``: whether the client has gone."""
        return self.transport.is_closing()

    def set_result(self, receipts: list[Receipt]) -> None:
        """Part of ``Answer``: the event is durable."""
        assert self._taker is not None  # noqa: S101 - it has taken the request
        status, request_id, body = self._taker.answer_to(receipts)
        self._reply(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n\r\n%b"
            % (_HEADS[status], len(body), request_id, body)
        )

    def set_exception(self, error: Exception) -> None:
        """Part of ``Answer``: it was refused, or could not be stored."""
        assert self._taker is not None  # noqa: S101 - it has taken the request
        problem, request_id = self._taker.problem_to(error)
        if problem.status == 500:
            _log.error("request %s failed", request_id.decode(), exc_info=error)
        self._reply(written(problem, request_id))

    def _is_free(self) -> bool:
        cycle = self.cycle
        return (
            self._taker is not None
            and self._between
            and (cycle is None or cycle.response_complete)
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and (self.most_connections is None or len(self.connections) < self.most_connections)
        )

    def _read(self, data: bytes) -> None:
        """Read on in a request that may be taken here; give up where it may not."""
        self._pieces.append(data)
        request = self._request
        try:
            self._reader.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._give_up()
            return
        if request.whole == request.begun == 1 and not request.unusual and self._submit(request):
            self._forget_pieces()
            request.clear()
        elif request.whole or request.unusual or sum(map(len, self._pieces)) > _PIECES_BYTES:
            self._give_up()
        elif self._pieces_end is None:
            self._pieces_end = self.loop.call_later(_PIECES_WITHIN_S, self._give_up)

    def _give_up(self) -> None:
        """Let uvicorn have the request, from its first byte."""
        data = b"".join(self._pieces)
        self._forget_pieces()
        self._request = _Request()  # with a new parser: the old one may stand in the middle of something
        self._reader = httptools.HttpRequestParser(self._request)
        if not self.transport.is_closing():
            super().data_received(data)

    def _forget_pieces(self) -> None:
        self._pieces.clear()
        if self._pieces_end is not None:
            self._pieces_end.cancel()
            self._pieces_end = None

    def _submit(self, request: _Request) -> bool:
        if sum(map(len, self._pieces)) - len(request.body) > HEAD_BYTES:
            return False
        headers = dict(request.headers)
        assert self._taker is not None  # noqa: S101 - see _is_free
        if len(headers) != len(request.headers) or not self._taker.take(headers, request.body, self):
            return False
        self._stop_waiting()
        self._waiting = True
        return True

    def _reply(self, answer: bytes) -> None:
        self._waiting = False
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        if self._ending:
            self.transport.close()
        elif self._held:
            held, self._held = self._held, b""
            self.flow.resume_reading()
            self.data_received(held)
