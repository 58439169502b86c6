"""Fills a database with what years would bring: events, their deliveries and attempts, made in bulk.

Ids are those that Tellwire would have made at the time: UUIDv7, in order. History is spread evenly over the days before
now, all of it delivered at the first attempt; what is pending waits for a retry within the days to come.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .bodies import FIRST_NUMBER, data_of, event_type
from .databases import Database, first_id_of

DAY_MS = 86_400_000
DATA_BYTES = 256

Endpoints = Sequence[tuple[bytes, str]]
"""Id and tenant of each."""

_EVENT = ("id", "tenant", "type", "data", "occurred_ms", "created_ms", "deliveries")
_DELIVERY = (
    "id", "event_id", "endpoint_id", "state", "attempt_count", "schedule_step", "trigger", "due_ms",
    "last_status_code", "last_error", "created_ms", "finished_ms",
)  # fmt: skip
_ATTEMPT = (
    "delivery_id", "number", "id", "started_ms", "duration_ms", "status_code", "error", "response_headers",
    "response_body", "trigger",
)  # fmt: skip
_HEADERS = b'[["content-length","0"]]'

# Three ids of one row, distinguishable from each other, and from those of another purpose.
_OF_EVENT, _OF_DELIVERY, _OF_ATTEMPT = 1, 2, 3


def endpoints_of(database: Database) -> list[tuple[bytes, str]]:
    """All endpoints, in order."""
    return [(row[0], row[1]) for row in database.fetch("SELECT id, tenant FROM endpoints ORDER BY id")]


def point_at(database: Database, receiver_port: int) -> None:
    """Let every endpoint be at this receiver; no server may run meanwhile."""
    database.execute(f"UPDATE endpoints SET url = 'http://127.0.0.1:{receiver_port}/hooks'")


def add_history(database: Database, endpoints: Endpoints, rows: int, days: int = 20) -> None:
    """Add so many deliveries that have succeeded, each of an event of its own and with one attempt."""
    if not rows:
        return
    until_ms = _now_ms() - 3_600_000
    step_ms = days * DAY_MS / rows

    def created_ms(turn: int) -> int:
        return until_ms - int((rows - turn) * step_ms)

    data = data_of(DATA_BYTES)
    database.load("events", _EVENT, _events(rows, endpoints, created_ms, lambda _: data))
    database.load(
        "deliveries", _DELIVERY,
        (
            (_id(ms, turn, _OF_DELIVERY), _id(ms, turn, _OF_EVENT), _endpoint(endpoints, turn)[0], 1, 1, 1, "schedule",
             None, 200, None, ms, ms + 5)
            for turn, ms in _instants(rows, created_ms)
        ),
    )  # fmt: skip
    database.load(
        "attempts", _ATTEMPT,
        (
            (_id(ms, turn, _OF_DELIVERY), 1, _id(ms, turn, _OF_ATTEMPT), ms + 1, 4, 200, None, _HEADERS, b"",
             "schedule")
            for turn, ms in _instants(rows, created_ms)
        ),
    )  # fmt: skip


def add_pending(database: Database, endpoints: Endpoints, rows: int) -> None:
    """Add so many deliveries that have failed once within the last hour and wait for a retry within the next days."""
    if not rows:
        return
    now_ms = _now_ms()

    def created_ms(turn: int) -> int:
        return now_ms - 3_600_000 + int(turn * 3_000_000 / rows)

    data = data_of(DATA_BYTES)
    database.load("events", _EVENT, _events(rows, endpoints, created_ms, lambda _: data))
    database.load(
        "deliveries", _DELIVERY,
        (
            (_id(ms, turn, _OF_DELIVERY), _id(ms, turn, _OF_EVENT), _endpoint(endpoints, turn)[0], 0, 1, 1, "schedule",
             now_ms + DAY_MS + int(turn * 2 * DAY_MS / rows), 500, None, ms, None)
            for turn, ms in _instants(rows, created_ms)
        ),
    )  # fmt: skip


def add_backlog(database: Database, endpoints: Endpoints, each: int) -> None:
    """Add so many deliveries for each endpoint that were due a minute ago and have never been tried."""
    rows = each * len(endpoints)
    if not rows:
        return
    then_ms = _now_ms() - 60_000
    data = data_of(DATA_BYTES)
    database.load("events", _EVENT, _events(rows, endpoints, lambda _: then_ms, lambda _: data))
    database.load(
        "deliveries", _DELIVERY,
        (
            (_id(ms, turn, _OF_DELIVERY), _id(ms, turn, _OF_EVENT), _endpoint(endpoints, turn)[0], 0, 0, 0, "schedule",
             ms, None, None, ms, None)
            for turn, ms in _instants(rows, lambda _: then_ms)
        ),
    )  # fmt: skip


def add_due(database: Database, endpoints: Endpoints, due_ms: Sequence[int]) -> bytes:
    """Add deliveries that fall due at these instants, their events numbered; gives an id from which on they are."""
    now_ms, rows = _now_ms(), len(due_ms)

    def created_ms(_: int) -> int:
        return now_ms

    # A stride through all endpoints, so that neighbours in time are not neighbours in the index.
    spread = [endpoints[(turn * 7919) % len(endpoints)] for turn in range(rows)]
    database.load(
        "events", _EVENT, _events(rows, spread, created_ms, lambda turn: data_of(1024, FIRST_NUMBER + turn))
    )
    database.load(
        "deliveries", _DELIVERY,
        (
            (_id(ms, turn, _OF_DELIVERY), _id(ms, turn, _OF_EVENT), spread[turn][0], 0, 1, 1, "schedule", due_ms[turn],
             500, None, ms, None)
            for turn, ms in _instants(rows, created_ms)
        ),
    )  # fmt: skip
    return first_id_of(now_ms)


def _instants(rows: int, created_ms: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    for turn in range(rows):
        yield turn, created_ms(turn)


def _events(
    rows: int, endpoints: Endpoints, created_ms: Callable[[int], int], data: Callable[[int], bytes]
) -> Iterator[tuple[Any, ...]]:
    for turn, ms in _instants(rows, created_ms):
        tenant = _endpoint(endpoints, turn)[1]
        yield _id(ms, turn, _OF_EVENT), tenant, event_type(turn % 10), data(turn), ms, ms, 1


def _endpoint(endpoints: Endpoints, turn: int) -> tuple[bytes, str]:
    return endpoints[turn % len(endpoints)]


def _id(ms: int, turn: int, of: int) -> bytes:
    return ((ms << 80) | (0x7000 | of << 8) << 64 | 0x8 << 60 | turn).to_bytes(16, "big")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
