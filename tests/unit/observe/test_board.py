"""The board: rows of numbers that processes share."""

import os

from tellwire.observe.board import Board


def test_rows_are_apart_and_sums_go_over_all() -> None:
    """What one row counts no other sees; a sum has all of them."""
    board = Board(3, 4)
    for number in range(3):
        board.row(number)[1] += number + 1
    board.row(2)[3] += 0.5

    assert board.row(0).tolist() == [0, 1, 0, 0]
    assert board.sums([0, 1, 3]) == [0, 6, 0.5]


def test_what_a_forked_process_counts_is_seen_and_stays() -> None:
    """A child's counts are there for its parent, also after the child has died without a word."""
    board = Board(2, 1)
    pid = os.fork()
    if pid == 0:
        board.row(1)[0] += 7
        os._exit(0)
    os.waitpid(pid, 0)
    board.row(0)[0] += 1

    assert board.sums([0]) == [8]
