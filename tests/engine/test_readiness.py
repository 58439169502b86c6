"""Readiness tells the truth throughout: before, while and after the database cannot be written."""

import asyncio
from pathlib import Path

import pytest

from tellwire import ClosedError, StoreUnavailableError, Tellwire, hub

from .embedded import locked, tellwire_at, until
from .test_engine_trouble import impatient


async def is_ready(tellwire: Tellwire) -> bool:
    try:
        await tellwire.ready()
    except StoreUnavailableError:
        return False
    return True


async def test_readiness_follows_the_database(tmp_path: Path) -> None:
    """Soon after it cannot be written any more, at each question while it cannot, and as soon as it can again."""
    async with tellwire_at(tmp_path, deliver=False) as tellwire:
        await impatient(tellwire)

        async def refused() -> bool:
            return not await is_ready(tellwire)

        assert await is_ready(tellwire)
        lock = await locked(tmp_path / "tellwire.db")
        await until(refused)
        assert [await is_ready(tellwire) for _ in range(3)] == [False] * 3
        lock.execute("ROLLBACK")
        lock.close()
        assert await is_ready(tellwire)
        assert await is_ready(tellwire)


async def test_readiness_does_not_wait_for_a_database_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks gets an answer in time, and it is no."""
    monkeypatch.setattr(hub, "_READY_WITHIN_S", 0.05)
    async with tellwire_at(tmp_path, deliver=False) as tellwire:
        lock = await locked(tmp_path / "tellwire.db")
        with pytest.raises(StoreUnavailableError, match="not written within"):
            async with asyncio.timeout(10):
                await tellwire.ready()
        lock.execute("ROLLBACK")
        lock.close()


async def test_what_is_closed_is_not_ready(tmp_path: Path) -> None:
    """Neither before it is open nor afterwards."""
    tellwire = tellwire_at(tmp_path, deliver=False)
    with pytest.raises(ClosedError):
        await tellwire.ready()
    async with tellwire:
        await tellwire.ready()
    with pytest.raises(ClosedError):
        await tellwire.ready()
