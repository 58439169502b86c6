"""The board: the numbers of every process of a server, in memory that they share.

One row a process, which alone writes it; whoever is asked reads all of them. The memory is made before the processes
are forked and belongs to no file: nothing is to be set up, nothing is left behind. What a process has counted stays
when it dies, and the one that is started in its place counts on, so that sums never go down.
"""

import mmap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Row = memoryview[float]
else:  # Python 3.11 has no such subscript
    Row = memoryview

_CELL_BYTES: Final = 8  # float64: whole numbers are exact up to 2**53


class Board:
    """``rows`` times ``cells`` numbers, all zero at first."""

    def __init__(self, rows: int, cells: int) -> None:
        # Anonymous and shared: processes that are forked from now on see the same memory.
        size = max(rows * cells * _CELL_BYTES, 1)
        self._memory = memoryview(mmap.mmap(-1, size)).cast("d")
        self._cells = cells
        self.rows = rows

    def row(self, number: int) -> Row:
        """The cells of one process: ``row[cell] += 1`` takes a tenth of a microsecond."""
        return self._memory[number * self._cells : (number + 1) * self._cells]

    def sums(self, cells: Sequence[int]) -> list[float]:
        """Each of ``cells``, summed over all rows."""
        return [sum(self._memory[cell :: self._cells].tolist()) for cell in cells]
