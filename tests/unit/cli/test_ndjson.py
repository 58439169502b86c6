"""Lines from a stream: whole, numbered, in whatever pieces they come, and bounded."""

import io
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from tellwire.cli.ndjson import Line, read_lines


class Pieces(io.RawIOBase):
    """A stream that gives these pieces, one a read."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def read1(self, size: int = -1) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def lines_of(pieces: list[bytes], limit: int = 1_000) -> list[Line]:
    stream = cast("io.BytesIO", Pieces(pieces))
    return [line for lines in read_lines(stream, limit) for line in lines]


@given(st.lists(st.sampled_from([b"{}", b"\n", b"a", b"\r\n", b"bc", b" "]), max_size=20))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    """However a stream is cut into reads, the same lines with the same numbers come out."""
    whole = b"".join(pieces)
    expected = [Line(at, text) for at, text in enumerate(whole.split(b"\n"), 1) if text.strip()]

    assert lines_of(pieces) == expected


def test_last_line_without_end() -> None:
    """The last line counts although nothing ends it."""
    assert lines_of([b"a\nb"]) == [Line(1, b"a"), Line(2, b"b")]


def test_long_lines_are_not_kept() -> None:
    """A line over the limit is told by its number, whether it ends in the same read or much later; others go on."""
    assert lines_of([b"x" * 11 + b"\nab\n"], 10) == [Line(1, None), Line(2, b"ab")]
    assert lines_of([b"ab\n", b"x" * 8, b"x" * 8, b"x" * 8 + b"\n", b"c"], 10) == [
        Line(1, b"ab"),
        Line(2, None),
        Line(3, b"c"),
    ]
    assert lines_of([b"x" * 8, b"x" * 8], 10) == [Line(1, None)]


def test_lines_come_at_once() -> None:
    """What has been written is given without waiting for more."""
    reads = read_lines(cast("io.BytesIO", Pieces([b"a\n", b"b\n"])), 10)

    assert next(reads) == [Line(1, b"a")]
