"""What was committed to an SQLite file becomes durable: its log is synced, when the lock has been given back.

Place in the life of an event: the last step before it is acknowledged. Left to itself, SQLite syncs the log within each
commit, under the lock that all who write take turns with. Here a commit only writes to the log (``synchronous =
NORMAL``), and nobody is told of it before the log is synced
(docs/adr/0025-the-log-is-synced-when-the-lock-is-free.md).

What others have committed is synced along, so that whatever is done in a transaction rests on what is durable. Of a log
that could not be synced, nobody knows what is on the disk, although the system takes it for written from then on:
nothing more is acknowledged until all of it is in the file itself, which is synced then, and the log begins anew.
"""

import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Final

from tellwire.errors import StoreUnavailableError

Aside = Callable[[Callable[[], None]], Awaitable[None]]
"""Has something done in a thread, to its end."""

_QUICK_S: Final = 0.002
_STALLED_S: Final = 0.010
"""A sync that took longer counts as one that took so long: the disk may have stalled for once."""
_sync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)  # macOS knows no fdatasync


class LogSync:
    """Of one database, which is open."""

    def __init__(self, path: Path, aside: Aside) -> None:
        """Raises StoreUnavailableError."""
        self._name = path.name
        self._aside = aside
        self._took_s = 0.0  # how long it takes at present, smoothed: a single slow one is nothing
        self._in_doubt = False
        # What this process has changed, counted, and what others have: as was looked at last, and as is on the disk.
        self._seen = self._durable = (-1, -1)
        try:
            self._file = os.open(path.with_name(f"{path.name}-wal"), os.O_RDWR)
        except OSError as error:
            raise StoreUnavailableError(
                f"the log of database {path.name} cannot be opened: {error}"
            ) from error

    def close(self) -> None:
        """Sync no more."""
        os.close(self._file)

    def look(self, driver: sqlite3.Connection) -> None:
        """To be called before each commit: look what will be in the log, of this process and of others."""
        self._seen = driver.total_changes, driver.execute("PRAGMA data_version").fetchone()[0]

    async def harden(self, *, beside: bool) -> None:
        """Return when all that has been committed, by whichever process, is durable.

        Where all that was seen is so already, the disk is left alone.

        ``beside``: the event loop has other things to do meanwhile, and a core to do them. Where it has not, and the
        disk has been quick, handing it to a thread would take longer than the sync.

        Raises:
            StoreUnavailableError: the disk failed; what became of it is unknown.
        """
        if self._seen == self._durable:
            return
        try:
            if beside:
                await self._aside(self._sync)
            elif self._took_s >= _QUICK_S:
                # In the end one is tried on the event loop again: a thread's time says little of the disk's.
                self._took_s *= 0.95
                await self._aside(self._sync)
            else:
                started = monotonic()
                self._sync()
                took_s = min(monotonic() - started, _STALLED_S)
                self._took_s += 0.1 * (took_s - self._took_s)
        except OSError as error:
            self._in_doubt = True
            sentence = f"database {self._name}: the disk failed: {error}"
            raise StoreUnavailableError(sentence, outcome_unknown=True) from error
        self._durable = self._seen

    async def settle(self, driver: sqlite3.Connection) -> None:
        """To be called before each transaction: after a failure, have all of the log copied into the file first.

        Raises:
            StoreUnavailableError: somebody reads or writes, who is in the way.
            sqlite3.Error: the disk still fails.
        """
        if self._in_doubt:
            await self._aside(lambda: self._begin_anew(driver))
            self._in_doubt = False

    def _sync(self) -> None:
        _sync(self._file)

    def _begin_anew(self, driver: sqlite3.Connection) -> None:
        busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreUnavailableError(
                f"database {self._name}: the disk failed, and its log is still in use; try again"
            )
