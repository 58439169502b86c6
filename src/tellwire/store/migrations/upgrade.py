"""Alembic, at work: runs the migrations, or writes their SQL. Imported where there is something to do."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run what is missing up to ``revision``, in the open transaction of ``connection``."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def print_sql(dialect: str) -> None:
    """Write the SQL of all migrations for ``dialect`` to standard output, without a database."""
    config = _config()
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
