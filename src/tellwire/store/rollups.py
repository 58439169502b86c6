"""Rollups: the journal of tallies, added up by hour and day for each endpoint, each tenant and the whole server.

A row of ``rollups`` counts what happened in one hour or day (``span``). An empty ``endpoint_id`` means all endpoints of
the tenant, the ``tenant`` ``*`` all tenants. What stands in the journal is in no rollup yet: whoever reads adds it, in
the same snapshot, so that answers are exact at once.

Where many entries tell of many endpoints, they are put together first (``put_together``), into few entries of few
endpoints each. So a rollup is written once for all of them and not once for each. Each piece is a few large statements
and takes a few milliseconds: everything else that writes waits for it.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, delete, insert, select, tuple_

from tellwire.model.stats import Span
from tellwire.policy.histogram import Histogram

from .tables import rollups, tally_journal
from .tallies import Tallies, Tally, decode, encode

EVERYBODY: Final = "*"
"""Stands for all tenants: no tenant has such an id."""
ALL_ENDPOINTS: Final = b""

ENTRIES: Final = 1_000
"""So many entries of the journal are added up together."""

_TOGETHER: Final = 16
"""So many endpoints (in an hour) are added up in one transaction: up to 64 rows, and two for the whole server."""

_SPANS: Final = {Span.HOUR: 0, Span.DAY: 1}
_KEY: Final = (rollups.c.tenant, rollups.c.endpoint_id, rollups.c.span, rollups.c.start_ms)

_encode: Final = msgspec.msgpack.Encoder().encode
_histogram: Final = msgspec.msgpack.Decoder(Histogram).decode

Key = tuple[str, bytes, int, int]


class Entry(NamedTuple):
    """A row of the journal."""

    id: int
    entries: bytes


class RollupRow(NamedTuple):
    """A row of the rollups."""

    tenant: str
    endpoint_id: bytes
    span: int
    start_ms: int
    succeeded: int
    exhausted: int
    cancelled: int
    attempts_succeeded: int
    attempts_failed: int
    attempt_ms: bytes
    delivery_ms: bytes


KEY_COLUMNS: Final = 4
"""So many of a row's columns are its key."""


class RollupStatements(Protocol):
    """The statements that add up, in the database's own dialect."""

    def alone(self, connection: Connection) -> bool:
        """Whether no other process adds up until this transaction ends: then none can."""

    def entries(self, connection: Connection, ids: Sequence[int]) -> list[Entry]:
        """Those of these entries of the journal that are there."""

    def remove_entries(self, connection: Connection, ids: Sequence[int]) -> None:
        """Remove them from the journal."""

    def append_entries(self, connection: Connection, entries: Sequence[bytes]) -> list[int]:
        """Append entries to the journal; gives their ids."""

    def find(self, connection: Connection, keys: Sequence[Key]) -> list[RollupRow]:
        """Those of these rollups that are there."""

    def put(self, connection: Connection, rows: Sequence[RollupRow]) -> None:
        """Store rollups, in place of what is there."""


def append(connection: Connection, tallies: Tallies) -> None:
    """Append to the journal what this transaction does."""
    entries = tallies.encoded()
    if entries:
        connection.execute(insert(tally_journal).values(entries=entries))


def journal(connection: Connection) -> list[Entry]:
    """The oldest entries of the journal, as many as are added up together."""
    oldest = select(tally_journal.c.id, tally_journal.c.entries).order_by(tally_journal.c.id).limit(ENTRIES)
    return [Entry(*row) for row in connection.execute(oldest)]


def put_together(
    statements: RollupStatements, connection: Connection, taken: Collection[Entry], tallies: Sequence[Tally]
) -> list[int]:
    """Add to the rollups what these entries of the journal counted; ``tallies`` are their sums, each endpoint and hour
    once. Where that is much, they become other entries instead, each for one ``add_up``: gives their ids.

    Nothing is done where another process is at it, or has been since the entries were read. SQLite gives ids again
    that were those of others, so what stands there is compared, too.
    """
    if not statements.alone(connection):
        return []
    ids = [entry.id for entry in taken]
    if set(statements.entries(connection, ids)) != set(taken):
        return []
    statements.remove_entries(connection, ids)
    if len(tallies) <= _TOGETHER:
        _add(statements, connection, tallies)
        return []
    # So that what belongs to a tenant, and to an endpoint, is in few entries.
    whole = sorted(tallies, key=lambda tally: (tally.tenant, tally.endpoint_id))
    pieces = [encode(whole[at : at + _TOGETHER]) for at in range(0, len(whole), _TOGETHER)]
    return statements.append_entries(connection, pieces)


def add_up(statements: RollupStatements, connection: Connection, id: int) -> None:
    """Add an entry of the journal to the rollups, and remove it; if it is still there, and nobody else is at it."""
    if not statements.alone(connection):
        return
    for entry in statements.entries(connection, [id]):
        statements.remove_entries(connection, [id])
        _add(statements, connection, decode(entry.entries))


def read(
    connection: Connection, *, tenant: str, endpoint_id: bytes, span: Span, since_ms: int, until_ms: int
) -> list[Tally]:
    """What happened in each hour or day that begins in [``since_ms``, ``until_ms``), oldest first; none is empty."""
    rows = connection.execute(
        select(rollups)
        .where(rollups.c.tenant == tenant, rollups.c.endpoint_id == endpoint_id)
        .where(rollups.c.span == _SPANS[span])
        .where(rollups.c.start_ms >= since_ms, rollups.c.start_ms < until_ms)
    )
    found: dict[int, Tally] = {row.start_ms: _tally(row) for row in rows}
    for (entries,) in connection.execute(select(tally_journal.c.entries)):
        for tally in decode(entries):
            if tenant not in (EVERYBODY, tally.tenant) or endpoint_id not in (
                ALL_ENDPOINTS,
                tally.endpoint_id,
            ):
                continue
            start_ms = tally.hour_ms - tally.hour_ms % span.ms
            if since_ms <= start_ms < until_ms:
                found.setdefault(start_ms, Tally(tenant, endpoint_id, start_ms)).count_in(tally)
    return [tally for _, tally in sorted(found.items())]


def prune_rollups(connection: Connection, *, span: Span, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` rollups of hours or days that began before ``before_ms``; gives how many."""
    old = select(*_KEY).where(rollups.c.span == _SPANS[span], rollups.c.start_ms < before_ms).limit(limit)
    return _remove(connection, [tuple(row) for row in connection.execute(old)])


def forget_tenant(connection: Connection, tenant: str, *, limit: int) -> int:
    """Remove up to ``limit`` rollups of a tenant; gives how many. In the whole server's, what it did stays counted."""
    theirs = select(*_KEY).where(rollups.c.tenant == tenant).limit(limit)
    return _remove(connection, [tuple(row) for row in connection.execute(theirs)])


def in_journal(connection: Connection, tenant: str) -> bool:
    """Whether something of a tenant is still to be added up."""
    return any(
        tally.tenant == tenant
        for (entries,) in connection.execute(select(tally_journal.c.entries))
        for tally in decode(entries)
    )


def _add(statements: RollupStatements, connection: Connection, tallies: Iterable[Tally]) -> None:
    added: dict[Key, Tally] = {}
    for tally in tallies:
        for span, code in _SPANS.items():
            start_ms = tally.hour_ms - tally.hour_ms % span.ms
            for tenant, endpoint_id in (
                (tally.tenant, tally.endpoint_id),
                (tally.tenant, ALL_ENDPOINTS),
                (EVERYBODY, ALL_ENDPOINTS),
            ):
                key = tenant, endpoint_id, code, start_ms
                whole = added.get(key)
                if whole is None:
                    whole = added[key] = Tally(tenant, endpoint_id, start_ms)
                whole.count_in(tally)
    for row in statements.find(connection, list(added)):
        added[row[:4]].count_in(_tally(row))
    statements.put(connection, [_row(key, tally) for key, tally in added.items()])


def _row(key: Key, tally: Tally) -> RollupRow:
    return RollupRow(
        *key,
        tally.succeeded,
        tally.exhausted,
        tally.cancelled,
        tally.attempts_succeeded,
        tally.attempts_failed,
        _encode(tally.attempt_ms),
        _encode(tally.delivery_ms),
    )


def _tally(row: Any) -> Tally:
    return Tally(
        row.tenant,
        row.endpoint_id,
        row.start_ms,
        row.succeeded,
        row.exhausted,
        row.cancelled,
        row.attempts_succeeded,
        row.attempts_failed,
        _histogram(row.attempt_ms),
        _histogram(row.delivery_ms),
    )


def _remove(connection: Connection, keys: Sequence[Any]) -> int:
    if keys:
        connection.execute(delete(rollups).where(tuple_(*_KEY).in_(keys)))
    return len(keys)
