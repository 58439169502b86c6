"""The shortest way out for the answers of the publish routes: one write of bytes that are ready.

An ASGI answer is two messages, which uvicorn checks header by header and writes in two system calls; on the publish
path that cost as much as parsing the event (docs/adr/0004-publish-route-in-plain-asgi.md). Under any other server, and
wherever an answer is more than plain, the messages go their usual way.
"""

import http
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_HEADS: Final = {
    status: (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
    ).encode()
    for status in (200, 202)
}


def answer_directly(send: Any, status: int, body: bytes, request_id: str) -> bool:
    """Write a whole answer in JSON, if that can be done at once; False where it cannot, and nothing was written."""
    cycle = getattr(send, "__self__", None)
    head = _HEADS.get(status)
    if (
        head is None
        or not isinstance(cycle, RequestResponseCycle)
        or cycle.response_started
        or cycle.disconnected
        or cycle.flow.write_paused
        or not cycle.keep_alive
    ):
        return False
    cycle.response_started = True
    cycle.transport.write(
        b"%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (head, len(body), request_id.encode(), body)
    )
    cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True
