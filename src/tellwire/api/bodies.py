"""Reads request bodies with a limit on size and time, refusing while reading and not after."""

import asyncio
from typing import Any, Final

from tellwire.errors import FieldError, LimitExceededError

BODY_TIMEOUT_S: Final = 30.0
"""A request whose body takes longer to arrive is refused with 408."""


class DisconnectedError(Exception):
    """The client went away before its body was complete: nobody is left to be answered."""


async def read_body(receive: Any, content_length: bytes | None, limit_bytes: int) -> bytes:
    """The whole body of an ASGI request.

    Raises:
        LimitExceededError: it is, or says it is, larger than ``limit_bytes``.
        TimeoutError: it did not arrive within ``BODY_TIMEOUT_S``.
        DisconnectedError: the client went away.
    """
    if content_length is not None and content_length.isdigit() and int(content_length) > limit_bytes:
        raise too_large(limit_bytes)
    message = await receive()
    if not message.get("more_body", False):  # the usual case: one piece, no timer needed
        return _piece(message, limit_bytes)
    async with asyncio.timeout(BODY_TIMEOUT_S):
        pieces = [_piece(message, limit_bytes)]
        size_bytes = len(pieces[0])
        while message.get("more_body", False):
            message = await receive()
            pieces.append(_piece(message, limit_bytes - size_bytes))
            size_bytes += len(pieces[-1])
    return b"".join(pieces)


def too_large(limit_bytes: int) -> LimitExceededError:
    """The refusal of a body over ``limit_bytes``."""
    fault = FieldError((), f"the request body is larger than {limit_bytes} bytes")
    return LimitExceededError([fault], limit="body_bytes", maximum=limit_bytes)


def _piece(message: Any, room_bytes: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    body: bytes = message.get("body", b"")
    if len(body) > room_bytes:
        raise too_large(room_bytes)
    return body
