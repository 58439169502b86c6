"""Can the database be written now, and what is its time?

Only a write can tell: on a full disk a transaction without changes succeeds."""

from typing import Final

from sqlalchemy import Connection, extract, func, insert, select, update

from .tables import revisions

_NAME: Final = "readiness"


def write_something(connection: Connection) -> None:
    """Count, in a row that nobody reads. It must change: SQLite does not write what stands there already."""
    count = update(revisions).where(revisions.c.name == _NAME).values(value=revisions.c.value + 1)
    if connection.execute(count).rowcount == 0:
        connection.execute(insert(revisions).values(name=_NAME, value=1))


def clock_ms(connection: Connection) -> int | None:
    """The time by the database's own clock; None where the database has none but ours."""
    if connection.dialect.name != "postgresql":
        return None
    return round(
        float(connection.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one()) * 1000
    )
