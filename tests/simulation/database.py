"""The database of a simulation: one SQLite file that behaves towards its processes as PostgreSQL over a network does.

Every process has a store of its own on it. Questions and answers travel for a while; others commit between a
transaction's first look at the control plane and the rest of it; transactions collide and run again; rows that somebody
else has locked are skipped; the answer to a commit is lost; notifications are late or lost; a server is down, or its
disk is full. Each answer brings the server's time along, by which its process measures that clock.
"""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, event

from tellwire.errors import StoreError, StoreUnavailableError
from tellwire.signing.vault import Vault
from tellwire.store.group_commit import Work
from tellwire.store.news import QUIET_MS
from tellwire.store.postgres_connections import _TOLD
from tellwire.store.roster import Roster
from tellwire.store.rows import AttemptRow, ClaimedRow, DeliveryRows, EventRows, Outcome
from tellwire.store.sqlite import SqliteStore
from tellwire.store.sqlite_hot import SqliteHotStatements

from .clocks import MeasuredClock, Question
from .virtual import Timeline

T = TypeVar("T")

SKIPPED = "locked rows skipped"
_POLL_S = 5.0
_PAUSE_S = 1.0
_TRIES = 5
"""How often a transaction runs before it gives up, as in ``store.postgres``."""


class Trouble(StrEnum):
    """What may be the matter between a process and the database."""

    DOWN = "the database cannot be reached"
    FULL = "the disk is full"
    ANSWERS_LOST = "answers to commits are lost"
    COLLISIONS = "transactions collide"
    SLOW = "the database is slow"
    DEAF = "notifications are lost"


class Weather:
    """The troubles of the present, each until some time."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._until_s: dict[Trouble, float] = {}

    def begin(self, trouble: Trouble, until_s: float) -> None:
        """Let ``trouble`` last until then."""
        self._until_s[trouble] = until_s

    def clear(self) -> None:
        """Let all be well."""
        self._until_s.clear()

    def has(self, trouble: Trouble) -> bool:
        """Whether it lasts."""
        return bool(self._until_s) and self._until_s.get(trouble, 0.0) > self._timeline.now_s


class Client(Protocol):
    """What the database must know of a process."""

    name: str

    def has(self, trouble: Trouble) -> bool:
        """Whether the process or all of them have that trouble now."""

    async def reached(self, moment: str) -> None:
        """The process is at this moment of a commit; it may be one at which it dies."""

    def count(self, what: str) -> None:
        """Something befell the process."""

    def tell_others(self, ready_ms: int) -> None:
        """Notify the other processes that there is something to claim from ``ready_ms`` on."""


class _CollidedError(Exception):
    """Another transaction was in the way."""


class _Hot(SqliteHotStatements):
    """The hot statements, as concurrent transactions see them."""

    def __init__(self, chance: random.Random, client: Client, clock: MeasuredClock) -> None:
        self._chance = chance
        self._client = client
        self._clock = clock
        self.time: tuple[Question, float] | None = None  # as the server tells it to this transaction
        self.news: int | None = None  # from when on others may claim what this transaction leaves to them
        self.effects: set[str] = set()  # of this transaction

    def tell(self) -> int:
        """Others may claim something, or have to know something, at once."""
        self.news = 0
        return self.news

    def revision(self, connection: Connection) -> int:
        if self.time is not None:  # it comes with the revision, as in store.postgres_hot
            self._clock.told(*self.time)
        return super().revision(connection)

    def insert_events(self, connection: Connection, rows: EventRows) -> None:
        super().insert_events(connection, rows)
        if rows:
            self.effects.add("a publish")

    def insert_deliveries(
        self, connection: Connection, rows: DeliveryRows, quiet: Set[bytes] = frozenset()
    ) -> None:
        super().insert_deliveries(connection, rows)
        for row in rows:
            if row.lease_token is None:
                told_ms = row.created_ms + QUIET_MS if row.endpoint_id in quiet else 0
                self.news = told_ms if self.news is None else min(self.news, told_ms)

    def record(
        self, connection: Connection, outcomes: Sequence[Outcome], attempts: Sequence[AttemptRow]
    ) -> set[bytes]:
        due = [row.due_ms for row in outcomes if row.due_ms is not None]
        if due and self.news is None:
            self.news = min(due)
        held = super().record(connection, outcomes, attempts)
        if held:
            self.effects.add("a result")
        return held

    def release(self, connection: Connection, leases: Sequence[tuple[bytes, int]]) -> None:
        super().release(connection, leases)
        self.news = 0

    def claim(
        self, connection: Connection, endpoint_id: bytes, *, limit: int, **values: Any
    ) -> list[ClaimedRow]:
        # As if some were locked by a transaction that is then rolled back.
        if self._chance.random() < 0.1:
            self._client.count(SKIPPED)
            limit = self._chance.randrange(min(limit, 3))
        claimed = super().claim(connection, endpoint_id, limit=limit, **values) if limit else []
        if claimed:
            self.effects.add("a claim")
        return claimed


class SharedStore(SqliteStore):
    """One process's way to the database."""

    def __init__(
        self,
        path: Path,
        vault: Vault,
        client: Client,
        timeline: Timeline,
        clock: MeasuredClock,
        next_order: Callable[[], int],
        chance: random.Random,
        on_ready: Callable[[int], None],
    ) -> None:
        super().__init__(path, vault, inline=True, on_change=partial(on_ready, 0))
        self.hot: _Hot = _Hot(chance, client, clock)
        self._client = client
        self._timeline = timeline
        self._clock = clock
        self._next_order = next_order
        self._chance = chance
        self._on_ready = on_ready
        self._rang = asyncio.Event()
        self._seen: tuple[Roster, int] | None = None  # the control plane as this transaction saw it first
        self._collides = False
        self._looked = 0  # when, among all that happened, this transaction looked at the control plane
        self._doubt_before_ms = 0.0  # what this transaction's first look at the clock was worth
        self.busy = 0  # questions and transactions whose answers are on their way

    async def open(self) -> None:
        question = self._clock.ask()
        await asyncio.sleep(self._latency_s())
        said_s = self._timeline.now_s
        await super().open()
        await asyncio.sleep(self._latency_s())
        self._clock.told(question, said_s)

    def _open_writer(self) -> None:
        super()._open_writer()
        driver: Any = self._connection.connection.driver_connection
        driver.execute("PRAGMA synchronous = OFF")
        driver.create_function("simulated_now_ms", 0, self._timeline.now_ms)
        driver.create_function("simulated_order", 0, self._next_order)
        driver.create_function("simulated_news", 0, self.hot.tell)
        driver.create_function("simulated_writer", 0, lambda: self._client.name)
        driver.create_function("simulated_look", 0, lambda: self._looked)
        driver.create_function("simulated_doubt_ms", 0, lambda: self._clock.doubt_ms)
        driver.create_function("simulated_doubt_before_ms", 0, lambda: self._doubt_before_ms)
        self._watch = sqlite3.connect(self._path, isolation_level=None)
        event.listen(self._write_engine, "before_cursor_execute", self._note_news)

    def _note_news(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        # Changes by hand, as in store.postgres_connections; the hot statements tell by themselves.
        if statement.startswith(_TOLD):
            self.hot.news = 0

    def abandon(self) -> None:
        """Close what a dead process left open (it never dies in the middle of a transaction: that takes no time)."""
        if self._commits is not None:
            self._connection.close()
            self._write_engine.dispose()
            self._read_engine.dispose()
            self._watch.close()

    def hear(self, ready_ms: int) -> None:
        """A notification has arrived."""
        self._rang.set()
        self._on_ready(ready_ms)

    async def read(self, query: Callable[[Connection], T]) -> T:
        with self._asking():
            await self._travel()
            self._opened()
            found = self._read(query)
            await self._travel()
        return found

    async def _look_on(self, on_change: Callable[[], None]) -> None:
        # As in store.postgres_news: a slow poll, and at once what was told.
        while True:
            self._rang.clear()
            try:
                with self._asking():
                    question = self._clock.ask()
                    await self._travel()
                    said_s = self._timeline.now_s
                    await self._travel()
                    self._clock.told(question, said_s)
                if self._revision() != self._roster.revision:
                    self._keep(await self.read(super().roster_in))
                async with asyncio.timeout(_POLL_S):
                    await self._rang.wait()
            except TimeoutError:
                pass
            except StoreError:
                await asyncio.sleep(_PAUSE_S)
                on_change()

    def roster_in(self, connection: Connection) -> Roster:
        roster = super().roster_in(connection)
        if self._seen is not None and roster.revision == self._seen[1]:
            return self._seen[0]  # others have committed since, and this transaction does not know
        return roster

    async def _commit(self, work: Work) -> list[list[Any]]:
        with self._asking():
            return await self._commit_past_others(work)

    async def _commit_past_others(self, work: Work) -> list[list[Any]]:
        for _ in range(_TRIES):
            question = self._clock.ask()
            await self._travel()
            said_s = self._timeline.now_s
            first_seen = self._roster
            if self._revision() != first_seen.revision:
                first_seen = self._read(super().roster_in)
            look = self._next_order()
            if self._chance.random() < 0.3:
                await self._travel()
            await self._client.reached("before the commit")
            self._collides = self._chance.random() < (0.7 if self._client.has(Trouble.COLLISIONS) else 0.01)
            self.hot.news, self.hot.time = None, (question, said_s)
            self.hot.effects.clear()
            self._doubt_before_ms = self._clock.doubt_ms
            before, self._looked = self._roster, look
            revision = self._revision()
            try:
                self._seen = first_seen, revision
                outcomes = await super()._commit(work)
            except _CollidedError:
                self._client.count("collision")
                continue
            finally:
                self._seen = self.hot.time = None
            after, self._roster = self._roster, before
            if after.revision > revision:  # a change of the control plane is told as well
                self.hot.news = 0
            if self.hot.news is not None:
                self._client.tell_others(self.hot.news)
            await self._client.reached("after the commit")
            await self._answered()
            self._keep(after)
            return outcomes
        raise StoreUnavailableError(f"other transactions were in the way {_TRIES} times")

    def _end(self, driver: sqlite3.Connection) -> None:
        if self._collides:
            raise _CollidedError
        if self._client.has(Trouble.FULL):
            self._client.count("disk full")
            raise sqlite3.OperationalError("database or disk is full")
        super()._end(driver)

    def _revision(self) -> int:
        """That of the control plane, as committed (not by SQLAlchemy, which takes most of a simulation's time)."""
        revision: int = self._watch.execute("SELECT value FROM revisions WHERE name = 'control'").fetchone()[
            0
        ]
        return revision

    def _keep(self, roster: Roster) -> None:
        if roster.revision > self._roster.revision:
            self._roster = roster

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    async def _answered(self) -> None:
        await asyncio.sleep(self._latency_s())
        if self._client.has(Trouble.ANSWERS_LOST) and self._chance.random() < 0.5:
            for effect in self.hot.effects:
                self._client.count(f"answer to {effect} lost")
            self._client.count("answer lost")
            raise StoreUnavailableError("the answer to a COMMIT was lost", outcome_unknown=True)

    async def _travel(self) -> None:
        await asyncio.sleep(self._latency_s())
        if self._client.has(Trouble.DOWN):
            self._client.count("database down")
            raise StoreUnavailableError("connection refused")

    def _latency_s(self) -> float:
        if self._client.has(Trouble.SLOW):
            return self._chance.uniform(0, 3)
        return self._chance.choice((0.0, 0.0005, 0.002, 0.02))
