"""Lines reach their stream whole and in order, many in one write where they can wait."""

import asyncio
import io
from typing import BinaryIO, cast

from tellwire.observe.lines import LineLogger


class Stream(io.RawIOBase):
    """A stream that remembers its writes, and may refuse them."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.broken = False

    def write(self, written: bytes) -> int:  # type: ignore[override]
        """Part of a stream."""
        if self.broken:
            raise BrokenPipeError
        self.writes.append(written)
        return len(written)


def logger_to(stream: Stream) -> LineLogger:
    """A logger that writes to ``stream``."""
    return LineLogger(cast(BinaryIO, stream))


async def test_lines_of_one_turn_go_together() -> None:
    """What can wait for the end of the loop's turn is one write then."""
    stream = Stream()
    logger = logger_to(stream)
    for line in (b"one", b"two", b"three"):
        logger.soon(line)
    assert stream.writes == []
    await asyncio.sleep(0)
    assert stream.writes == [b"one\ntwo\nthree\n"]


async def test_order_is_kept() -> None:
    """A line that is written at once comes after those that waited, and none comes twice."""
    stream = Stream()
    logger = logger_to(stream)
    logger.soon(b"first")
    logger.info("second")
    await asyncio.sleep(0)
    assert b"".join(stream.writes) == b"first\nsecond\n"


async def test_a_write_fits_into_a_pipe() -> None:
    """Lines that together are longer than a pipe takes in one piece are several writes of whole lines."""
    stream = Stream()
    logger = logger_to(stream)
    for _ in range(100):
        logger.soon(b"x" * 100)
    await asyncio.sleep(0)
    assert b"".join(stream.writes) == (b"x" * 100 + b"\n") * 100
    assert max(map(len, stream.writes)) <= 4096
    assert all(written.endswith(b"\n") for written in stream.writes)


def test_without_a_loop_nothing_waits() -> None:
    """In a thread without an event loop a line is written at once."""
    stream = Stream()
    logger_to(stream).soon(b"now")
    assert stream.writes == [b"now\n"]


async def test_a_refused_write_is_dropped() -> None:
    """A stream that is gone costs its lines and nothing else; later ones are tried again."""
    stream = Stream()
    logger = logger_to(stream)
    stream.broken = True
    logger.soon(b"lost")
    await asyncio.sleep(0)
    stream.broken = False
    logger.soon(b"kept")
    await asyncio.sleep(0)
    assert stream.writes == [b"kept\n"]
