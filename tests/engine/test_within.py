"""Publishing in the caller's own transaction: the event exists exactly if the caller commits."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tellwire import ConflictError, InvalidInputError

from .conftest import Receiver
from .embedded import tellwire_at

KINDS = ["aiosqlite", "AsyncConnection", "AsyncSession"]


@asynccontextmanager
async def caller(kind: str, folder: Path) -> AsyncIterator[tuple[Any, Callable[[str], Awaitable[None]]]]:
    """A connection of ``kind``, and how to ``commit`` or ``rollback`` it."""
    file = folder / "tellwire.db"
    connection: Any
    if kind == "aiosqlite":
        connection = await aiosqlite.connect(file)
    else:
        engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
        connection = await engine.connect() if kind == "AsyncConnection" else AsyncSession(engine)

    async def end(how: str) -> None:
        ended = getattr(connection, how)()
        if ended is not None:
            await ended

    yield connection, end
    await end("close")


@pytest.mark.parametrize("kind", KINDS)
async def test_exists_exactly_if_the_caller_commits(kind: str, tmp_path: Path, receiver: Receiver) -> None:
    """What is rolled back leaves nothing; what is committed is delivered; a key holds within the transaction."""
    async with tellwire_at(tmp_path) as tellwire, caller(kind, tmp_path) as (connection, end):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 0}, connection=connection)
        await end("rollback")
        first = await tellwire.publish("order.paid", {"n": 1}, idempotency_key="k", connection=connection)
        again = await tellwire.publish("order.paid", {"n": 1}, idempotency_key="k", connection=connection)
        assert (first.id, first.deliveries, again.id, again.duplicate) == (first.id, 1, first.id, True)
        with pytest.raises(ConflictError):
            await tellwire.publish("order.paid", {"n": 2}, idempotency_key="k", connection=connection)
        assert (await tellwire.events.list()).data == []
        await end("commit")
        (request,) = await receiver.met(1)
        assert b'"n":1' in request.body
        assert [event.id for event in (await tellwire.events.list()).data] == [first.id]


async def test_a_savepoint_that_is_rolled_back_takes_its_event_along(tmp_path: Path) -> None:
    """Only the outer event exists."""
    async with tellwire_at(tmp_path) as tellwire, caller("aiosqlite", tmp_path) as (connection, end):
        outer = await tellwire.publish("a.b", {}, connection=connection)
        await connection.execute("SAVEPOINT inner_one")
        await tellwire.publish_many([{"type": "a.c", "data": {}}], connection=connection)
        await connection.execute("ROLLBACK TO inner_one")
        await end("commit")
        assert [event.id for event in (await tellwire.events.list()).data] == [outer.id]


async def test_what_cannot_keep_the_promise_is_refused(tmp_path: Path) -> None:
    """Autocommit, another database, and what is no async connection."""
    async with tellwire_at(tmp_path) as tellwire:
        async with (
            aiosqlite.connect(tmp_path / "tellwire.db", isolation_level=None) as loose,
            aiosqlite.connect(":memory:") as other,
        ):
            for connection, said in [(loose, "autocommit"), (other, "not on Tellwire's"), (42, "it must be")]:
                with pytest.raises(InvalidInputError, match=said):
                    await tellwire.publish("a.b", {}, connection=connection)
        assert (await tellwire.events.list()).data == []


CRASH = """
import asyncio, os, sys
import aiosqlite
from pathlib import Path
from tests.engine.embedded import tellwire_at

async def main(folder, commit):
    async with tellwire_at(Path(folder), deliver=False) as tellwire:
        connection = await aiosqlite.connect(Path(folder) / "tellwire.db")
        await tellwire.publish("order.paid", {}, connection=connection)
        if commit == "commit":
            await connection.commit()
        os._exit(9)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("commit", "count"), [("commit", 1), ("not", 0)])
async def test_a_crash_keeps_what_was_committed(
    commit: str, count: int, tmp_path: Path, receiver: Receiver
) -> None:
    """A process that dies before its commit leaves nothing; after it, a later engine delivers."""
    async with tellwire_at(tmp_path, deliver=False) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
    ended = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), commit], check=False)  # noqa: ASYNC221
    assert ended.returncode == 9
    async with tellwire_at(tmp_path) as tellwire:
        assert len((await tellwire.events.list()).data) == count
        await receiver.met(count)
