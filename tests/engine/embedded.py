"""An embedded Tellwire on a real SQLite file that may deliver to loopback, and waiting for conditions."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar

from tellwire import Options, Tellwire
from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds
from tellwire.model.delivery import Delivery, State
from tellwire.policy.retry import RetrySchedule

from .receivers import WAIT_S

T = TypeVar("T")

KEY = bytes(range(32)).hex()
LOOPBACK = EgressPolicy(allow=(ip_network("127.0.0.0/8"),), allow_http=True)


def tellwire_at(
    folder: Path,
    *,
    delays_ms: tuple[int, ...] = (10, 10, 10),
    bounds: LaneBounds | None = None,
    deliver: bool = True,
    grace_s: float = 20.0,
) -> Tellwire:
    """A Tellwire on the database in ``folder``, with a schedule of short waits."""
    engine = EngineOptions(
        schedule=RetrySchedule(delays_ms), bounds=bounds or LaneBounds(), grace_s=grace_s, timeout_s=15.0
    )
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=engine, deliver=deliver)
    return Tellwire(f"sqlite:///{folder / 'tellwire.db'}", options)


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """What ``condition`` gives, soon after it is true: the longer it takes, the less often we look."""
    pause_s = 0.01
    async with asyncio.timeout(WAIT_S):
        while not (found := await condition()):
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.1, 0.2)
        return found


async def deliveries(tellwire: Tellwire, state: State | None = None) -> list[Delivery]:
    """All deliveries, oldest first."""
    found: list[Delivery] = []
    cursor: str | None = None
    while True:
        page = await tellwire.deliveries.list(state=state, limit=250, cursor=cursor)
        found += page.data
        cursor = page.next
        if cursor is None:
            return found[::-1]


async def all_are(tellwire: Tellwire, state: State, count: int) -> list[Delivery]:
    """Wait until there are so many deliveries, all of them in ``state``."""

    async def look() -> list[Delivery]:
        found = await deliveries(tellwire)
        return found if len(found) == count and all(one.state is state for one in found) else []

    return await until(look)


async def locked(database: Path) -> sqlite3.Connection:
    """A connection that holds the lock for writing. It waits for the lock in a thread: who has it needs this loop."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
    return connection
