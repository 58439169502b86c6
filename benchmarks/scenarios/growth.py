"""Scenario 3: what a large database costs: throughput and claim latency beside those of an empty one.

10,000 endpoints of 1,000 tenants, in the empty database, too. Histories are made in bulk before the servers start.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..at_rate import arrivals
from ..bodies import event_type, published
from ..databases import TITLES, Database
from ..full_speed import Full, full_speed
from ..history import add_due, add_history, add_pending, endpoints_of, point_at
from ..numbers import Spread, spread_of
from ..progress import say
from ..receivers import fast_receiver, python_receiver
from ..report import CPU, DATABASE_CPU, PER_S, RSS, Column, Row, Table
from ..run import Run
from ..served import Wanted, make_endpoints, server

TENANTS = 1_000
ENDPOINTS = 10_000
_EMPTY = (0, 0)
_POINTS = (_EMPTY, (1_000, 0), (100_000, 0), (0, 1_000_000), (5_000_000, 1_000_000), _EMPTY)
_QUICK_POINTS = (_EMPTY, (100_000, 0), (0, 100_000), _EMPTY)
_LEAST_SHARE = 0.8
_MOST_RSS_MIB = 300
_WORTH_KEEPING = 100_000
_BODIES = 2_000
_DUE_APART_MS = 20
_HEAD_START_MS = 10_000
_COLUMNS = (
    PER_S, Column("share", "of empty", ".2f"), Column("claim_p50_ms", "claim p50 ms", ",.1f"),
    Column("claim_p99_ms", "claim p99 ms", ",.1f"), Column("claim_share", "claim p50, of empty", ".2f"),
    CPU, DATABASE_CPU, RSS,
)  # fmt: skip


@dataclass(frozen=True)
class Grown:
    """What one size of database gives."""

    full: Full
    claimed: Spread
    claim_doubts: tuple[str, ...]


@dataclass(frozen=True)
class Baseline:
    """What the others are measured against."""

    per_s: float
    claim_p50_ms: float


def growth(run: Run) -> Table:
    """Each store at each size, between two empty databases."""
    points = run.asked.points or (_QUICK_POINTS if run.asked.quick else _POINTS)
    rows: list[Row] = []
    for store in run.asked.stores:
        found: list[tuple[int, int, Grown]] = []
        for history, pending in points:
            database = _filled(run, store, history, pending)
            if run.asked.prepare:
                continue
            say(f"{TITLES[store]}: {_named(history, pending)}")
            found.append((history, pending, _measured(run, database)))
            if not _kept(run, history, pending):
                run.drop_kept(database)
        if found:
            empty = _baseline(found)
            rows += [_row(store, history, pending, grown, empty) for history, pending, grown in found]
    notes = (
        f"{ENDPOINTS:,} endpoints of {TENANTS:,} tenants. A row of history is an event of 256 bytes, its succeeded "
        "delivery and an attempt, spread over 20 days; what is pending waits for a retry tomorrow or later.",
        f"Claim: from the instant a delivery was due to its receipt, one every {_DUE_APART_MS} ms, each for another "
        "endpoint. 'of empty' is to the mean of the empty databases before and after (without one: to the first row).",
    )
    return Table("growth", "Growth", _COLUMNS, rows, notes)


def _baseline(found: Sequence[tuple[int, int, Grown]]) -> Baseline:
    empty = [grown for history, pending, grown in found if (history, pending) == _EMPTY] or [found[0][2]]
    return Baseline(
        statistics.mean(grown.full.per_s for grown in empty),
        statistics.mean(grown.claimed.p50_ms for grown in empty),
    )


def _kept(run: Run, history: int, pending: int) -> bool:
    return run.asked.keep is not None and history + pending >= _WORTH_KEEPING


def _filled(run: Run, store: str, history: int, pending: int) -> Database:
    """A database of that size: the one that is kept, or a new one."""

    def fill(database: Database) -> None:
        say(f"{TITLES[store]}: making {_named(history, pending)}")
        make_endpoints(database, _wanted())
        endpoints = endpoints_of(database)
        add_history(database, endpoints, history)
        add_pending(database, endpoints, pending)
        database.tidy()

    return run.kept_database(store, f"growth_{history}_{pending}", fill)


def _wanted() -> list[Wanted]:
    each = ENDPOINTS // TENANTS
    return [
        Wanted(f"http://127.0.0.1:9999/hooks/{number}", event_type(number % each), f"tenant{number // each}")
        for number in range(ENDPOINTS)
    ]


def _measured(run: Run, database: Database) -> Grown:
    here = run.folder("growth")
    each = ENDPOINTS // TENANTS
    chosen = [(n * 7919) % ENDPOINTS for n in range(_BODIES)]
    bodies = [published(1024, number % each, tenant=f"tenant{number // each}") for number in chosen]
    with fast_receiver(here) as receiver:
        point_at(database, receiver)
        with server(database, here, profile=run.asked.profile) as served:
            full = full_speed(served, here, "/v1/events", bodies, run.seconds(5, 3), warm_up_s=2.0)
    claimed, doubts = _claims(run, database)
    return Grown(full, claimed, doubts)


def _claims(run: Run, database: Database) -> tuple[Spread, tuple[str, ...]]:
    """How long after they were due deliveries arrive that have to be claimed from the store."""
    here = run.folder("claims")
    count = int(run.seconds(5, 3) * 1000 / _DUE_APART_MS)
    with python_receiver(here) as receiver:
        point_at(database, receiver)
        start_ms = time.time_ns() // 1_000_000 + _HEAD_START_MS
        due_ms = [start_ms + turn * _DUE_APART_MS for turn in range(count)]
        since = add_due(database, endpoints_of(database), due_ms)
        with server(database, here) as served:
            late_ms = time.time_ns() // 1_000_000 - start_ms
            served.wait_until_settled(count * _DUE_APART_MS / 1000 + 30, since)
            arrived = arrivals(receiver)
    apart_ns = time.time_ns() - time.monotonic_ns()
    latencies = [instants[0] + apart_ns - due_ms[number] * 1_000_000 for number, instants in arrived.items()]
    doubts = [] if len(latencies) == count else [f"of {count} due deliveries {len(latencies)} arrived"]
    if late_ms > 0:
        doubts.append(f"the servers were ready {late_ms} ms after the first was due")
    return spread_of(latencies), tuple(doubts)


def _named(history: int, pending: int) -> str:
    parts = [f"{history:,} rows of history"] if history else []
    parts += [f"{pending:,} pending"] if pending else []
    return ", ".join(parts) or "empty"


def _row(store: str, history: int, pending: int, grown: Grown, empty: Baseline) -> Row:
    full = grown.full
    share = full.per_s / empty.per_s
    claim_share = empty.claim_p50_ms / grown.claimed.p50_ms
    return Row(
        what=f"{TITLES[store]}, {_named(history, pending)}",
        values={
            "store": store, "history": history, "pending": pending, "per_s": full.per_s, "share": share,
            "claim_p50_ms": grown.claimed.p50_ms, "claim_p99_ms": grown.claimed.p99_ms, "claim_share": claim_share,
            "cpu_us": full.cpu_us, "database_cpu_us": full.database_cpu_us, "rss_mib": full.rss_mib,
        },
        cpu_split_us=full.cpu_split_us,
        target=f">= {_LEAST_SHARE:.2f} of empty, RSS < {_MOST_RSS_MIB} MiB",
        met=min(share, claim_share) >= _LEAST_SHARE and full.rss_mib < _MOST_RSS_MIB,
        doubts=(*full.doubts, *grown.claim_doubts),
    )  # fmt: skip
