"""Items of a JSON array that comes as a byte stream: one by one, and none larger than a limit in memory.

They are cut out, not parsed: what is no JSON between the commas is for whoever takes an item to find.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from .ndjson import CHUNK_BYTES, Line

_OUTSIDE: Final = re.compile(rb'["\[\]{},]')
_IN_TEXT: Final = re.compile(rb'["\\]')
_NO_END: Final = "the array on standard input has no end; what came before it is published"
_MORE: Final = "there is more on standard input than one array; what came before it is published"


def read_items(stream: BinaryIO, max_item_bytes: int) -> Iterator[list[Line]]:
    """Lists of the items that can be read at once; they count from 1.

    The stream begins with ``[``, perhaps after blanks. If it has no end, or goes on after it, the last item says so.
    """
    read = getattr(stream, "read1", stream.read)
    cutter = _Cutter(max_item_bytes)
    while True:
        chunk = read(CHUNK_BYTES)
        items = cutter.cut(chunk) if chunk else cutter.end()
        if items:
            yield items
        if not chunk or cutter.failed:
            return


class _Cutter:
    """Where in the array the stream has come to."""

    def __init__(self, max_item_bytes: int) -> None:
        self.failed = False
        self._most = max_item_bytes
        self._number = 0
        self._depth = 0  # 1 between the items
        self._closed = False
        self._in_text = False
        self._escaped = False  # the next byte belongs to a backslash
        self._kept = bytearray()
        self._too_long = False

    def cut(self, chunk: bytes) -> list[Line]:
        """The items that end in this chunk."""
        items: list[Line] = []
        at = start = 0
        if self._escaped:
            self._escaped, at = False, 1
        while not self._closed:
            found = (_IN_TEXT if self._in_text else _OUTSIDE).search(chunk, at)
            if found is None:
                break
            at, mark = found.end(), found.group()
            if mark == b"\\":
                self._escaped = at >= len(chunk)
                at += 1
            elif mark == b'"':
                self._in_text = not self._in_text
            elif self._depth == 1 and mark in b",]":
                self._keep(chunk[start : at - 1])
                start, self._closed = at, mark == b"]"
                items += self._ended()
            elif mark in b"[{":
                self._depth += 1
                start = at if self._depth == 1 else start
            elif mark in b"]}" and self._depth > 1:
                self._depth -= 1
        if not self._closed:
            self._keep(chunk[start:])
        elif chunk[start:].strip():
            items.append(self._fault(_MORE))
        return items

    def end(self) -> list[Line]:
        """What there is to say at the end of the stream."""
        return [] if self._closed else [self._fault(_NO_END)]

    def _keep(self, piece: bytes) -> None:
        self._too_long = self._too_long or len(self._kept) + len(piece) > self._most
        if self._too_long:
            self._kept.clear()
        else:
            self._kept += piece

    def _ended(self) -> list[Line]:
        text, too_long = bytes(self._kept).strip(), self._too_long
        self._kept.clear()
        self._too_long = False
        if self._closed and self._number == 0 and not text and not too_long:
            return []  # an empty array
        self._number += 1
        return [Line(self._number, None if too_long else text)]

    def _fault(self, words: str) -> Line:
        self.failed = True
        return Line(self._number + 1, None, words)
