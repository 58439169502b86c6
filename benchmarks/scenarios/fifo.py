"""Scenario: one endpoint that gets everything in order, or by key, beside what its receiver could take at most.

A line is one request after the other, so the latency of the receiver sets a bound. It is measured: a bare loop sends as
many requests at a time as there are lines. Where that is more than Tellwire delivers at all, what order costs is seen
beside an endpoint without order that has as many requests in the air.
"""

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bodies import KEY, data_of, delivered, event_type
from ..databases import TITLES
from ..processes import Child, Cpu, free_port, run_json
from ..progress import say
from ..report import CPU, DATABASE_CPU, PER_S, Column, Row, Table
from ..run import Run
from ..served import Wanted, make_endpoints, server

_LATENCIES_MS = (1, 50)
_KEYS = 16
_BATCH = 500
_COLUMNS = (
    PER_S, Column("bound_per_s", "bound/s", ",.0f"), Column("ratio", "ratio to bound", ".2f"),
    Column("unordered_per_s", "without order/s", ",.0f"), Column("unordered_ratio", "ratio to that", ".2f"), CPU,
    DATABASE_CPU,
)  # fmt: skip


def fifo(run: Run) -> Table:
    """Each store, each latency, one line and many."""
    rows = [
        _row(run, store, after_ms, lines)
        for store in run.asked.stores
        for after_ms in _LATENCIES_MS
        for lines in (1, _KEYS)
    ]
    notes = (
        f"One endpoint, 1 KB, all published at once, in batches of {_BATCH}; `order` is `endpoint`, or `key` with "
        f"{_KEYS} keys by turns. From the first answer of the receiver to the last; the bound is a bare loop "
        "that has as many requests in the air as there are lines. Without order, `max_in_flight` is the number of "
        "lines.",
    )
    return Table("fifo", "In order", _COLUMNS, rows, notes)


@dataclass(frozen=True)
class _Found:
    """What one endpoint got."""

    per_s: float
    bound_per_s: float
    cpu: Cpu
    database_cpu: Cpu
    count: int
    doubts: tuple[str, ...]


def _row(run: Run, store: str, after_ms: int, lines: int) -> Row:
    what = f"{TITLES[store]}, {lines} line{'s' * (lines > 1)}, answers after {after_ms} ms"
    say(what)
    ordered = _measured(run, store, after_ms, lines, {"order": "endpoint" if lines == 1 else "key"})
    unordered = _measured(run, store, after_ms, lines, {"max_in_flight": lines})
    return Row(
        what=what,
        values={
            "store": store, "per_s": ordered.per_s, "bound_per_s": ordered.bound_per_s,
            "ratio": ordered.per_s / ordered.bound_per_s, "unordered_per_s": unordered.per_s,
            "unordered_ratio": ordered.per_s / unordered.per_s, "cpu_us": ordered.cpu.us_each(ordered.count),
            "database_cpu_us": ordered.database_cpu.us_each(ordered.count) or None,
        },
        doubts=(*ordered.doubts, *unordered.doubts),
    )  # fmt: skip


def _measured(run: Run, store: str, after_ms: int, lines: int, settings: dict[str, Any]) -> _Found:
    here = run.folder("fifo")
    count = _count(run, after_ms, lines)
    with run.database(store) as database, _late(here, after_ms) as receiver:
        url = f"http://127.0.0.1:{receiver}/"
        bound_per_s = _bound(here, receiver, after_ms, lines)
        make_endpoints(database, [Wanted(url, event_type(0), settings=settings)])
        with server(database, here, profile=run.asked.profile) as served:
            before, database_before = served.cpu(), database.cpu()
            bodies = [_batch(start, min(_BATCH, count - start), lines) for start in range(0, count, _BATCH)]
            for body in bodies:
                _publish(served.ports[0], body)
            settled = served.wait_until_settled(120)
            spent, database_spent = served.cpu() - before, database.cpu() - database_before
        found = _told(url)
    doubts = () if settled and found["count"] == count else (f"{found['count']} of {count} came",)
    per_s = (found["count"] - 1) / found["span_s"]
    return _Found(per_s, bound_per_s, spent, database_spent, count, doubts)


def _publish(port: int, body: bytes) -> None:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/events/batch", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        answer.read()


def _count(run: Run, after_ms: int, lines: int) -> int:
    """As many events as take so long at the bound; no more than some thousand."""
    return min(int(run.seconds(8, 2) * 1000 / (after_ms + 0.5) * lines), 8_000)


def _bound(here: Path, port: int, after_ms: int, lines: int) -> float:
    file = here / "bare"
    file.write_bytes(delivered(1024))
    most = min(int(3_000 / (after_ms + 0.5) * lines), 4_000)
    run_json(
        "benchmarks.load", "--path=/", "--seconds=30", f"--most={most}", f"--concurrency={lines}",
        f"--port={port}", file, timeout_s=60,
    )  # fmt: skip
    found = _told(f"http://127.0.0.1:{port}/")
    return float((found["count"] - 1) / found["span_s"])


def _batch(first: int, events: int, lines: int) -> bytes:
    data = data_of(1024).decode()
    key = ',"ordering_key":"key%d"'
    listed = ",".join(
        f'{{"type":"{event_type(0)}","data":{data}{key % (n % lines) if lines > 1 else ""}}}'
        for n in range(first, first + events)
    )
    return b'{"events":[%b]}' % listed.encode()


def _told(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@contextmanager
def _late(here: Path, after_ms: int) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.late", str(port), str(after_ms)]
    with Child(command, log=here / "late.log") as child:
        child.wait_for_port(port)
        yield port
