"""An answer: what came back of one request, or why nothing did, whichever client carried it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from tellwire.model.attempt import AttemptError

KEPT_HEADERS_BYTES: Final = 4_096


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a receiver said.

    Attributes:
        status: None where none arrived.
        error: None where the answer is whole.
        detail: a sentence on the error; it quotes neither headers nor bodies nor the URL.
        headers: names in lower case, as many as evidence keeps.
        body: its first bytes, as many as were asked for.
        unreachable: nobody could be connected to at that address; nothing was sent.
        stale: nothing came back on a connection that had been kept; the receiver may have given it up long ago.
    """

    status: int | None = None
    error: AttemptError | None = None
    detail: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    unreachable: bool = False
    stale: bool = False


def kept(headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """As many whole headers as evidence keeps, wherever they stand."""
    if sum([len(name) + len(value) for name, value in headers]) <= KEPT_HEADERS_BYTES:
        return tuple(headers)
    left = KEPT_HEADERS_BYTES
    fitting = []
    for name, value in headers:
        size = len(name) + len(value)
        if size <= left:
            left -= size
            fitting.append((name, value))
    return tuple(fitting)
