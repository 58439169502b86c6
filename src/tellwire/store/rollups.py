"""Rollups: the journal of tallies, added up by hour and day for each endpoint, each tenant and the whole server.

A row of ``rollups`` counts what happened in one hour or day (``span``). An empty ``endpoint_id`` means all endpoints of
the tenant, the ``tenant`` ``*`` all tenants. What stands in the journal is in no rollup yet: whoever reads adds it, in
the same snapshot, so that answers are exact at once.

Where many entries tell of many endpoints, they are put together first (``put_together``), into few entries of few
endpoints each. So a rollup is written once for all of them and not once for each, and transactions stay short.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from tellwire.model.stats import Span
from tellwire.policy.histogram import Histogram

from .tables import rollups, tally_journal
from .tallies import Tallies, Tally, decode, encode

EVERYBODY: Final = "*"
"""Stands for all tenants: no tenant has such an id."""
ALL_ENDPOINTS: Final = b""

ENTRIES: Final = 1_000
"""So many entries of the journal are added up together."""

_TOGETHER: Final = 50
"""So many endpoints (in an hour) are added up in one transaction: up to 200 rows, and two for the whole server."""

_AT_A_TIME: Final = 200
_LOCK: Final = 0x7E11_0003
_SPANS: Final = {Span.HOUR: 0, Span.DAY: 1}
_COUNTS: Final = ("succeeded", "exhausted", "cancelled", "attempts_succeeded", "attempts_failed")
_HISTOGRAMS: Final = ("attempt_ms", "delivery_ms")
_KEY: Final = (rollups.c.tenant, rollups.c.endpoint_id, rollups.c.span, rollups.c.start_ms)

_encode: Final = msgspec.msgpack.Encoder().encode
_histogram: Final = msgspec.msgpack.Decoder(Histogram).decode

Key = tuple[str, bytes, int, int]


class Entry(NamedTuple):
    """A row of the journal."""

    id: int
    entries: bytes


def append(connection: Connection, tallies: Tallies) -> None:
    """Append to the journal what this transaction does."""
    entries = tallies.encoded()
    if entries:
        connection.execute(insert(tally_journal).values(entries=entries))


def journal(connection: Connection) -> list[Entry]:
    """The oldest entries of the journal, as many as are added up together."""
    oldest = select(tally_journal.c.id, tally_journal.c.entries).order_by(tally_journal.c.id).limit(ENTRIES)
    return [Entry(*row) for row in connection.execute(oldest)]


def put_together(connection: Connection, taken: Collection[Entry], tallies: Sequence[Tally]) -> list[int]:
    """Add to the rollups what these entries of the journal counted; ``tallies`` are their sums, each endpoint and hour
    once. Where that is much, they become other entries instead, each for one ``add_up``: gives their ids.

    Nothing is done where another process is at it, or has been since the entries were read. SQLite gives ids again
    that were those of others, so what stands there is compared, too.
    """
    if not _alone(connection):
        return []
    theirs = _among(connection, [entry.id for entry in taken])
    there = connection.execute(select(tally_journal.c.id, tally_journal.c.entries).where(theirs))
    if {Entry(*row) for row in there} != set(taken):
        return []
    connection.execute(delete(tally_journal).where(theirs))
    if len(tallies) <= _TOGETHER:
        _add(connection, tallies)
        return []
    # So that what belongs to a tenant, and to an endpoint, is in few entries.
    whole = sorted(tallies, key=lambda tally: (tally.tenant, tally.endpoint_id))
    pieces = [{"entries": encode(whole[at : at + _TOGETHER])} for at in range(0, len(whole), _TOGETHER)]
    return list(connection.execute(insert(tally_journal).returning(tally_journal.c.id), pieces).scalars())


def add_up(connection: Connection, id: int) -> None:
    """Add an entry of the journal to the rollups, and remove it; if it is still there, and nobody else is at it."""
    if not _alone(connection):
        return
    entries = connection.execute(
        delete(tally_journal).where(tally_journal.c.id == id).returning(tally_journal.c.entries)
    ).scalar()
    if entries is not None:
        _add(connection, decode(entries))


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


def _alone(connection: Connection) -> bool:
    """On SQLite who writes is alone; on PostgreSQL one process at a time adds up, and the others let it."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar())


def _among(connection: Connection, ids: list[int]) -> ColumnElement[bool]:
    """Whether an entry has one of these ids, in one parameter: a thousand would hold up everybody who writes."""
    if connection.dialect.name == "postgresql":
        return tally_journal.c.id == func.any(literal(ids, postgresql.ARRAY(BigInteger)))
    listed = func.json_each(json.dumps(ids)).table_valued("value")
    return tally_journal.c.id.in_(select(listed.c.value))


def _add(connection: Connection, tallies: Iterable[Tally]) -> None:
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
    _store(connection, added)


def _store(connection: Connection, added: dict[Key, Tally]) -> None:
    keys = list(added)
    for start in range(0, len(keys), _AT_A_TIME):
        some = keys[start : start + _AT_A_TIME]
        for row in connection.execute(select(rollups).where(tuple_(*_KEY).in_(some))):
            added[row.tenant, row.endpoint_id, row.span, row.start_ms].count_in(_tally(row))
    upsert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(rollups)
    names = (*_COUNTS, *_HISTOGRAMS)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[column.name for column in _KEY],
            set_={name: statement.excluded[name] for name in names},
        ),
        [_row(key, tally) for key, tally in added.items()],
    )


def _row(key: Key, tally: Tally) -> dict[str, Any]:
    return {
        **{column.name: value for column, value in zip(_KEY, key, strict=True)},
        **{name: getattr(tally, name) for name in _COUNTS},
        **{name: _encode(getattr(tally, name)) for name in _HISTOGRAMS},
    }


def _tally(row: Any) -> Tally:
    return Tally(
        row.tenant,
        row.endpoint_id,
        row.start_ms,
        *(getattr(row, name) for name in _COUNTS),
        *(_histogram(getattr(row, name)) for name in _HISTOGRAMS),
    )


def _remove(connection: Connection, keys: Sequence[Any]) -> int:
    if keys:
        connection.execute(delete(rollups).where(tuple_(*_KEY).in_(keys)))
    return len(keys)
