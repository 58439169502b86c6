"""The Tellwire under test: its server process, and what its database says of the deliveries."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tellwire.settings import load
from tellwire.wiring import tellwire_for

from .bodies import LANES, event_type
from .processes import ROOT, Child, free_port

KEY = "tw_benchmark"
_CLI = Path(sys.executable).parent / "tellwire"


@dataclass(frozen=True)
class Recorded:
    """What the database says of the deliveries published since an instant."""

    deliveries: int
    succeeded: int
    pending: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Recorded deliveries a second, from the first publish to the last record."""
        return self.succeeded / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Served:
    """A running server: its process, its port, its database."""

    child: Child
    port: int
    database: Path

    def wait_until_settled(self, timeout_s: float) -> None:
        """Return once no delivery is pending, or after ``timeout_s``."""
        end = time.monotonic() + timeout_s
        with _reading(self.database) as connection:
            while time.monotonic() < end and self.child.alive():
                pending = connection.execute("SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 0)")
                if not pending.fetchone()[0]:
                    return
                time.sleep(0.1)

    def recorded_since(self, start_ms: int) -> Recorded:
        """Count what was published at ``start_ms`` or later."""
        with _reading(self.database) as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(state = 1), 0), coalesce(sum(state = 0), 0),"
                " coalesce(max(finished_ms) - min(created_ms), 0) FROM deliveries WHERE created_ms >= ?",
                (start_ms,),
            ).fetchone()
        return Recorded(row[0], row[1], row[2], row[3] / 1000)


@contextmanager
def server(
    here: Path, receiver_port: int, *, log_level: str, profile: Path | None = None
) -> Iterator[Served]:
    """A server on a new database in ``here``, with one endpoint for each lane, log lines as JSON in a file."""
    here.mkdir()
    database, port = here / "bench.db", free_port()
    env = {
        "TELLWIRE_DATABASE_URL": f"sqlite:///{database}",
        "TELLWIRE_PORT": str(port),
        "TELLWIRE_ADMIN_KEY": KEY,
        "TELLWIRE_DEV": "true",
        "TELLWIRE_LOG_FORMAT": "json",
        "TELLWIRE_LOG_LEVEL": log_level,
    }
    asyncio.run(_create_endpoints(env, receiver_port))
    command = [sys.executable, "-m", "benchmarks.launch"]
    if profile is not None:
        command += ["--profile", str(profile)]
    elif has_cli():
        command = [
            str(_CLI),
            "serve",
            "--database-url",
            f"sqlite:///{database}",
            "--port",
            str(port),
            "--dev",
        ]
    with Child(command, log=here / "tellwire.log", env=_without_tellwire() | env) as child:
        child.wait_for_port(port)
        yield Served(child, port, database)


@cache
def has_cli() -> bool:
    """Whether ``tellwire serve`` can be started; otherwise ``benchmarks.launch`` takes its place."""
    if not _CLI.is_file():
        return False
    asked = subprocess.run(
        [str(_CLI), "serve", "--help"],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    return asked.returncode == 0 and b"--database-url" in asked.stdout


def _without_tellwire() -> dict[str, str]:
    """Empty values, which count as not set, for what the caller's environment says of Tellwire."""
    return {name: "" for name in os.environ if name.startswith("TELLWIRE_")}


async def _create_endpoints(env: dict[str, str], receiver_port: int) -> None:
    async with tellwire_for(load(env).settings, deliver=False) as tellwire:
        for lane in range(LANES):
            url = f"http://127.0.0.1:{receiver_port}/hooks/{lane}"
            await tellwire.endpoints.create(url, events=[event_type(lane)])


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=10)
    try:
        yield connection
    finally:
        connection.close()
