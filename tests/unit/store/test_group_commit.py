"""Group commit: who shares a transaction with whom."""

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import Connection

from tellwire.errors import StoreUnavailableError
from tellwire.store import group_commit
from tellwire.store.group_commit import BatchedWrite, BlockedError, GroupCommit, Work

ANY: Any = None
"""A connection that nobody uses."""


class Commits:
    """A store that only remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.committed = asyncio.Event()
        self.writes = GroupCommit(self._commit, asyncio.get_running_loop(), linger_s=0.001)

    def kind(self, *, patient: bool = False, most: int = 100) -> BatchedWrite:
        """A kind of write without effect."""
        return self.writes.register(_outcomes, lambda _, __: None, most, patient=patient)

    async def writes_once(self) -> None:
        """Return after the next transaction."""
        self.committed.clear()
        await self.committed.wait()

    async def _commit(self, work: Work) -> list[list[Any]]:
        self.batches.append([item for _, items in work for item in items])
        self.committed.set()
        return [items for _, items in work]


def _outcomes(_: Connection, items: list[Any]) -> list[Any]:
    return items


async def test_patient_items_wait_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load, items that nobody waits for stay until somebody who waits comes, and go with him."""
    monkeypatch.setattr(group_commit, "PATIENT_LINGERS", 10_000)
    commits = Commits()
    results, events = commits.kind(patient=True), commits.kind()
    for item in range(group_commit.BUSY_ITEMS):
        results.submit(item)
    await commits.committed.wait()
    results.submit("result")
    await asyncio.sleep(0.02)
    assert len(commits.batches) == 1
    events.submit("event")
    await commits.writes.close()
    assert commits.batches[1:] == [["result", "event"]]


async def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without company, patient items are written after some lingers, and at once where they are many."""
    commits = Commits()
    results = commits.kind(patient=True)
    for item in range(group_commit.BUSY_ITEMS):
        results.submit(item)
    await commits.committed.wait()
    results.submit("alone")
    await commits.writes.close()
    monkeypatch.setattr(group_commit, "PATIENT_LINGERS", 10_000)
    monkeypatch.setattr(group_commit, "PATIENT_ITEMS", 100)
    for item in range(200):
        results.submit(item)
    await commits.writes.close()
    assert [len(batch) for batch in commits.batches] == [group_commit.BUSY_ITEMS, 1, 100, 100]


async def test_nobody_lingers_without_load() -> None:
    """A single item is written in the turn of the loop after its submission, whoever it is."""
    commits = Commits()
    for write in (commits.kind(patient=True), commits.kind()):
        write.submit("one")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert commits.batches == [["one"], ["one"]]


async def test_a_few_results_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is written at once; the next wait a moment for each other, but not when somebody is in a hurry."""
    monkeypatch.setattr(group_commit, "PATIENT_LINGERS", 10_000)
    commits = Commits()
    results, events = commits.kind(patient=True), commits.kind()
    results.submit(1)
    await commits.committed.wait()
    for number in (2, 3):
        results.submit(number)
        await asyncio.sleep(0.005)
    assert commits.batches == [[1]]
    commits.committed.clear()
    events.submit("event")
    await commits.committed.wait()
    assert commits.batches == [[1], [2, 3, "event"]]
    results.submit(4)
    await commits.writes.close()
    assert commits.batches[2:] == [[4]], "and the end waits for nobody"


@pytest.mark.parametrize("before", [1, group_commit.BUSY_ITEMS], ids=["idle", "busy"])
async def test_one_patient_item_may_be_in_a_hurry(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """A result for which somebody waits ends the wait of all, with load and without it; the next wait again."""
    monkeypatch.setattr(group_commit, "PATIENT_LINGERS", 10_000)
    commits = Commits()
    results = commits.kind(patient=True)
    for item in range(before):
        results.submit(item)
    await commits.writes_once()
    results.submit("patient")
    await asyncio.sleep(0.005)
    assert len(commits.batches) == 1
    results.submit("hurried", hurry=True)
    await commits.writes_once()
    assert commits.batches[1:] == [["patient", "hurried"]]
    results.submit("patient")
    await asyncio.sleep(0.005)
    assert len(commits.batches) == 2
    await commits.writes.close()


@pytest.mark.parametrize(
    ("error", "commits"),
    [
        (StoreUnavailableError("the answer is lost", outcome_unknown=True), 1),
        (BlockedError("another is in the way"), 4),
        (ZeroDivisionError(), 4),
    ],
    ids=["unavailable", "blocked", "a fault"],
)
async def test_a_batch_that_failed_is_written_piece_by_piece_where_that_may_help(
    error: Exception, commits: int
) -> None:
    """Not where the database is away: what became of the first try is not known, and it might be written twice."""
    outcomes: list[Any] = []
    tries: list[int] = []

    async def commit(work: Work) -> list[list[Any]]:
        tries.append(sum(len(items) for _, items in work))
        raise error

    writes = GroupCommit(commit, asyncio.get_running_loop(), linger_s=0)
    write = writes.register(_outcomes, lambda _, found: outcomes.extend(found), 100)
    for item in range(3):
        write.submit(item)
    await writes.close()
    assert outcomes == [error] * 3
    assert len(tries) == commits


async def test_what_takes_long_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write for whose outcomes nobody waits takes more of a transaction as soon as it is seen not to take long, and
    less again when it does; one for which somebody waits takes what there is."""
    commits = Commits()
    results, events = commits.kind(patient=True, most=1_000), commits.kind(most=1_000)
    few = group_commit.PACE_ITEMS

    def taken(write: BatchedWrite, after: int) -> int:
        """How many it takes after a transaction with so many."""
        items = list(range(after))
        write.done(items, write.run(ANY, items))
        while write.waiting:
            write.take()
        for item in range(2_000):
            write.submit(item)
        return len(write.take())

    monkeypatch.setattr(group_commit, "LONG_S", 3_600.0)
    assert taken(results, after=1) == few, "so little says nothing"
    assert taken(events, after=1) == 1_000
    assert taken(results, after=few) == 1_000
    monkeypatch.setattr(group_commit, "LONG_S", 0.0)  # whatever it takes is long
    assert taken(results, after=500) == few
    assert taken(events, after=500) == 1_000
    await commits.writes.close()


async def test_what_follows_the_commit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who publishes waits for what a stage does with its outcomes, too: the event loop is busy with that."""
    commits = Commits()
    monkeypatch.setattr(group_commit, "PACE_ITEMS", 10)
    results = commits.writes.register(_outcomes, lambda _, __: time.sleep(0.05), 100, patient=True)
    for item in range(100):
        results.submit(item)
    results.done(results.take(), [])
    assert len(results.take()) == 10
    await commits.writes.close()
