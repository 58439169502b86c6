"""Property: however the bytes of an answer are cut into pieces, it is the same answer; and no bytes do harm."""

import asyncio
import itertools
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.answer import Answer
from tellwire.deliver.connection import Connection

_ANSWERS: Final = (
    b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: u\r\n\r\n",
    b"HTTP/1.1 410 Gone\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
    b"HTTP/1.1 2x0 OK\r\n\r\n",
)
_ENDED: Final = _ANSWERS[:5]
"""Those that say where they end."""
_KEPT: Final = _ANSWERS[:4]
"""Those after which the connection may be used again."""


class _Wire(asyncio.Transport):
    """The other side of a protocol, without a socket: notes what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


async def _met(pieces: list[bytes]) -> tuple[Answer, bool, int]:
    """What a connection makes of ``pieces`` and the end behind them: the answer, whether it was kept, rests."""
    rested: list[Connection] = []
    wire = _Wire()
    connection = Connection(("127.0.0.1", "a"), rested.append, lambda _: None, 1_000)
    connection.connection_made(wire)
    waiting = connection.request(b"POST / HTTP/1.1\r\n\r\n", 100, 0.0)
    for piece in pieces:
        if waiting.done():
            break
        connection.data_received(piece)
    if not waiting.done():
        connection.connection_lost(None)
    return waiting.result(), not wire.closed, len(rested)


def _cut(data: bytes, at: set[int]) -> list[bytes]:
    marks = [0, *sorted(mark for mark in at if 0 < mark < len(data)), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(marks)]


@given(data=st.sampled_from(_ANSWERS), at=st.sets(st.integers(0, 160), max_size=12))
def test_pieces_make_no_difference(data: bytes, at: set[int]) -> None:
    """Cut anywhere, an answer reads as it does whole, and its connection is kept or not all the same."""
    assert asyncio.run(_met(_cut(data, at))) == asyncio.run(_met([data]))


@given(data=st.sampled_from(_ENDED), more=st.sampled_from((b"H", b"HTTP/1.1 200 OK\r\n", *_ENDED)))
def test_nobody_gets_what_follows_an_answer(data: bytes, more: bytes) -> None:
    """Bytes behind an answer, in the same piece, change nothing of it and end the connection."""
    alone, _, _ = asyncio.run(_met([data]))
    assert asyncio.run(_met([data + more])) == (alone, False, 0)


@given(data=st.sampled_from(_KEPT), more=st.sampled_from((b"H", b"\r\n", *_ENDED)))
def test_bytes_that_nobody_asked_for_end_the_connection(data: bytes, more: bytes) -> None:
    """Nor do they when they come later, while the connection rests: it is closed and does not rest twice."""

    async def scene() -> None:
        rested: list[Connection] = []
        wire = _Wire()
        connection = Connection(("127.0.0.1", "a"), rested.append, lambda _: None, 1_000)
        connection.connection_made(wire)
        connection.request(b"POST / HTTP/1.1\r\n\r\n", 100, 0.0)
        connection.data_received(data)
        assert rested == [connection]
        connection.data_received(more)
        assert wire.closed
        assert rested == [connection]

    asyncio.run(scene())


@given(data=st.sampled_from(_KEPT))
def test_an_answer_to_one_who_has_gone_ends_the_connection(data: bytes) -> None:
    """Who is cancelled closes the connection a moment later: in between it must not come to be another's."""

    async def scene() -> None:
        rested: list[Connection] = []
        wire = _Wire()
        connection = Connection(("127.0.0.1", "a"), rested.append, lambda _: None, 1_000)
        connection.connection_made(wire)
        connection.request(b"POST / HTTP/1.1\r\n\r\n", 100, 0.0).cancel()
        connection.data_received(data)
        assert wire.closed
        assert rested == []

    asyncio.run(scene())


@given(
    data=st.sampled_from(_ANSWERS).flatmap(
        lambda good: st.tuples(
            st.integers(0, len(good)), st.integers(0, len(good)), st.binary(max_size=30)
        ).map(lambda edit: good[: edit[0]] + edit[2] + good[edit[1] :])
    ),
    at=st.sets(st.integers(0, 200), max_size=5),
)
def test_no_bytes_do_harm(data: bytes, at: set[int]) -> None:
    """Whatever comes is an answer or an error; one that is kept rests exactly once; nothing is raised."""
    answer, kept, rests = asyncio.run(_met(_cut(data, at)))
    assert rests == kept
    assert (answer.error is None) <= (answer.status is not None)
    assert len(answer.body) <= 100
    assert all(name == name.lower() and value.isprintable() for name, value in answer.headers)
