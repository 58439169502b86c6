"""Brings a database to this version's tables. Cheap when there is nothing to do: one query, Alembic not even loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from tellwire.errors import StoreVersionError
from tellwire.store.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from alembic.config import Config


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
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True


def print_sql(dialect: str) -> None:
    """Write the SQL of all migrations for ``dialect`` to standard output, without a database."""
    from alembic import command

    config = _config()
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
