"""The statements that add up statistics, in PostgreSQL's dialect: see ``rollups``. Call them inside ``run_sync``."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from .postgres_hot import columns, fetch
from .rollups import KEY_COLUMNS, Entry, Key, RollupRow

_LOCK: Final = 0x7E11_0003


class PostgresRollupStatements:
    """See ``rollups.RollupStatements``."""

    def alone(self, connection: Connection) -> bool:
        """One process at a time adds up, and the others let it."""
        return bool(fetch(connection, "SELECT pg_try_advisory_xact_lock($1)", _LOCK)[0][0])

    def entries(self, connection: Connection, ids: Sequence[int]) -> list[Entry]:
        """Those of these entries of the journal that are there."""
        found = fetch(connection, "SELECT id, entries FROM tally_journal WHERE id = ANY ($1)", list(ids))
        return [Entry(*row) for row in found]

    def remove_entries(self, connection: Connection, ids: Sequence[int]) -> None:
        """Remove them from the journal."""
        fetch(connection, "DELETE FROM tally_journal WHERE id = ANY ($1)", list(ids))

    def append_entries(self, connection: Connection, entries: Sequence[bytes]) -> list[int]:
        """Append entries to the journal; gives their ids."""
        return [row[0] for row in fetch(connection, _APPEND, list(entries))]

    def find(self, connection: Connection, keys: Sequence[Key]) -> list[RollupRow]:
        """Those of these rollups that are there."""
        return [RollupRow(*row) for row in fetch(connection, _FIND, *columns(keys))]

    def put(self, connection: Connection, rows: Sequence[RollupRow]) -> None:
        """Store rollups, in place of what is there."""
        fetch(connection, _PUT, *columns(rows))


_FIELDS: Final = ",".join(RollupRow._fields)
_KEYS: Final = "unnest($1::text[], $2::bytea[], $3::smallint[], $4::bigint[])"

_APPEND: Final = "INSERT INTO tally_journal (entries) SELECT unnest($1::bytea[]) RETURNING id"

_FIND: Final = f"""
    SELECT {_FIELDS} FROM {_KEYS} AS wanted(tenant, endpoint_id, span, start_ms)
    JOIN rollups USING (tenant, endpoint_id, span, start_ms)"""  # noqa: S608 - our own names

_PUT: Final = f"""
    INSERT INTO rollups ({_FIELDS})
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::bytea[])
    ON CONFLICT (tenant, endpoint_id, span, start_ms)
    DO UPDATE SET {",".join(f"{name} = excluded.{name}" for name in RollupRow._fields[KEY_COLUMNS:])}"""  # noqa: S608 - our own names
