"""PostgreSQL in the caller's transaction: one statement stores a whole batch, so that it is there whole or not at all.

The same statement notifies, which the server does when the caller commits. Tables are named with their schema: the
caller's connection may look for names elsewhere than ours.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Final

from sqlalchemy import Connection

from tellwire.errors import ConflictError

from .order import Place
from .postgres_hot import (
    DELIVERY_COLUMNS,
    EVENT_COLUMNS,
    ORDERED_COLUMNS,
    PAGE_COLUMNS,
    TIMED_EVENT_COLUMNS,
    columns,
    unnest,
)
from .postgres_news import CHANNEL
from .postgres_order import last_statement
from .rows import OrderedDeliveryRow, TimedEventRow
from .within import PATIENCE_MS, PAUSE_S, UNDO, NewRows, Rows, Sql, Steps, Wish, code_of, savepoint

_LOCK_NOT_AVAILABLE: Final = "55P03"
_SERIALIZATION_FAILURE: Final = "40001"
_HURRIED_MS: Final = 5
_LOCK_TIMEOUT: Final = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', $1::text, true)"

# Another server, or the same one on another port, has started at another microsecond.
_PLACE: Final = "SELECT extract(epoch FROM pg_postmaster_start_time())::text, current_database()::text"
_SCHEMA: Final = """
    SELECT quote_ident(nspname) FROM pg_namespace
    WHERE oid = (SELECT relnamespace FROM pg_class WHERE oid = 'events'::regclass)"""


class PostgresWithin:
    """See ``within.WithinStatements``."""

    dialect = "postgresql"

    def place_in(self, connection: Connection) -> tuple[object, str]:
        """The server, by the time of its start, and the database; the schema by our search path."""
        place = tuple(connection.exec_driver_sql(_PLACE).one())
        return place, connection.exec_driver_sql(_SCHEMA).scalar_one()

    def place(self) -> Steps[object]:
        """The server and the database of the caller's connection."""
        [row] = yield Sql(_PLACE)
        return tuple(row)

    def revision(self, schema: str, *, hurried: bool) -> Steps[int]:
        """How often the control plane has changed."""
        [(revision,)] = yield Sql(f"SELECT value FROM {schema}.revisions WHERE name = 'control'")  # noqa: S608
        return int(revision)

    def visible(self, schema: str, endpoint_ids: Sequence[bytes]) -> Steps[set[bytes]]:
        """Those endpoints that were there when the caller's snapshot was taken."""
        rows = yield Sql(
            f"SELECT id FROM {schema}.endpoints WHERE id = ANY($1::bytea[])",  # noqa: S608 - our schema
            (list(endpoint_ids),),
        )
        return {bytes(row[0]) for row in rows}

    def known(self, schema: str, places: Sequence[tuple[str, str]]) -> Steps[Rows]:
        """The events that hold the idempotency keys."""
        tenants, keys = zip(*places, strict=True)
        rows: Rows = yield Sql(
            f"""
            SELECT asked.number - 1, e.fingerprint, e.id, e.occurred_ms, e.created_ms, e.deliveries
            FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(tenant, key, number)
            JOIN {schema}.idempotency_keys AS k ON k.tenant = asked.tenant AND k.key = asked.key
            JOIN {schema}.events AS e ON e.id = k.event_id""",  # noqa: S608
            (list(tenants), list(keys)),
        )
        return rows

    def last(self, schema: str, places: Sequence[Place]) -> Steps[list[bytes | None]]:
        """See ``order.OrderStatements``."""
        rows = yield Sql(last_statement(schema), tuple(map(list, columns(places))))
        return [None if row[0] is None else bytes(row[0]) for row in rows]

    def insert(self, schema: str, rows: NewRows, *, keyed: bool, hurried: bool) -> Steps[bool]:
        """Store all, or nothing where another transaction was first with an idempotency key.

        Where it has not ended yet, the server lets the statement wait for it.
        """
        timed = bool(rows.events) and isinstance(rows.events[0], TimedEventRow)
        in_order = bool(rows.deliveries) and isinstance(rows.deliveries[0], OrderedDeliveryRow)
        kinds = _columns(timed, in_order)
        values = [column for kind, names in zip(rows, kinds, strict=True) for column in _turned(kind, names)]
        told = bool(rows.deliveries or rows.pages)
        statement = Sql(_insert(schema, told=told, timed=timed, in_order=in_order), tuple(values))
        if not keyed:
            yield statement
            return True
        try:
            yield from savepoint(self._insert_keyed(statement, len(rows.events), hurried))
        except _OutrunError:
            return False
        except Exception as error:
            if code_of(error) != _SERIALIZATION_FAILURE:
                raise
            raise ConflictError(
                "an idempotency key was used by a transaction that yours, repeatable read or serializable, cannot "
                "see: roll back and try again"
            ) from error
        return True

    def _insert_keyed(self, statement: Sql, count: int, hurried: bool) -> Steps[None]:
        rows: Rows
        if hurried:
            rows = yield from self._in_a_hurry(statement)
        else:
            rows = yield statement
        if len(rows) < count:
            raise _OutrunError

    def _in_a_hurry(self, statement: Sql) -> Steps[Rows]:
        """Wait for another transaction on the event loop: it may need that loop to end."""
        left_ms = float(PATIENCE_MS)
        while True:
            [(lock_timeout, _)] = yield Sql(_LOCK_TIMEOUT, (f"{_HURRIED_MS}ms",))
            try:
                rows: Rows = yield statement
                break
            except Exception as error:
                if code_of(error) != _LOCK_NOT_AVAILABLE:
                    raise
                if left_ms <= 0:
                    raise ConflictError(
                        "an idempotency key is in use by a transaction that has not ended: try again when it has"
                    ) from error
            yield UNDO
            left_ms -= PAUSE_S * 1000 + _HURRIED_MS
            yield Wish.PAUSE
        yield Sql(_LOCK_TIMEOUT, (lock_timeout,))
        return rows


class _OutrunError(Exception):
    """Another transaction was first with an idempotency key."""


def _turned(rows: Sequence[Sequence[object]], names: Collection[str]) -> Iterable[list[object]]:
    """One list a column."""
    return map(list, zip(*rows, strict=True)) if rows else ([] for _ in names)


def _columns(timed: bool, in_order: bool) -> tuple[dict[str, str], ...]:
    return (
        TIMED_EVENT_COLUMNS if timed else EVENT_COLUMNS,
        ORDERED_COLUMNS if in_order else DELIVERY_COLUMNS,
        PAGE_COLUMNS,
    )


@cache
def _insert(schema: str, *, told: bool, timed: bool, in_order: bool) -> str:
    """Events, what they are fanned out to, and the notification; gives a row for each event that was stored."""
    event_columns, delivery_columns, _ = kinds = _columns(timed, in_order)
    events, deliveries, pages = map(", ".join, kinds)
    after_events, after_deliveries = len(event_columns), len(event_columns) + len(delivery_columns)
    # The names are our own constants, the schema is quoted.
    return f"""
        WITH given AS MATERIALIZED (
            SELECT * FROM {unnest(event_columns)} AS given({events})
        ), claimed AS (
            INSERT INTO {schema}.idempotency_keys (tenant, key, event_id)
            SELECT tenant, idempotency_key, id FROM given WHERE idempotency_key IS NOT NULL
            ON CONFLICT DO NOTHING RETURNING event_id
        ), stored AS (
            INSERT INTO {schema}.events ({events})
            SELECT * FROM given WHERE idempotency_key IS NULL OR id IN (SELECT event_id FROM claimed)
            RETURNING id
        ), fanned_out AS (
            INSERT INTO {schema}.deliveries ({deliveries}, state, attempt_count, schedule_step)
            SELECT new.*, 0, 0, 0 FROM {unnest(delivery_columns, after_events)} AS new({deliveries})
            WHERE new.event_id IN (SELECT id FROM stored)
        ), paged AS (
            INSERT INTO {schema}.fanout_pages ({pages})
            SELECT new.* FROM {unnest(PAGE_COLUMNS, after_deliveries)} AS new({pages})
            WHERE new.event_id IN (SELECT id FROM stored)
        )
        SELECT id{f", pg_notify('{CHANNEL}', '')" if told else ""} FROM stored"""  # noqa: S608
