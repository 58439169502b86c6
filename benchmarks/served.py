"""The Tellwire under test: its server processes on one database, and what they cost."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tellwire.settings import load
from tellwire.wiring import tellwire_for

from .bodies import KEY, LANES, event_type
from .databases import Database, anything_pending
from .processes import ROOT, Child, Cpu, free_port

_CLI = Path(sys.executable).parent / "tellwire"
_SETTINGS = {
    "TELLWIRE_ADMIN_KEY": KEY,
    "TELLWIRE_SECRET_KEY": "YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcmstMzI=",
    "TELLWIRE_DEV": "true",
    "TELLWIRE_LOG_FORMAT": "json",
    "TELLWIRE_MAX_ENDPOINTS_PER_TENANT": "100000",
}
_AT_ONCE = 200


@dataclass(frozen=True)
class Wanted:
    """An endpoint to make."""

    url: str
    events: str
    tenant: str = "default"
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Served:
    """Running servers on one database."""

    children: tuple[Child, ...]
    ports: tuple[int, ...]
    database: Database

    def cpu(self) -> Cpu:
        """CPU time of all of them together."""
        return sum((child.cpu() for child in self.children), Cpu())

    def peak_rss_mib(self) -> float:
        """The most memory that one of them ever held."""
        return max(child.peak_rss_mib() for child in self.children)

    def wait_until_settled(self, timeout_s: float, since: bytes = b"") -> bool:
        """Return once no delivery since ``since`` is pending; False after ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and all(child.alive() for child in self.children):
            if not anything_pending(self.database, since):
                return True
            time.sleep(0.1)
        return False


def lanes_at(receiver_port: int) -> list[Wanted]:
    """The endpoints that share the load where nothing else is said."""
    return [
        Wanted(f"http://127.0.0.1:{receiver_port}/hooks/{lane}", event_type(lane)) for lane in range(LANES)
    ]


def make_endpoints(
    database: Database, wanted: Sequence[Wanted], settings: Mapping[str, str] | None = None
) -> None:
    """Make the tables, the tenants and the endpoints, by Tellwire's own means."""
    asyncio.run(_make_endpoints(_environment(database, settings), wanted))


@contextmanager
def server(
    database: Database,
    here: Path,
    *,
    settings: Mapping[str, str] | None = None,
    profile: Path | None = None,
    statements: Path | None = None,
) -> Iterator[Served]:
    """As many server processes as the database is for, log lines as JSON in files in ``here``."""
    env = _environment(database, settings)
    command = [sys.executable, "-m", "benchmarks.launch"]
    if profile is not None:
        command += ["--profile", str(profile)]
    elif statements is not None:
        command += ["--statements", str(statements)]
    elif has_cli():
        command = [str(_CLI), "serve"]
    ports = tuple(free_port() for _ in range(database.processes))
    with ExitStack() as stack:
        children = tuple(
            stack.enter_context(
                Child(command, log=here / f"tellwire-{port}.log", env=env | {"TELLWIRE_PORT": str(port)})
            )
            for port in ports
        )
        for child, port in zip(children, ports, strict=True):
            child.wait_for_port(port)
        yield Served(children, ports, database)


@cache
def has_cli() -> bool:
    """Whether ``tellwire serve`` can be started; otherwise ``benchmarks.launch`` takes its place."""
    if not _CLI.is_file():
        return False
    asked = subprocess.run([str(_CLI), "serve", "--help"], capture_output=True, cwd=ROOT, check=False)
    return asked.returncode == 0


def _environment(database: Database, settings: Mapping[str, str] | None) -> dict[str, str]:
    """What the servers see; empty values, which count as not set, for what the caller's environment says."""
    cleared = {name: "" for name in os.environ if name.startswith("TELLWIRE_")}
    return {**cleared, **_SETTINGS, "TELLWIRE_DATABASE_URL": database.url, **(settings or {})}


async def _make_endpoints(env: dict[str, str], wanted: Sequence[Wanted]) -> None:
    async with tellwire_for(load(env).settings, deliver=False) as tellwire:
        for tenant in dict.fromkeys(one.tenant for one in wanted):
            if tenant != "default":
                await tellwire.tenants.create(tenant)
        for start in range(0, len(wanted), _AT_ONCE):
            await asyncio.gather(
                *(
                    tellwire.endpoints.create(
                        one.url, events=[one.events], tenant=one.tenant, settings=one.settings
                    )
                    for one in wanted[start : start + _AT_ONCE]
                )
            )
