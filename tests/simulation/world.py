"""The world around Tellwire: receivers with moods, a disk with faults, an observer that writes everything down."""

import asyncio
import random
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tellwire.hub import Tellwire
from tellwire.model.attempt import AttemptError, Evidence

from .virtual import EPOCH_MS, Timeline


class Crash(SystemExit):
    """The process dies here. (Of the exceptions that an event loop lets through to whoever runs it.)"""


class Sent(NamedTuple):
    """One request as its receiver saw it."""

    at_ms: int
    url: str
    event_id: str
    answer: str


class Moods(msgspec.Struct, frozen=True):
    """How likely each answer of a receiver is; what is left of 1 is 200."""

    fails: float = 0.25
    hangs: float = 0.03
    refuses: float = 0.05
    overloaded: float = 0.05
    gone: float = 0.0


class SimulatedTransport:
    """Receivers that answer by chance, and now and then are down for hours."""

    def __init__(self, timeline: Timeline, seed: int, log: list[Sent], moods: Mapping[str, Moods]) -> None:
        self._timeline = timeline
        self._random = random.Random(seed)
        self._log = log
        self._moods = moods
        self.in_flight = 0

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Evidence:
        """An answer after a while, by the mood of the receiver."""
        started_ms = self._timeline.now_ms()
        self.in_flight += 1
        try:
            evidence, after_s = self._answer(url)
            # The receiver has the request as soon as it is sent, whether or not we live to see the answer.
            answer = str(evidence.error or evidence.status_code)
            self._log.append(Sent(started_ms, url, headers["webhook-id"], answer))
            await asyncio.sleep(after_s)
        finally:
            self.in_flight -= 1
        return msgspec.structs.replace(evidence, duration_ms=self._timeline.now_ms() - started_ms)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _answer(self, url: str) -> tuple[Evidence, float]:
        chance, moods = self._random, self._moods[url]
        quick_s, roll = chance.uniform(0.001, 0.4), chance.random()
        for likely, answer in (
            (moods.fails, (Evidence(chance.choice([500, 404, 301])), quick_s)),
            (moods.hangs, (Evidence(error=AttemptError.TIMEOUT, detail="no answer within 15 s"), 15.0)),
            (moods.refuses, (Evidence(error=AttemptError.CONNECT, detail="refused"), quick_s)),
            (moods.overloaded, (self._overloaded(), quick_s)),
            (moods.gone, (Evidence(410), quick_s)),
        ):
            if roll < likely:
                return answer
            roll -= likely
        return Evidence(200), quick_s if chance.random() < 0.95 else chance.uniform(1, 14)

    def _overloaded(self) -> Evidence:
        after = self._random.choice(["120", "7200", "soon", "0"])
        return Evidence(self._random.choice([429, 503]), response_headers=(("retry-after", after),))


class Disk:
    """Faults of the disk under one process, where they really happen: at the driver's BEGIN and COMMIT."""

    def __init__(self, timeline: Timeline, chance: random.Random) -> None:
        self._timeline = timeline
        self._chance = chance
        self.full_until_s = 0.0
        self.crash_at_commit: str | None = None
        self.uncertain = False
        self._dialects: list[Any] = []

    def die(self, tellwire: Tellwire) -> None:
        """The process has crashed: what was not committed is gone, and the dead write no more."""
        driver_of(tellwire).close()
        for dialect in self._dialects:
            dialect.do_rollback = dialect.do_commit = dialect.do_close = lambda connection: None

    def attach(self, tellwire: Tellwire) -> None:
        """Put the faults under the store of ``tellwire``, and spare it the waiting for a real disk."""
        engine: Any = tellwire._store._write_engine  # type: ignore[attr-defined]
        dialect = engine.dialect
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            if self._timeline.now_s < self.full_until_s:
                raise sqlite3.OperationalError("database or disk is full")
            if self.crash_at_commit == "before":
                raise Crash
            commit(connection)
            if self.crash_at_commit == "after":
                raise Crash
            if self.uncertain and self._chance.random() < 0.5:
                raise sqlite3.OperationalError("disk I/O error")

        dialect.do_commit = do_commit
        self._dialects.append(dialect)
        driver = driver_of(tellwire)
        driver.execute("PRAGMA synchronous = OFF")
        driver.create_function("simulated_now_ms", 0, self._timeline.now_ms)


def driver_of(tellwire: Tellwire) -> sqlite3.Connection:
    """The driver's writing connection."""
    driver: sqlite3.Connection = tellwire._store._connection.connection.driver_connection  # type: ignore[attr-defined]
    return driver


AUDIT = """
    CREATE TABLE audit (
        at_ms INTEGER, delivery BLOB, state_before INTEGER, state INTEGER, count_before INTEGER, count INTEGER,
        step INTEGER, token_before INTEGER, token INTEGER, until_before INTEGER, until INTEGER, due_ms INTEGER,
        trigger TEXT, status INTEGER
    );
    CREATE TRIGGER audit_birth AFTER INSERT ON deliveries BEGIN
        INSERT INTO audit VALUES (simulated_now_ms(), new.id, NULL, new.state, NULL, new.attempt_count,
            new.schedule_step, NULL, new.lease_token, NULL, new.lease_until_ms, new.due_ms, new.trigger, NULL);
    END;
    CREATE TRIGGER audit_change AFTER UPDATE ON deliveries BEGIN
        INSERT INTO audit VALUES (simulated_now_ms(), new.id, old.state, new.state, old.attempt_count,
            new.attempt_count, new.schedule_step, old.lease_token, new.lease_token, old.lease_until_ms,
            new.lease_until_ms, new.due_ms, new.trigger, new.last_status_code);
    END;
    CREATE TABLE switches (at_ms INTEGER, url TEXT, state TEXT);
    CREATE TRIGGER audit_switch AFTER UPDATE ON endpoints WHEN old.state != new.state BEGIN
        INSERT INTO switches VALUES (simulated_now_ms(), new.url, new.state);
    END;
"""
"""An observer inside the database: every change of a delivery, whoever makes it, with the simulated time."""


class Change(NamedTuple):
    """A row of the audit."""

    at_ms: int
    delivery: bytes
    state_before: int | None
    state: int
    made_before: int | None
    made: int
    step: int
    token_before: int | None
    token: int | None
    until_before: int | None
    until: int | None
    due_ms: int | None
    trigger: str
    status: int | None

    @property
    def grants(self) -> bool:
        """Whether somebody got a lease by it."""
        return self.token is not None and self.token != self.token_before

    @property
    def records(self) -> bool:
        """Whether it wrote a result."""
        return self.made_before is not None and self.made > self.made_before


def seconds(at_ms: int) -> float:
    """An instant as seconds since the simulation began."""
    return (at_ms - EPOCH_MS) / 1000
