"""Publishing in the caller's own transaction: the event exists exactly if the caller commits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.forked import outside, run
from tests.postgres import database_in

from tellwire import ConflictError, Options, Tellwire
from tellwire.model.delivery import State

from .callers import ASYNC, MODES, SYNC, Caller, Mode, caller
from .conftest import LOOPBACK, WAIT_S, Receiver
from .embedded import KEY, all_are
from .lines import Line, publish

pytestmark = pytest.mark.filterwarnings("ignore:.*pixeltable.*")


@pytest.fixture(autouse=True)
def _let_django_work_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django refuses by itself to work there; whoever allows it gets what every other sync connection gets."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


def url_for(mode: Mode, folder: Path) -> str:
    return database_in(folder) if mode.store == "postgres" else f"sqlite:///{folder / 'tellwire.db'}"


def tellwire_on(url: str, *, deliver: bool = True) -> Tellwire:
    return Tellwire(url, Options(secret_key=KEY, egress=LOOPBACK, deliver=deliver))


@asynccontextmanager
async def both(mode: Mode, folder: Path, *, deliver: bool = True) -> AsyncIterator[tuple[Tellwire, Caller]]:
    """A Tellwire, and a caller on its database."""
    url = url_for(mode, folder)
    async with tellwire_on(url, deliver=deliver) as tellwire, caller(mode, tellwire, url, KEY) as found:
        yield tellwire, found


async def stored(tellwire: Tellwire) -> list[str]:
    """The ids of all events, oldest first."""
    return [event.id for event in (await tellwire.events.list()).data][::-1]


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_exists_exactly_if_the_caller_commits(mode: Mode, tmp_path: Path, receiver: Receiver) -> None:
    """What is rolled back leaves nothing; what is committed is delivered, together with the caller's own rows."""
    async with both(mode, tmp_path) as (tellwire, caller):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        # To publish comes first: a sync connection on the event loop could wait there for our own writer.
        await caller.publish("order.paid", {"n": 0}, idempotency_key="k")
        await caller.run("CREATE TABLE orders (id TEXT)")
        await caller.rollback()
        first = await caller.publish("order.paid", {"n": 1}, idempotency_key="k")
        await caller.run("CREATE TABLE orders (id TEXT)")
        again = await caller.publish("order.paid", {"n": 1}, idempotency_key="k")
        assert (first.deliveries, first.duplicate, again.id, again.duplicate) == (1, False, first.id, True)
        with pytest.raises(ConflictError, match="other content"):
            await caller.publish("order.paid", {"n": 2}, idempotency_key="k")
        await caller.run(
            "INSERT INTO orders VALUES ('o_1')"
        )  # the transaction goes on after an error of ours
        assert await stored(tellwire) == []
        await caller.commit()
        (request,) = await receiver.met(1)
        assert b'"n":1' in request.body
        assert request.headers["webhook-id"] == first.id
        assert await stored(tellwire) == [first.id]
        await all_are(tellwire, State.SUCCEEDED, 1)


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_stands_in_line(mode: Mode, tmp_path: Path) -> None:
    """What is published in a transaction gets its place behind what is pending; a batch in its own order."""
    line = Line()
    async with line.receiver as receiver, both(mode, tmp_path) as (tellwire, caller):
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], settings={"order": "key"})
        await tellwire.endpoints.pause(endpoint.id)
        await publish(tellwire, range(2), keys="a")
        await caller.publish("order.paid", {"n": 2, "key": "a"}, ordering_key="a")
        many = [{"type": "a.b", "data": {"n": n, "key": "a"}, "ordering_key": "a"} for n in range(3, 20)]
        await caller.publish_many([*many, {"type": "a.b", "data": {"n": 20, "key": ""}}])
        await caller.commit()
        await tellwire.endpoints.resume(endpoint.id)
        await all_are(tellwire, State.SUCCEEDED, 21)
    assert line.numbers("a") == list(range(20))


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_savepoints(mode: Mode, tmp_path: Path) -> None:
    """A savepoint that is rolled back takes its events along, one that is released leaves them to the transaction."""
    async with both(mode, tmp_path, deliver=False) as (tellwire, caller):
        outer = await caller.publish("a.b", {})
        await caller.run("SAVEPOINT one")
        await caller.publish_many([{"type": "a.c", "data": {}, "idempotency_key": str(n)} for n in range(3)])
        await caller.run("ROLLBACK TO SAVEPOINT one")
        await caller.run("SAVEPOINT two")
        kept = await caller.publish("a.d", {}, idempotency_key="0")
        await caller.run("RELEASE SAVEPOINT two")
        assert await stored(tellwire) == []
        await caller.commit()
        assert set(await stored(tellwire)) == {outer.id, kept.id}


CRASH = """
import asyncio, os, signal, sys
from tests.engine.callers import Mode, caller
from tests.engine.embedded import KEY
from tests.engine.test_within import tellwire_on

async def main(url, *mode):
    async with tellwire_on(url, deliver=False) as tellwire, caller(Mode(*mode), tellwire, url, KEY) as found:
        await found.publish("order.paid", {"is": "committed"})
        await found.commit()
        await found.publish("order.paid", {"is": "not"})
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("mode", [*ASYNC, *(mode for mode in SYNC if mode.face == "thread")], ids=str)
async def test_a_crash_keeps_what_was_committed(mode: Mode, tmp_path: Path, receiver: Receiver) -> None:
    """Of a process that is killed, what it had committed is delivered by another, and what it had not is nowhere."""
    url = url_for(mode, tmp_path)
    async with tellwire_on(url) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        # Beside the event loop: a transaction that it has open holds the lock of SQLite.
        crash = partial(run, CRASH, [url, *mode], cwd=Path.cwd(), env=outside(), timeout_s=WAIT_S)
        ended = await asyncio.to_thread(crash)
        assert ended.returncode == -9, ended.stderr
        (request,) = await receiver.met(1)
        assert b'"is":"committed"' in request.body
        assert len(await stored(tellwire)) == 1
        assert await tellwire.drained()
    assert len(receiver.requests) == 1
