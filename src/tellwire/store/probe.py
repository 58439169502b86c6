"""Can the database be written now, and what is its time?

Only a write can tell: on a full disk a transaction without changes succeeds."""

from typing import Final

from sqlalchemy import Connection, extract, func, insert, select, update

from .tables import revisions

_NAME: Final = "readiness"
PUBLISHING: Final = "readiness of publishing"
"""Where that is written in another way than the rest: a row of its own, so that neither waits for the other."""


def write_something(connection: Connection, name: str = _NAME) -> None:
    """Count, in a row that nobody reads. It must change: SQLite does not write what stands there already."""
    count = update(revisions).where(revisions.c.name == name).values(value=revisions.c.value + 1)
    if connection.execute(count).rowcount == 0:
        connection.execute(insert(revisions).values(name=name, value=1))


def clock_ms(connection: Connection) -> int | None:
    """The time by the database's own clock; None where the database has none but ours."""
    if connection.dialect.name != "postgresql":
        return None
    return round(
        float(connection.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one()) * 1000
    )
