"""Brings a database to this version's tables. Cheap when there is nothing to do: one query, Alembic not even loaded."""

from sqlalchemy import Connection, inspect, text

from tellwire.clock import SystemClock
from tellwire.errors import StoreVersionError
from tellwire.store.tables import SCHEMA_VERSION

from .new_sqlite import make_new


def stored_version(connection: Connection) -> str | None:
    """The newest migration that this database has seen, or None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def migrate(connection: Connection) -> bool:
    """Run what is missing, in the open transaction of ``connection``; True where something was.

    Raises:
        StoreVersionError: the database is further on than this Tellwire.
    """
    version = stored_version(connection)
    if version == SCHEMA_VERSION:
        return False
    if version is not None and version > SCHEMA_VERSION:
        raise StoreVersionError(
            f"the database is at version {version}, this Tellwire knows {SCHEMA_VERSION} at most: "
            "upgrade Tellwire (nothing was changed)"
        )
    new = version is None and connection.dialect.name == "sqlite" and _is_empty(connection)
    if not (new and make_new(connection)):
        from .upgrade import upgrade

        upgrade(connection)
    _date(connection)
    return True


def _date(connection: Connection) -> None:
    """Tenants that migrations make are as old as that."""
    now_ms = SystemClock().now_ms()
    connection.execute(
        text("UPDATE tenants SET created_ms = :now_ms WHERE created_ms = 0"), {"now_ms": now_ms}
    )


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()
