"""The log of an SQLite file: copied into the file beside the writing, so that nobody waits for that.

Left to itself, SQLite copies the log in the commit that makes it too long: tens of megabytes and their fsync, for which
everything that is written waits (docs/adr/0024-the-log-is-copied-beside-the-writing.md). Here a thread copies it, on a
connection of its own, which needs no lock that a writer needs. The log begins anew only when all of it is in the file,
so the writer copies what was added meanwhile between two of its transactions: a small rest.

How long the log is can be seen in it. Each of its pages has a header with two numbers (salts) that change when the log
begins anew, so that what is left of earlier ones is told from what counts. Source: https://www.sqlite.org/walformat.html
"""

import os
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Final

_HEADER: Final = 32
_PAGE_HEADER: Final = 24
_LITTLE: Final = 200
"""So many pages are copied in a millisecond or two, during which seldom any are written."""
_QUICK: Final = 3
_TURNS: Final = 10
"""What was copied is synced once it was little for so many turns; that is as many as there are at most."""
_REST_S: Final = 0.5
"""After a copy another one waits so long: where somebody reads for long, not all of the log can be copied."""


class Log:
    """Of one file. For the event loop; what takes long it does in a thread of its own."""

    def __init__(self, path: Path, pages: int) -> None:
        """It is to be copied when it holds so many ``pages``."""
        self._path = path
        self._pages = pages
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="tellwire-log")
        self._copying: Future[bool] | None = None
        self._not_before = 0.0
        self._file: int | None = None

    @property
    def is_long(self) -> bool:
        """Whether it holds so many pages."""
        if self._file is None:
            try:
                self._file = os.open(self._path.with_name(f"{self._path.name}-wal"), os.O_RDONLY)
            except OSError:
                return False
        header = os.pread(self._file, _HEADER, 0)
        page = int.from_bytes(header[8:12], "big") + _PAGE_HEADER
        last = os.pread(self._file, _PAGE_HEADER, _HEADER + (self._pages - 1) * page)
        return len(last) == _PAGE_HEADER and last[8:16] == header[16:24]

    def leaves_a_rest(self) -> bool:
        """To be asked after each commit: has the log copied if it is long. True when that is done and what came
        meanwhile is to be copied by the writer (``copy_rest``); not where another process has copied it."""
        if self._copying is None:
            if monotonic() >= self._not_before and self.is_long:
                self._copying = self._copier.submit(self._copy)
            return False
        if not self._copying.done():
            return False
        copied, self._copying = self._copying, None
        self._not_before = monotonic() + _REST_S
        return copied.exception() is None and copied.result()

    def close(self) -> None:
        """Wait for a copy that is under way, and make no more."""
        self._copier.shutdown(wait=True)
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _copy(self) -> bool:
        """Copy it, then what came while that was done, and so on until little comes: then the file is synced here.

        Gives whether it was this process that did.

        SQLite syncs it only where nothing was written meanwhile, so that what is left to the writer would be all of it.
        """
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=0)) as driver:
            driver.execute("PRAGMA synchronous = FULL")
            before = quick = 0
            for _ in range(_TURNS):
                pages, copied = _copied(driver, "PASSIVE")
                if pages < 0:
                    return False
                quick += pages - before < _LITTLE
                if quick == _QUICK:
                    break
                before = copied
        return True


def copy_rest(driver: sqlite3.Connection) -> tuple[int, int]:
    """Copy what is left, between two transactions of the writer; no other process writes meanwhile, so that the log can
    begin anew. Where one does already, what is there is copied. Gives the pages of the log and how many are copied.
    """
    return _copied(driver, "FULL")


def _copied(driver: sqlite3.Connection, mode: str) -> tuple[int, int]:
    """Copy what of the log nobody reads any more into the file; waits for nobody. Outside a transaction.

    Gives how many pages the log holds, and how many of them are copied; -1 where another process copies.
    """
    _, pages, copied = driver.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return pages, copied
