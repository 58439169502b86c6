"""Scenario 7: noisy neighbours: a dead, a slow and a failing endpoint with long backlogs beside 100 healthy ones.

First the healthy ones alone, then the same with 100,000 due deliveries at each of the three: latency at a fixed rate,
and throughput at full speed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..at_rate import AtRate, at_rate
from ..bodies import event_type, published
from ..databases import TITLES, Database
from ..full_speed import Full, full_speed
from ..history import add_backlog, endpoints_of
from ..processes import Child, free_port
from ..progress import say
from ..receivers import fast_receiver, python_receiver
from ..report import CPU, DATABASE_CPU, P50, P99, PER_S, RSS, Column, Row, Table
from ..run import Run
from ..served import Wanted, make_endpoints, server

HEALTHY = 100
_SICK_TYPE = "bench.sick"
_RATE = 300.0
_BACKLOG, _QUICK_BACKLOG = 100_000, 10_000
_MOST_P99, _LEAST_SPEED = 2.0, 0.8
_COLUMNS = (
    P50, P99, Column("p99_share", "p99, of alone", ".2f"), PER_S, Column("share", "speed, of alone", ".2f"), CPU,
    DATABASE_CPU, RSS,
)  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """The healthy endpoints, alone or not."""

    paced: AtRate
    full: Full


def isolation(run: Run) -> Table:
    """Each store: the healthy ones alone, and beside the sick ones."""
    backlog = _QUICK_BACKLOG if run.asked.quick else _BACKLOG
    rows: list[Row] = []
    for store in run.asked.stores:
        say(f"{TITLES[store]}: {HEALTHY} healthy endpoints alone")
        alone = _measured(run, store, 0)
        rows.append(_row(store, "alone", alone, alone, strict=False))
        say(f"{TITLES[store]}: the same beside three sick ones, {backlog:,} due deliveries each")
        beside = _measured(run, store, backlog)
        rows.append(_row(store, "beside the sick", beside, alone, strict=True))
    notes = (
        f"{HEALTHY} healthy endpoints; one dead (refuses connections), one slow (10 s) and one that answers 500, with "
        f"{backlog:,} due deliveries each. Latency at {_RATE:,.0f} events/s, from the instant due to receipt; then "
        "full speed. 1 KB; deliveries to the sick ones are not counted, but their CPU is.",
    )
    return Table("isolation", "Noisy neighbours", _COLUMNS, rows, notes)


def _load(database: Database, backlog: int) -> None:
    add_backlog(database, endpoints_of(database)[HEALTHY:], backlog)
    database.tidy()  # else the kernel writes what was loaded half a minute later, and all who commit wait for that


def _measured(run: Run, store: str, backlog: int) -> _Found:
    seconds = run.seconds(20, 4)
    here = run.folder("isolation")
    with run.database(store) as database, _sick(here) as sick, python_receiver(here) as receiver:
        make_endpoints(database, _healthy(receiver) + _neighbours(sick, backlog))
        _load(database, backlog)
        with server(database, here) as served:
            at_rate(served, receiver, _RATE, 2.0, lanes=HEALTHY)
            paced = at_rate(served, receiver, _RATE, seconds, lanes=HEALTHY)
    here = run.folder("isolation")
    with run.database(store) as database, _sick(here) as sick, fast_receiver(here) as receiver:
        make_endpoints(database, _healthy(receiver) + _neighbours(sick, backlog))
        _load(database, backlog)
        bodies = [published(1024, lane) for lane in range(HEALTHY)]
        with server(database, here, profile=run.asked.profile) as served:
            full = full_speed(served, here, "/v1/events", bodies, seconds)
    return _Found(paced, full)


def _healthy(receiver: int) -> list[Wanted]:
    return [Wanted(f"http://127.0.0.1:{receiver}/hooks/{lane}", event_type(lane)) for lane in range(HEALTHY)]


def _neighbours(sick: int, backlog: int) -> list[Wanted]:
    if not backlog:
        return []
    urls = (f"http://127.0.0.1:{free_port()}/", f"http://127.0.0.1:{sick}/slow", f"http://127.0.0.1:{sick}/")
    return [Wanted(url, _SICK_TYPE) for url in urls]


@contextmanager
def _sick(here: Path) -> Iterator[int]:
    port = free_port()
    with Child([sys.executable, "-m", "benchmarks.sick", str(port)], log=here / "sick.log") as child:
        child.wait_for_port(port)
        yield port


def _row(store: str, which: str, found: _Found, alone: _Found, *, strict: bool) -> Row:
    paced, full = found.paced, found.full
    p99_share = paced.received.p99_ms / alone.paced.received.p99_ms
    share = full.per_s / alone.full.per_s
    return Row(
        what=f"{TITLES[store]}, {which}",
        values={
            "store": store, "p50_ms": paced.received.p50_ms, "p99_ms": paced.received.p99_ms, "p99_share": p99_share,
            "per_s": full.per_s, "share": share, "cpu_us": full.cpu_us, "database_cpu_us": full.database_cpu_us,
            "rss_mib": full.rss_mib,
        },
        target=f"p99 <= {_MOST_P99:.0f}, speed >= {_LEAST_SPEED:.1f} of alone" if strict else "",
        met=p99_share <= _MOST_P99 and share >= _LEAST_SPEED if strict else None,
        doubts=(*paced.doubts, *full.doubts),
    )  # fmt: skip
