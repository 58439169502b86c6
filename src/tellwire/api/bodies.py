"""Reads request bodies: of the right type, with a limit on size and time, refusing while reading and not after."""

import asyncio
from typing import Any, Final

from tellwire.errors import FieldError, LimitExceededError

from .problems import SLOW_REQUEST, WRONG_MEDIA_TYPE, RefusedError

BODY_TIMEOUT_S: Final = 30.0
"""A request whose body takes longer than this to arrive, once it has begun, is refused with 408."""


class DisconnectedError(Exception):
    """The client went away before its body was complete: nobody is left to be answered."""


def check_json(content_type: bytes | None, essences: tuple[bytes, ...] = (b"application/json",)) -> None:
    """Let a request pass that says it is JSON in UTF-8: with at most a charset (RFC 9110 section 8.3.1).

    Raises:
        RefusedError: 415, the content type is another, or missing.
    """
    if content_type in essences:
        return
    essence, _, parameters = (content_type or b"").lower().partition(b";")
    charset = parameters.strip().removeprefix(b"charset=").strip(b'"')
    if essence.strip() not in essences or charset not in (b"", b"utf-8", b"utf8"):
        raise RefusedError(WRONG_MEDIA_TYPE, "send JSON with the header Content-Type: application/json")


def check_plain(content_encoding: bytes | None) -> None:
    """Let a request pass whose body is the JSON itself: what is compressed has a size that nobody knows beforehand.

    Raises:
        RefusedError: 415, the body comes in an encoding (RFC 9110 section 8.4).
    """
    if content_encoding is not None and content_encoding.strip().lower() not in (b"", b"identity"):
        raise RefusedError(WRONG_MEDIA_TYPE, "send the body as it is, without the header Content-Encoding")


async def read_body(receive: Any, content_length: bytes | None, limit_bytes: int) -> bytes:
    """The whole body of an ASGI request.

    Raises:
        LimitExceededError: it is, or says it is, larger than ``limit_bytes``.
        RefusedError: 408, it did not arrive within ``BODY_TIMEOUT_S``.
        DisconnectedError: the client went away.
    """
    if content_length is not None and content_length.isdigit() and int(content_length) > limit_bytes:
        raise too_large(limit_bytes)
    if _is_here(receive):  # the usual case: head and body came together, and no timer is needed
        return _piece(await receive(), 0, limit_bytes)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _pieces(receive, limit_bytes)
    except TimeoutError:
        raise RefusedError(SLOW_REQUEST, "the request body did not arrive in time") from None


def too_large(limit_bytes: int) -> LimitExceededError:
    """The refusal of a body over ``limit_bytes``."""
    fault = FieldError((), f"the request body is larger than {limit_bytes} bytes")
    return LimitExceededError([fault], limit="body_bytes", maximum=limit_bytes)


def _is_here(receive: Any) -> bool:
    """Whether uvicorn has the whole body already. A timer would cost as much as reading it; unknown servers get one."""
    return getattr(getattr(receive, "__self__", None), "more_body", True) is False


async def _pieces(receive: Any, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        pieces.append(_piece(message, size_bytes, limit_bytes))
        size_bytes += len(pieces[-1])
        more = message.get("more_body", False)
    return b"".join(pieces)


def _piece(message: Any, before_bytes: int, limit_bytes: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    body: bytes = message.get("body", b"")
    if before_bytes + len(body) > limit_bytes:
        raise too_large(limit_bytes)
    return body
