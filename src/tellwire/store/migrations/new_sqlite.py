"""A new SQLite database at once: what all migrations make of an empty one, kept as SQL in ``new_sqlite.sql``.

Whoever embeds Tellwire makes a database for each of their tests: so it takes a few milliseconds, without Alembic. The
SQL is no second truth. ``make docs`` writes it anew from the migrations, a test compares the two, and where it is not
of this version, the migrations run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine

from tellwire.store.tables import SCHEMA_VERSION

SCRIPT: Final = Path(__file__).with_name("new_sqlite.sql")
_HEAD: Final = (
    "-- Made from the migrations by `make docs`: what they make of an empty database, up to version {}.\n\n"
)
_BETWEEN: Final = ";\n\n"


def make_new(connection: Connection) -> bool:
    """Make all tables and their first rows, in the open transaction; False where the SQL is of another version."""
    head = _HEAD.format(SCHEMA_VERSION)
    text = SCRIPT.read_text(encoding="utf-8")
    if not text.startswith(head):
        return False
    for statement in text.removeprefix(head).split(_BETWEEN):
        connection.exec_driver_sql(statement)
    return True


def render() -> str:
    """The SQL, from the migrations."""
    from .upgrade import upgrade

    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection)
        statements = [*_tables(connection), *_rows(connection)]
    engine.dispose()
    return _HEAD.format(SCHEMA_VERSION) + _BETWEEN.join(statements) + "\n"


def _tables(connection: Connection) -> Iterator[str]:
    """Tables and indexes, in the order in which they were made; SQLite makes those of primary keys by itself."""
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    for (statement,) in connection.exec_driver_sql(query):
        yield "\n".join(line.rstrip() for line in statement.splitlines())


def _rows(connection: Connection) -> Iterator[str]:
    """The rows that migrations write, as statements."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
    for (table,) in list(connection.exec_driver_sql(query)):
        columns = [row[1] for row in connection.exec_driver_sql(f'PRAGMA table_info("{table}")')]
        values = " || ', ' || ".join(f'quote("{column}")' for column in columns)
        for (row,) in connection.exec_driver_sql(f'SELECT {values} FROM "{table}"'):  # noqa: S608 - our own names
            yield f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({row})"  # noqa: S608 - likewise
