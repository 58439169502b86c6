"""Scenario 1: publishing at full speed beside a bare loop, single events and batches, on each store.

Each run of Tellwire stands between two runs of the bare loop, and its ratio is to the mean of the two: a machine that
speeds up or slows down meanwhile does so for both.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..bare import Bare, bare_loop
from ..bodies import LANES, published, published_batch
from ..databases import POSTGRES, SQLITE, TITLES, Database
from ..full_speed import CONCURRENCY, Full, full_speed
from ..progress import say
from ..receivers import fast_receiver
from ..report import CPU, DATABASE_CPU, DATABASE_MIB, PER_S, RATIO, RSS, Column, Row, Table
from ..run import Run
from ..served import lanes_at, make_endpoints, server


@dataclass(frozen=True)
class Case:
    """One run at full speed on each store."""

    name: str
    what: str
    size: int
    batch: int
    least_ratios: dict[str, float]


_SINGLE = {SQLITE: 0.30, POSTGRES: 0.20}
CASES = {
    case.name: case
    for case in (
        Case("single", "single, 1 KB", 1024, 1, _SINGLE),
        Case("batch", "batches of 100, 1 KB", 1024, 100, {SQLITE: 0.45, POSTGRES: 0.30}),
        Case("large", "single, 8 KB", 8192, 1, _SINGLE),
    )
}
_COLUMNS = (
    PER_S, Column("publish_per_s", "acknowledged/s", ",.0f"), CPU, DATABASE_CPU, RATIO, RSS, DATABASE_MIB,
)  # fmt: skip


def throughput(run: Run, names: Sequence[str]) -> Table:
    """The cases of those ``names``, those of a size together."""
    rows: list[Row] = []
    cases = [CASES[name] for name in names]
    for size in dict.fromkeys(case.size for case in cases):
        bares = [_bare(run, size)]
        found: list[Row] = []
        for case in (case for case in cases if case.size == size):
            for store in run.asked.stores:
                for processes in run.counts(store):
                    full = _full(run, case, store, processes)
                    bares.append(_bare(run, size))
                    found.append(_row(case, store, processes, full, bares[-2:]))
        rows += [_bare_row(size, bares), *found]
    notes = (
        f"Concurrency {CONCURRENCY}, {LANES} endpoints of 16 slots.",
        "CPU and memory of the Tellwire processes (memory: of the larger one), or of the bare loop.",
    )
    return Table("throughput", "Publishing at full speed", _COLUMNS, rows, notes)


def rate_of_single(run: Run, store: str) -> float:
    """Deliveries a second of single events of 1 KB; measured once a run."""
    processes = run.counts(store)[0]
    key = ("single", store, processes)
    if key not in run.found:
        _full(run, CASES["single"], store, processes)
    rate: float = run.found[key]
    return rate


def run_case(run: Run, case: Case, database: Database) -> Full:
    """Publish to new endpoints on ``database``."""
    here = run.folder(case.name)
    if case.batch == 1:
        path, bodies = "/v1/events", [published(case.size, lane) for lane in range(LANES)]
    else:
        path, bodies = "/v1/events/batch", [published_batch(case.size, case.batch)]
    with fast_receiver(here) as receiver:
        make_endpoints(database, lanes_at(receiver))
        with server(database, here, profile=run.asked.profile) as served:
            return full_speed(served, here, path, bodies, run.seconds(6, 2), events_each=case.batch)


def _full(run: Run, case: Case, store: str, processes: int) -> Full:
    say(f"{_title(store, processes)}: {case.what}")
    with run.database(store, processes) as database:
        found = run_case(run, case, database)
    run.found[case.name, store, processes] = found.per_s
    return found


def _bare(run: Run, size: int) -> Bare:
    say(f"bare loop, {size // 1024} KB")
    here = run.folder("bare")
    with fast_receiver(here) as port:
        return bare_loop(size, min(run.seconds(3, 2), 3.0), port)


def _bare_row(size: int, bares: Sequence[Bare]) -> Row:
    rates = [bare.per_s for bare in bares]
    return Row(
        what=f"bare loop, {size // 1024} KB ({min(rates):,.0f} to {max(rates):,.0f})",
        values={"per_s": statistics.mean(rates), "cpu_us": statistics.mean(bare.cpu_us for bare in bares)},
    )


def _title(store: str, processes: int) -> str:
    return f"{TITLES[store]}, {'one process' if processes == 1 else f'{processes} processes'}"


def _row(case: Case, store: str, processes: int, full: Full, around: Sequence[Bare]) -> Row:
    ratio = full.per_s / statistics.mean(bare.per_s for bare in around)
    least = case.least_ratios[store]
    values = {
        "per_s": full.per_s, "publish_per_s": full.publish_per_s, "cpu_us": full.cpu_us, "ratio": ratio,
        "database_cpu_us": full.database_cpu_us, "rss_mib": full.rss_mib, "database_mib": full.database_mib,
    }  # fmt: skip
    return Row(
        what=f"{_title(store, processes)}: {case.what}",
        values=values,
        cpu_split_us=full.cpu_split_us,
        target=f"ratio >= {least:.2f}",
        met=ratio >= least,
        doubts=full.doubts,
    )
