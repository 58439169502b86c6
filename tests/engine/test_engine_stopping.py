"""Stopping is certain, whatever happens in the same turn of the event loop."""

import asyncio
from pathlib import Path

import pytest

from .embedded import tellwire_at


@pytest.mark.parametrize("turns", range(5))
async def test_stops_although_it_is_woken_at_the_same_moment(tmp_path: Path, turns: int) -> None:
    """The claimer is woken, and a few turns of the event loop later it is to stop: it does."""
    async with asyncio.timeout(20), tellwire_at(tmp_path) as tellwire:
        await asyncio.sleep(0.1)  # it sleeps by now; if it does not yet, this passes for another reason
        assert tellwire.engine is not None
        tellwire.engine.expect(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await tellwire.close()
