"""Runs of many seeds, and what is told of each."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from tellwire.signing.vault import Vault
from tellwire.store.sqlite import SqliteStore

from ..compiled import share
from ..memory import memory
from .invariants import check
from .notes import BrokenError, Notes, story
from .observer import OBSERVER
from .process import KEY
from .simulation import Simulation


class Run(msgspec.Struct, frozen=True):
    """One seed: what happened, and what was broken (None where all held)."""

    seed: int
    happened: Counter[str]
    broken: str | None
    story: str


def make_template(folder: Path) -> Path:
    """A new database with the observer in it, to be copied by each simulation."""
    share()  # each process of each seed has engines of its own
    path = folder / "template.db"

    async def make() -> None:
        store = SqliteStore(path, Vault.from_setting(KEY), inline=True)
        await store.open()
        await store.close()

    asyncio.run(make())
    database = sqlite3.connect(path)
    database.executescript(OBSERVER)
    database.close()
    return path


def run(seed: int, template: Path, *, measured: bool = True, small: bool = False) -> Run:
    """Live one seed and judge it; ``measured`` and ``small`` as in ``Simulation``."""
    with tempfile.TemporaryDirectory(prefix="tellwire-sim-", dir=memory()) as folder:
        simulation = Simulation(seed, template, Path(folder), measured=measured, small=small)
        broken: BrokenError | AssertionError | None = None
        try:
            simulation.run()
        except AssertionError as error:
            broken = error
        try:
            notes = Notes(simulation)
            check(notes)
        except AssertionError as error:
            # What is wrong with a delivery tells more than that something hangs.
            broken = error if isinstance(error, BrokenError) and error.delivery else broken or error
    happened = simulation.happened + Counter(
        {
            "published": len(simulation.published),
            "sent": len(simulation.sent),
            "processes": len(simulation.ever),
        }
    )
    if broken is None:
        return Run(seed, happened, None, "")
    return Run(seed, happened, str(broken), story(notes, getattr(broken, "delivery", None)))
