"""A process on PostgreSQL that does not hear: it goes on trying, ever less often, and never gives up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import database_in
from tests.proxy import Proxy

from tellwire.store import postgres_news, tenants
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_clock import ServerClock
from tellwire.store.postgres_connections import connect
from tellwire.store.postgres_news import News

from .backends import POSTGRES, Backend
from .rows import NOW, until


@pytest.fixture
def backend() -> Backend:
    return POSTGRES


async def nothing(_: int | None) -> None:
    """All is known."""


@asynccontextmanager
async def hearing(
    connecting: Callable[[], Awaitable[Any]],
    follow: Callable[[int | None], Awaitable[None]] = nothing,
    ready: Callable[[int], None] = lambda _: None,
) -> AsyncIterator[None]:
    """News of others, as a store has them."""
    news = News(connecting, "own", ServerClock(), on_ready=ready, on_revision=follow)
    await news.open()
    try:
        yield
    finally:
        await news.close()


async def test_a_fault_does_not_make_it_deaf(tmp_path: Path, store: PostgresStore) -> None:
    """Whatever goes wrong while the roster is read, and as often as it does: what is told afterwards is heard."""
    heard: list[int | None] = []

    async def follow(revision: int | None) -> None:
        heard.append(revision)
        if len(heard) <= 5:
            raise ZeroDivisionError

    async with hearing(partial(connect, database_in(tmp_path)), follow):
        await until(lambda: len(heard) > 5)
        await store.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW))
        await until(lambda: heard[-1] == store.roster.revision)


async def test_a_connection_that_died_without_a_word_is_noticed(
    tmp_path: Path, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then it asks although nothing was told, and what is not answered is given up for another connection."""
    monkeypatch.setattr(postgres_news, "_POLL_S", 0.3)
    heard: list[int | None] = []

    async def follow(revision: int | None) -> None:
        heard.append(revision)

    async with Proxy(database_in(tmp_path)) as proxy, hearing(partial(connect, proxy.url), follow):
        await until(lambda: len(heard) > 2)
        proxy.stall("back")
        await store.write(lambda connection: tenants.create(connection, "acme", "", now_ms=NOW))
        await until(lambda: heard[-1] == store.roster.revision)


async def test_it_tries_to_connect_ever_less_often(tmp_path: Path) -> None:
    """While the server cannot be reached, each pause is about twice as long as the one before; each try is news."""
    loop, tries, ready = asyncio.get_running_loop(), list[float](), list[int]()
    made: list[Any] = []

    async def connecting() -> Any:
        tries.append(loop.time())
        if 1 < len(tries) <= 6:
            raise ConnectionRefusedError
        made.append(await connect(database_in(tmp_path)))
        return made[-1]

    async with hearing(connecting, ready=ready.append):
        made[0].terminate()
        await until(lambda: len(made) == 2)
        pauses = [after - before for before, after in pairwise(tries[1:6])]
        assert [pause > least for pause, least in zip(pauses, (0.04, 0.09, 0.19, 0.39), strict=True)] == [
            True
        ] * 4
        assert ready[:5] == [0] * 5


async def test_whoever_hears_again_looks_what_was_told_meanwhile(tmp_path: Path) -> None:
    """Notifications of the time without a connection are lost: something may be ready."""
    made: list[Any] = []
    ready: list[int] = []

    async def connecting() -> Any:
        ready.clear()  # what is told from here on is told by who hears again
        made.append(await connect(database_in(tmp_path)))
        return made[-1]

    async with hearing(connecting, ready=ready.append):
        made[0].terminate()
        await until(lambda: len(made) == 2 and ready == [0])
