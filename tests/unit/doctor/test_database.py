"""What the doctor makes of a disk and of the time that a commit takes."""

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tellwire.doctor import database
from tellwire.doctor.finding import Level
from tellwire.settings import Settings

MIB = 1024 * 1024


class Usage(NamedTuple):
    """As ``shutil.disk_usage`` gives it."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free_mib", "total_mib", "level"),
    [
        (99, 1_000, Level.FAILURE),
        (100, 1_000, Level.WARNING),
        (1_023, 2_000, Level.WARNING),
        (1_024, 2_000, Level.OK),
        (4_999, 100_000, Level.WARNING),  # less than a twentieth
        (5_000, 100_000, Level.OK),
    ],
)
def test_a_disk_that_is_nearly_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_mib: int, total_mib: int, level: Level
) -> None:
    """Less than 100 MiB is a failure; less than 1 GiB, or than a twentieth of the disk, a warning."""
    usage = Usage(total_mib * MIB, (total_mib - free_mib) * MIB, free_mib * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = database.examine_disk(Settings(database_url=f"sqlite:///{tmp_path / 'tellwire.db'}"))
    assert (found.check, found.level) == ("disk", level)
    assert f"{free_mib:,} MiB" in found.says


def test_a_log_that_grows_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody reads the database without end where the log beside it is longer than 1 GiB."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9_000 * MIB, 0, 9_000 * MIB))
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'tellwire.db'}")
    with (tmp_path / "tellwire.db-wal").open("wb") as log:
        log.truncate(1_024 * MIB)  # a file with a hole takes no room
        assert database.examine_disk(settings).level is Level.OK
        log.truncate(1_024 * MIB + 1)
    assert database.examine_disk(settings).level is Level.WARNING


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It cannot be looked at, which is a failure."""
    found = database.examine_disk(Settings(database_url=f"sqlite:///{tmp_path / 'away' / 'tellwire.db'}"))
    assert (found.check, found.level) == ("disk", Level.FAILURE)


@pytest.mark.parametrize(("took_s", "level"), [(0.1, Level.OK), (0.11, Level.WARNING)])
async def test_a_commit_that_takes_long(monkeypatch: pytest.MonkeyPatch, took_s: float, level: Level) -> None:
    """Every publish waits for one: more than a tenth of a second is a warning."""
    now_s = 100.0

    class Ready:
        async def ready(self) -> None:
            nonlocal now_s
            now_s += took_s

    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    found = await database.examine_latency(Ready())  # type: ignore[arg-type]  # all that it asks of it
    assert (found.check, found.level) == ("database", level)


class Skewed:
    """A Tellwire whose machine's clock is ahead of the database's."""

    def __init__(self, skew_ms: int) -> None:
        self._skew_ms = skew_ms

    async def clock_skew_ms(self) -> int:
        return self._skew_ms


@pytest.mark.parametrize(
    ("skew_ms", "level"),
    [(1_000, Level.OK), (1_001, Level.WARNING), (30_000, Level.WARNING), (30_001, Level.FAILURE)],
)
@pytest.mark.parametrize("sign", [1, -1])
async def test_clocks_that_differ(skew_ms: int, level: Level, sign: int) -> None:
    """A second is nothing, whichever is ahead; with more than half a minute, others refuse what is signed."""
    found = await database.examine_clock(Skewed(sign * skew_ms), Settings())  # type: ignore[arg-type]  # likewise
    assert (found.check, found.level) == ("clock", level)
    assert ("ahead of" if sign > 0 else "behind") in found.says
