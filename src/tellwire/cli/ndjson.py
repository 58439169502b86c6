"""Lines of a byte stream, as soon as they are there, and none longer than a limit in memory."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CHUNK_BYTES = 1 << 18


class Line(NamedTuple):
    """One line without its end; ``number`` counts from 1.

    ``text`` is None where it was longer than the limit, or where ``fault`` says what else is wrong.
    """

    number: int
    text: bytes | None
    fault: str | None = None


def read_lines(stream: BinaryIO, max_line_bytes: int) -> Iterator[list[Line]]:
    """Lists of the lines that can be read at once; blank lines are counted and left out.

    What a slow writer has written is given without waiting for more, so that ``tail -f | tellwire publish`` works.
    """
    read = getattr(stream, "read1", stream.read)
    number, rest, skipping = 0, b"", False
    while True:
        chunk = read(CHUNK_BYTES)
        # The end of the stream ends the last line.
        pieces = (rest + chunk).split(b"\n") if chunk else [rest, b""]
        rest = pieces.pop()
        lines = []
        for piece in pieces:
            number += 1
            if skipping or len(piece) > max_line_bytes:
                lines.append(Line(number, None))
            elif piece.strip():
                lines.append(Line(number, piece))
            skipping = False
        if len(rest) > max_line_bytes:
            rest, skipping = b"", True
        elif skipping:
            rest = b""
        if lines:
            yield lines
        if not chunk:
            return
