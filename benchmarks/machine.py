"""The machine that the figures belong to."""

import os
import platform
import sqlite3
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path


def describe(here: Path) -> dict[str, str]:
    """Date, processor, versions, and how long the disk under ``here`` takes to make 4 KiB durable."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {_model()}, load {os.getloadavg()[0]:.2f} before the run",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "disk": f"fdatasync of 4 KiB: median {fdatasync_ms(here):.2f} ms ({_filesystem(here)})",
    }


def fdatasync_ms(here: Path, times: int = 200) -> float:
    """The median of ``times`` appends of 4 KiB, each followed by fdatasync, in milliseconds."""
    path = here / "fdatasync"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    took: list[float] = []
    try:
        for _ in range(times):
            os.write(file, b"x" * 4096)
            started = time.perf_counter()
            os.fdatasync(file)
            took.append(time.perf_counter() - started)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(took) * 1000


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(here: Path) -> str:
    """The type of the mount that ``here`` lies on."""
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        if here.resolve().is_relative_to(mount) and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]
