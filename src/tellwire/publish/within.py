"""Publishing inside the caller's own transaction: the event exists exactly if the caller commits.

A second front door of the life of an event, beside the publisher. The rows are those of any fan-out, but nothing is
born claimed: whether the caller commits is not known here, so the engine finds the deliveries after the commit. Nothing
here commits, rolls back or closes. ``statements`` yields SQL and is sent rows.
"""

import os
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from tellwire.errors import InvalidInputError, SettingsError, TellwireError
from tellwire.model.event import NewEvent, Receipt
from tellwire.store.roster import Roster
from tellwire.store.rows import DeliveryRow, EventRow, PageRow
from tellwire.store.store import Store

from .fanout import Fanout, Known, known_of

Rows = Sequence[Sequence[Any]]
Statements = Generator[tuple[str, tuple[Any, ...]], Rows, list[Receipt]]

KINDS = "an aiosqlite.Connection, or SQLAlchemy's AsyncConnection or AsyncSession"


class Ground(msgspec.Struct, frozen=True):
    """Where the rows are computed: the control plane as committed, and the file of our database."""

    roster: Roster
    file: str


async def ground_of(store: Store) -> Ground:
    """Read the control plane anew: by a read, since the caller may hold the lock for writing.

    Raises:
        SettingsError: the database is none of SQLite.
    """

    def read(connection: Connection) -> Ground:
        if connection.dialect.name != "sqlite":
            raise SettingsError("connection= needs Tellwire's database on SQLite")
        files = connection.exec_driver_sql("PRAGMA database_list").all()
        return Ground(store.roster_in(connection), _main_file(files))

    return await store.read(read)


def statements(
    ground: Ground,
    events: Sequence[NewEvent],
    *,
    listed: bool,
    now_ms: int,
    new_id: Callable[[], bytes],
    driver: Callable[[], Any],
) -> Statements:
    """What to run on the caller's connection, and at last the receipts. ``driver`` gives the driver's connection."""
    file = _main_file((yield "PRAGMA database_list", ()))
    if not file or not ground.file or not os.path.samefile(file, ground.file):
        raise InvalidInputError.at(
            "connection", msg=f"is on {file or 'memory'!r}, not on Tellwire's database"
        )
    if _commits_at_once(driver()):
        msg = (
            "is in autocommit mode and in no transaction: begin one, the event is to exist only if it commits"
        )
        raise InvalidInputError.at("connection", msg=msg)
    known: dict[tuple[str, str], Known] = {}
    for event in events:
        if event.idempotency_key is not None:
            place = (event.tenant, event.idempotency_key)
            for row in (yield _KNOWN, place):
                known[place] = known_of(event.tenant, row)
    fanout = Fanout(ground.roster, known, now_ms=now_ms, new_id=new_id, lease=None)
    accepted = fanout.accept(events, listed=listed)
    if isinstance(accepted, TellwireError):
        raise accepted
    for event_row in fanout.event_rows:
        yield _EVENT, tuple(event_row)
    for delivery_row in fanout.delivery_rows:
        yield _DELIVERY, tuple(delivery_row)
    for page_row in fanout.page_rows:
        yield _PAGE, tuple(page_row)
    return accepted.receipts


def run(steps: Statements, execute: Callable[[str, tuple[Any, ...]], Rows]) -> list[Receipt]:
    """Run ``steps`` on a sync connection, in the calling thread."""
    rows: Rows | None = None
    while True:
        try:
            sql, values = next(steps) if rows is None else steps.send(rows)
        except StopIteration as end:
            receipts: list[Receipt] = end.value
            return receipts
        rows = execute(sql, values)


def run_sync(connection: Any, make: Callable[[Callable[[], Any]], Statements]) -> list[Receipt]:
    """Publish on the sync side of SQLAlchemy's async kinds."""
    if is_a(connection, "sqlalchemy.orm", "Session"):
        connection.flush()
        connection = connection.connection()
    if not isinstance(connection, Connection):
        raise InvalidInputError.at(
            "connection", msg=f"is a {type(connection).__qualname__}; it must be {KINDS}"
        )
    found = connection
    if found.dialect.name != "sqlite":
        raise InvalidInputError.at(
            "connection", msg=f"is on {found.dialect.name}, not on Tellwire's database"
        )

    def execute(sql: str, values: tuple[Any, ...]) -> Rows:
        result = found.exec_driver_sql(sql, values)
        return [tuple(row) for row in result] if result.returns_rows else []

    return run(make(lambda: found.connection.driver_connection), execute)


async def run_any(connection: Any, make: Callable[[Callable[[], Any]], Statements]) -> list[Receipt]:
    """Publish on an async connection.

    A sync one would wait for the lock of our own writer, which needs this event loop: it is refused.

    Raises:
        InvalidInputError: the connection is of no kind that is known.
    """
    for name in ("AsyncConnection", "AsyncSession"):
        if is_a(connection, "sqlalchemy.ext.asyncio", name):
            receipts: list[Receipt] = await connection.run_sync(run_sync, make)
            return receipts
    if not is_a(connection, "aiosqlite", "Connection"):
        raise InvalidInputError.at(
            "connection", msg=f"is a {type(connection).__qualname__}; it must be {KINDS}"
        )
    steps, rows = make(lambda: connection), None
    while True:
        try:
            sql, values = next(steps) if rows is None else steps.send(rows)
        except StopIteration as end:
            return list(end.value)
        rows = list(await connection.execute_fetchall(sql, values))


def is_a(found: object, module: str, name: str) -> bool:
    """Whether ``found`` is of a class of a library that is imported already, if at all."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(found, kind)


def _main_file(rows: Rows) -> str:
    return next((str(row[2] or "") for row in rows if row[1] == "main"), "")


def _commits_at_once(driver: Any) -> bool:
    if driver.in_transaction:
        return False
    return driver.isolation_level is None or getattr(driver, "autocommit", None) is True


def _insert(table: str, columns: tuple[str, ...], rest: str = "") -> str:
    # Table and columns are our own constants.
    names, marks = ",".join(columns), ",".join("?" * len(columns))
    more = ",state,attempt_count,schedule_step" if rest else ""
    return f"INSERT INTO {table} ({names}{more}) VALUES ({marks}{rest})"  # noqa: S608


_EVENT = _insert("events", EventRow._fields)
_DELIVERY = _insert("deliveries", DeliveryRow._fields, ",0,0,0")
_PAGE = _insert("fanout_pages", PageRow._fields)
_KNOWN = (
    "SELECT fingerprint, id, type, occurred_ms, created_ms, deliveries FROM events "
    "WHERE tenant = ? AND idempotency_key = ?"
)
