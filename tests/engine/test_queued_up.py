"""What is published behind a backlog, while that is being fetched on another connection, is fetched as well.

On PostgreSQL a publish and a claim of the same process run side by side. Nothing else helps here: there is no other
process, and this one looks through all lanes once an hour.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from sqlalchemy.util import await_only
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver import claimer
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds

from .embedded import KEY, LOOPBACK
from .receivers import HeldReceiver

BACKLOG = 60
WITHIN_S = 5


class Behind(NamedTuple):
    """A Tellwire with a backlog for a receiver that answers nothing until it is let go."""

    tellwire: Tellwire
    store: Any
    receiver: HeldReceiver


@pytest_asyncio.fixture
async def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Behind]:
    monkeypatch.setattr(claimer, "_SURVEY_EVERY_MS", 3_600_000)
    engine = EngineOptions(bounds=LaneBounds(per_endpoint=1), grace_s=1)
    options = Options(secret_key=KEY, egress=LOOPBACK, engine=engine)
    async with HeldReceiver(held=True) as receiver, Tellwire(database_in(tmp_path), options) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        for _ in range(2):
            await tellwire.publish_many([{"type": "order.paid", "data": {}}] * (BACKLOG // 2))
        assert tellwire.engine is not None
        assert tellwire.engine.load().behind == 1
        yield Behind(tellwire, tellwire._store, receiver)


async def test_what_is_stored_after_the_backlog_has_gone(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was to wait behind a backlog of which nothing is left when it is durable."""
    tellwire, store, receiver = behind
    begun, go_on, write = asyncio.Event(), asyncio.Event(), store._write_at_once

    async def write_late(writer: object, *rest: Any) -> Any:
        if writer is store._publish_writer:
            begun.set()
            await go_on.wait()
        return await write(writer, *rest)

    monkeypatch.setattr(store, "_write_at_once", write_late)
    publishing = asyncio.create_task(tellwire.publish("order.paid", {}))
    async with asyncio.timeout(WITHIN_S):
        await begun.wait()
        receiver.let_go()
        await receiver.met(BACKLOG)
        assert await tellwire.drained()
        go_on.set()
        await publishing
        await receiver.met(BACKLOG + 1)


async def test_what_is_stored_while_the_last_of_the_backlog_is_claimed(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim had looked before, and finds no more than was there."""
    tellwire, store, receiver = behind
    looked, go_on, claim = asyncio.Event(), asyncio.Event(), store.hot.claim

    def claim_slowly(*given: Any, limit: int, **others: Any) -> Any:
        rows = claim(*given, limit=limit, **others)
        if len(rows) < limit and not looked.is_set():
            looked.set()
            await_only(go_on.wait())
        return rows

    monkeypatch.setattr(store.hot, "claim", claim_slowly)
    receiver.let_go()
    async with asyncio.timeout(WITHIN_S):
        await looked.wait()
        await tellwire.publish("order.paid", {})
        go_on.set()
        await receiver.met(BACKLOG + 1)
