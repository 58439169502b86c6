"""SQLite in the caller's transaction: the lock for writing is taken first, so that all that is read after it holds.

A file has one writer. What waits for it waits in the caller's driver, unless that would hold up the event loop.
"""

import os
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

from sqlalchemy import Connection

from .order import Place
from .sqlite_hot import delivery_inserts, event_inserts, page_inserts
from .sqlite_order import last_statements
from .within import PAUSE_S, NewRows, Rows, Sql, Steps, Wish, code_of, ending, savepoint

_KNOWN_AT_ONCE: Final = 200
_FILES: Final = "PRAGMA database_list"
_LOCK: Final = "DELETE FROM main.events WHERE 0"
"""Changes nothing, but is a change: the driver begins its transaction for it, and SQLite takes the lock for it."""


class SqliteWithin:
    """See ``within.WithinStatements``."""

    dialect = "sqlite"

    def place_in(self, connection: Connection) -> tuple[object, str]:
        """The file. Tables that the caller has attached or made for himself never stand in for ours in ``main``."""
        return _file_of(connection.exec_driver_sql(_FILES).all()), "main"

    def place(self) -> Steps[object]:
        """The file of the caller's connection; None is memory."""
        return _file_of((yield Sql(_FILES)))

    def revision(self, schema: str, *, hurried: bool) -> Steps[int]:
        """Take the lock, then read the revision: nobody can change it any more."""
        if hurried:
            yield from self._lock_hurried()
        else:
            yield Sql(_LOCK)
        [(revision,)] = yield Sql("SELECT value FROM main.revisions WHERE name = 'control'")
        return int(revision)

    def _lock_hurried(self) -> Steps[None]:
        """Wait as long as the caller's driver would, but on the event loop: there our own writer may end."""
        [(wait_ms,)] = yield Sql("PRAGMA busy_timeout")
        yield Sql("PRAGMA busy_timeout = 0")
        restored = (Sql(f"PRAGMA busy_timeout = {int(wait_ms)}"),)
        yield from ending(self._lock_within(int(wait_ms)), failed=restored, done=restored)

    def _lock_within(self, left_ms: float) -> Steps[None]:
        while True:
            try:
                yield Sql(_LOCK)
                return
            except Exception as error:
                # Not for SQLITE_BUSY_SNAPSHOT: what the transaction has read is out of date, and stays so.
                if code_of(error) != sqlite3.SQLITE_BUSY or left_ms <= 0:
                    raise
            left_ms -= PAUSE_S * 1000
            yield Wish.PAUSE

    def visible(self, schema: str, endpoint_ids: Sequence[bytes]) -> Steps[set[bytes]]:
        """All: under the lock there is nothing newer."""
        yield from ()
        return set(endpoint_ids)

    def known(self, schema: str, places: Sequence[tuple[str, str]]) -> Steps[Rows]:
        """The events that hold the idempotency keys; ``CROSS`` has SQLite look each of them up in the index."""
        found: list[Sequence[object]] = []
        for start in range(0, len(places), _KNOWN_AT_ONCE):
            some = places[start : start + _KNOWN_AT_ONCE]
            asked = ",".join(f"({start + number},?,?)" for number in range(len(some)))
            found += yield Sql(
                f"""
                SELECT asked.column1, e.fingerprint, e.id, e.occurred_ms, e.created_ms, e.deliveries
                FROM (VALUES {asked}) AS asked CROSS JOIN main.events AS e
                    ON e.tenant = asked.column2 AND e.idempotency_key = asked.column3""",  # noqa: S608 - numbers
                tuple(part for place in some for part in place),
            )
        return found

    def last(self, schema: str, places: Sequence[Place]) -> Steps[list[bytes | None]]:
        """See ``order.OrderStatements``."""
        found: list[bytes | None] = []
        for statement in last_statements(places):
            found += [row[0] for row in (yield Sql(*statement))]
        return found

    def insert(self, schema: str, rows: NewRows, *, keyed: bool, hurried: bool) -> Steps[bool]:
        """Store all; under the lock no other transaction can be in the way."""
        yield from savepoint(_insert(rows))
        return True


def _insert(rows: NewRows) -> Steps[None]:
    for statement in chain(
        event_inserts(rows.events), delivery_inserts(rows.deliveries), page_inserts(rows.pages)
    ):
        yield Sql(*statement)


def _file_of(rows: Rows) -> tuple[int, int] | None:
    """The file of ``main``, which comes first, by its place on the disk: it may go by several names."""
    name = next(iter(rows))[2]
    if not name:
        return None
    stat = os.stat(name)
    return stat.st_dev, stat.st_ino
