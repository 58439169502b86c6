"""Items of an array on a stream: whole, numbered, in whatever pieces they come, and bounded."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.cli.arrays import read_items
from tellwire.cli.ndjson import Line

from .test_ndjson import Pieces

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},\né', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def items_of(pieces: list[bytes], limit: int = 1_000) -> list[Line]:
    stream = cast("Any", Pieces(pieces))
    return [item for items in read_items(stream, limit) for item in items]


@given(
    st.lists(JSON, max_size=6),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_pieces_do_not_matter(array: list[Any], indent: int | None, ascii: bool, sizes: list[int]) -> None:
    """However an array is laid out and cut into reads, its items come out, numbered from 1."""
    text = b" \n" + json.dumps(array, indent=indent, ensure_ascii=ascii).encode() + b"\r\n"
    pieces: list[bytes] = []
    at = 0
    while at < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[at : at + size])
        at += size
    found = items_of(pieces, 10_000)
    assert [item.number for item in found] == list(range(1, len(array) + 1))
    assert [json.loads(item.text or b"") for item in found] == array


@given(st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"a", b" "]), max_size=30))
def test_whatever_comes_has_an_end(pieces: list[bytes]) -> None:
    """Any bytes after the bracket are items, each with a number of its own; nothing is raised."""
    numbers = [item.number for item in items_of([b"[", *pieces])]
    assert numbers == list(range(1, len(numbers) + 1))


def test_long_items_are_not_kept() -> None:
    """An item over the limit is told by its number, wherever it ends; others go on."""
    assert items_of([b"[" + b"1" * 11 + b",22]"], 10) == [Line(1, None), Line(2, b"22")]
    assert items_of([b"[1,", b"2" * 8, b"2" * 8, b"2,3]"], 10) == [
        Line(1, b"1"),
        Line(2, None),
        Line(3, b"3"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[1", "has no end"),
        (b'[1,"]', "has no end"),
        (b"[1]2", "more"),
        (b"[1]\n[2]", "more"),
        (b"[", "no end"),
    ],
)
def test_an_array_that_is_none_is_told(text: bytes, words: str) -> None:
    """Its last item says what is wrong: no end, or something after it."""
    *_, last = items_of([text])
    assert last.text is None
    assert words in (last.fault or "")
    assert items_of([b"[1,]"]) == [Line(1, b"1"), Line(2, b"")]
    assert items_of([b"[ ]"]) == []
