"""The plain ASGI that both halves of the API stand on: types, answers, refusals.

The publish routes are ASGI through and through; FastAPI's half is wrapped in it (see ``shell``). What both need is
here, so that an error looks the same wherever it happened.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from . import problems
from .problems import problem_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON: Final = b"application/json"
_PROBLEM: Final = problems.CONTENT_TYPE.encode()
_CLOSE: Final = (b"connection", b"close")
SAFE: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""On every answer of the API: it is what it says it is, and nobody keeps a copy."""

_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 16 * 1024 * 1024
_log: Final = logging.getLogger(__name__)


async def answer(
    send: Send, status: int, body: bytes, request_id: str, *, content_type: bytes = JSON, extra: Headers = ()
) -> None:
    """Send a whole response."""
    await send(_start(status, body, request_id, content_type, extra))
    await send({"type": "http.response.body", "body": body})


async def refuse(error: Exception, request_id: str, receive: Receive, send: Send) -> None:
    """Send the problem that ``error`` is; an error that is our fault goes to the log, with its trace."""
    refusal = problem_of(error, request_id)
    if refusal.status == 500:
        _log.error("request %s failed", request_id, exc_info=error)
    extra = [(k.encode(), v.encode()) for k, v in refusal.headers.items() if k != "content-type"]
    if refusal.status not in (408, 413):
        await answer(send, refusal.status, refusal.body, request_id, content_type=_PROBLEM, extra=extra)
        return
    # The rest of the body is not wanted, so the connection cannot be used again. Closed at once, with data still
    # coming in, it would be reset, and the client might never read why: so it is closed a little later.
    await send(_start(refusal.status, refusal.body, request_id, _PROBLEM, [*extra, _CLOSE]))
    await send({"type": "http.response.body", "body": refusal.body, "more_body": True})
    await _linger(receive)
    await send({"type": "http.response.body", "body": b""})


def _start(status: int, body: bytes, request_id: str, content_type: bytes, extra: Headers) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            *SAFE,
            *extra,
        ],
    }


async def _linger(receive: Receive) -> None:
    room_bytes = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_S):
            while room_bytes > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                room_bytes -= len(message.get("body", b""))
    except TimeoutError:
        pass
