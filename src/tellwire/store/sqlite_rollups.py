"""The statements that add up statistics, in SQLite's dialect: see ``rollups``."""

import json
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Final

from sqlalchemy import Connection

from .rollups import KEY_COLUMNS, Entry, Key, RollupRow
from .sqlite_hot import chunks, driver_of


class SqliteRollupStatements:
    """See ``rollups.RollupStatements``."""

    def alone(self, _: Connection) -> bool:
        """Who writes is alone."""
        return True

    def entries(self, connection: Connection, ids: Sequence[int]) -> list[Entry]:
        """Those of these entries of the journal that are there."""
        return [Entry(*row) for row in driver_of(connection).execute(_ENTRIES, (json.dumps(ids),))]

    def remove_entries(self, connection: Connection, ids: Sequence[int]) -> None:
        """Remove them from the journal."""
        driver_of(connection).execute(_REMOVE, (json.dumps(ids),))

    def append_entries(self, connection: Connection, entries: Sequence[bytes]) -> list[int]:
        """Append entries to the journal; gives their ids."""
        driver = driver_of(connection)
        return [row[0] for chunk in chunks(entries) for row in driver.execute(_append(len(chunk)), chunk)]

    def find(self, connection: Connection, keys: Sequence[Key]) -> list[RollupRow]:
        """Those of these rollups that are there."""
        driver = driver_of(connection)
        return [
            RollupRow(*row)
            for chunk in chunks(keys)
            for row in driver.execute(_find(len(chunk)), list(chain.from_iterable(chunk)))
        ]

    def put(self, connection: Connection, rows: Sequence[RollupRow]) -> None:
        """Store rollups, in place of what is there."""
        driver = driver_of(connection)
        for chunk in chunks(rows):
            driver.execute(_put(len(chunk)), list(chain.from_iterable(chunk)))


_AMONG: Final = "id IN (SELECT value FROM json_each(?))"
_ENTRIES: Final = f"SELECT id, entries FROM tally_journal WHERE {_AMONG}"  # noqa: S608 - our own constant
_REMOVE: Final = f"DELETE FROM tally_journal WHERE {_AMONG}"  # noqa: S608 - our own constant


@cache
def _append(entries: int) -> str:
    return f"INSERT INTO tally_journal (entries) VALUES {_places(1, entries)} RETURNING id"  # noqa: S608 - placeholders


@cache
def _find(keys: int) -> str:
    return f"""
        SELECT {",".join(RollupRow._fields)} FROM rollups
        WHERE ({",".join(RollupRow._fields[:KEY_COLUMNS])}) IN (VALUES {_places(KEY_COLUMNS, keys)})"""  # noqa: S608 - our own names


@cache
def _put(rows: int) -> str:
    fields = RollupRow._fields
    return f"""
        INSERT INTO rollups ({",".join(fields)}) VALUES {_places(len(fields), rows)}
        ON CONFLICT ({",".join(fields[:KEY_COLUMNS])})
        DO UPDATE SET {",".join(f"{name} = excluded.{name}" for name in fields[KEY_COLUMNS:])}"""  # noqa: S608 - our own names


def _places(columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return ",".join([row] * rows)
