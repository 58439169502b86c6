"""The database: is it there, at this version's tables, quick, in time, and is there room for more?"""

import shutil
import time
from typing import Final

from tellwire.errors import StoreError, StoreUnavailableError
from tellwire.hub import Tellwire
from tellwire.settings import Settings
from tellwire.store.connect import is_postgres, sqlite_path, stored_version
from tellwire.store.tables import SCHEMA_VERSION

from .finding import Finding, duration, failure, ok, skipped, warning

_SLOW_MS: Final = 100
_SKEW_MS: Final = 1_000
_FAR_SKEW_MS: Final = 30_000
_MIB: Final = 1024 * 1024
_LITTLE_ROOM: Final = 1024 * _MIB
_NO_ROOM: Final = 100 * _MIB
_LONG_LOG: Final = 1024 * _MIB


async def examine_version(settings: Settings) -> Finding:
    """Whether the database can be reached, and has the tables of this version; it is only read."""
    try:
        version = await stored_version(settings.database_url)
    except StoreError as error:
        if is_postgres(settings.database_url):
            advice = (
                "see that the server runs, that this machine may reach it, and user and password in the URL"
            )
        else:
            advice = "see that the file is a database and that this user may read and write it and its folder"
        return failure("database", str(error), advice)
    if version is None:
        return failure(
            "migrations",
            "there is no database yet, or one without tables",
            "`tellwire serve` makes it, and so does `tellwire migrate`; or name the right one in TELLWIRE_DATABASE_URL",
        )
    if version > SCHEMA_VERSION:
        return failure(
            "migrations",
            f"the database is at version {version}, this Tellwire knows {SCHEMA_VERSION} at most",
            "upgrade Tellwire on this machine",
        )
    if version < SCHEMA_VERSION:
        return failure(
            "migrations",
            f"the database is at version {version}, this Tellwire needs {SCHEMA_VERSION}",
            "take a backup, then start the server or run `tellwire migrate`: both bring it up to date",
        )
    return ok("migrations", f"the database is at version {version}, which is this Tellwire's")


async def examine_latency(tellwire: Tellwire) -> Finding:
    """Whether it can be written, and how quickly: one commit."""
    started = time.perf_counter()
    try:
        await tellwire.ready()
    except StoreUnavailableError as error:
        return failure(
            "database",
            f"the database can be read but not written: {error}",
            "look for a full disk, for missing rights, and for a program that keeps it locked",
        )
    took_ms = (time.perf_counter() - started) * 1000
    if took_ms > _SLOW_MS:
        return warning(
            "database",
            f"a commit took {duration(took_ms)}: every publish waits for one",
            "use a quicker disk, or a database server that is nearer; on SQLite, see what else writes the file",
        )
    return ok("database", f"it was reached, and written in {took_ms:.1f} ms")


async def examine_clock(tellwire: Tellwire, settings: Settings) -> Finding:
    """Whether this machine and the database agree on the time.

    Leases, schedules and signatures go by the database's, certificates and tokens of others by this machine's.
    """
    skew_ms = await tellwire.clock_skew_ms()
    if skew_ms is None:
        return skipped("clock", "database and processes share this machine's clock")
    advice = (
        "find out which clock is wrong (`timedatectl` here, `SELECT now()` there), set it, and let both machines keep "
        "time (chrony, systemd-timesyncd)"
    )
    ahead = "ahead of" if skew_ms > 0 else "behind"
    says = f"this machine's clock is {duration(abs(skew_ms))} {ahead} the database's"
    if abs(skew_ms) > _FAR_SKEW_MS:
        says += ": one of them is wrong, and others refuse the signatures or tokens that go by it"
        return failure("clock", says, advice)
    if abs(skew_ms) > _SKEW_MS:
        return warning("clock", says, advice)
    return ok("clock", says)


def examine_disk(settings: Settings) -> Finding:
    """Whether there is room for more events. Only where the database is a file of this machine."""
    if is_postgres(settings.database_url):
        return skipped("disk", "the disk of the database server cannot be seen from here: watch it there")
    path = sqlite_path(settings.database_url)
    try:
        usage = shutil.disk_usage(path.parent)
        log = path.with_name(path.name + "-wal")
        log_bytes = log.stat().st_size if log.exists() else 0
    except OSError as error:
        return failure(
            "disk", f"{path.parent} cannot be looked at: {error.strerror}", "mount it, or name another"
        )
    share = usage.free / usage.total
    says = f"{usage.free / _MIB:,.0f} MiB ({share:.0%}) are free in {path.parent.resolve()}"
    advice = "make room, or lower retention_days; publishing answers 503 on a full disk"
    if usage.free < _NO_ROOM:
        return failure("disk", says, advice)
    if usage.free < _LITTLE_ROOM or share < 0.05:
        return warning("disk", says, advice)
    if log_bytes > _LONG_LOG:
        return warning(
            "disk",
            f"the write-ahead log beside the database has {log_bytes / _MIB:,.0f} MiB",
            "somebody reads the database without end: close other programs that have it open",
        )
    return ok("disk", says)
