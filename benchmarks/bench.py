"""``python -m benchmarks.bench``: measures Tellwire on this machine and prints a table for each scenario."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import machine, plots
from .databases import POSTGRES, STORES
from .loads import load_name
from .profiles import show_profile
from .receivers import fast_receiver_name
from .report import Table, print_report
from .run import Asked, Run
from .scenarios.batching import batching
from .scenarios.fanout import fanout
from .scenarios.fifo import fifo
from .scenarios.growth import growth
from .scenarios.idle import idle
from .scenarios.isolation import isolation
from .scenarios.latency import latency
from .scenarios.recovery import recovery
from .scenarios.throughput import CASES, throughput
from .scenarios.tls import tls
from .served import has_cli

SCENARIOS: dict[str, Callable[[Run], Table]] = {
    "latency": latency,
    "growth": growth,
    "fanout": fanout,
    "fifo": fifo,
    "tls": tls,
    "idle": idle,
    "isolation": isolation,
    "recovery": recovery,
    "batching": batching,
}
NAMES = (*CASES, *SCENARIOS)
DEFAULT = (*CASES, "latency")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and print it."""
    given = _arguments(arguments)
    # So that everything that was started is stopped, also when a time limit ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with tempfile.TemporaryDirectory(prefix="tellwire-bench-", dir=given.dir) as folder, ExitStack() as stack:
        here = Path(folder)
        run = Run(here, _asked(given, here), stack)
        facts = machine.describe(here) | _set_up(run)
        tables = list(_tables(run, NAMES if "all" in given.only else given.only))
        if given.plots:
            facts["plots"] = ", ".join(plots.draw(tables)) or "none"
        if given.json:
            print(json.dumps({**facts, "tables": [table.as_json() for table in tables]}, indent=2))
        else:
            print_report(facts, tables)
        if run.asked.profile is not None:
            show_profile(run.asked.profile)


def _tables(run: Run, names: Sequence[str]) -> Iterator[Table]:
    cases = [name for name in CASES if name in names]
    if cases:
        yield throughput(run, cases)
    for name, measure in SCENARIOS.items():
        if name in names:
            yield measure(run)


def _asked(given: argparse.Namespace, here: Path) -> Asked:
    return Asked(
        stores=tuple(given.store),
        quick=given.quick,
        processes=given.processes,
        seconds=given.seconds,
        profile=here / "profile" if given.profile else None,
        keep=given.keep,
        points=tuple(given.points) if given.points else None,
        prepare=given.prepare,
    )


def _point(text: str) -> tuple[int, int]:
    history, _, pending = text.partition(":")
    return int(history), int(pending or 0)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="shorter runs, smaller histories: noisier")
    add("--seconds", type=float, help="how long each run offers load")
    add("--only", nargs="+", choices=[*NAMES, "all"], default=DEFAULT, metavar="NAME",
        help=f"what to measure: {' '.join(NAMES)}, or all; default: {' '.join(DEFAULT)}")  # fmt: skip
    add("--store", nargs="+", choices=STORES, default=STORES, help="on these stores")
    add(
        "--processes",
        type=int,
        default=2,
        help="Tellwire processes on PostgreSQL; on SQLite one and, at full speed, so many",
    )
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--plots", action="store_true", help="draw plots into benchmarks/plots")
    add("--profile", action="store_true", help="cProfile of every thread, at full speed")
    add("--dir", type=Path, help="where the databases are made (default: the temporary directory)")
    add("--keep", type=Path, help="growth: keep large databases here, and use those that are there")
    add("--prepare", action="store_true", help="growth: only make the databases (with --keep)")
    add("--points", nargs="+", type=_point, metavar="HISTORY:PENDING", help="growth: these sizes")
    return parser.parse_args(arguments)


def _set_up(run: Run) -> dict[str, str]:
    profiled = run.asked.profile is not None
    started_by = "tellwire serve --dev" if has_cli() and not profiled else "benchmarks.launch"
    found = {
        "receiver": f"{fast_receiver_name()}; for latencies Python (httptools on uvloop)",
        "load": f"{load_name()}; for latencies Python, open loop",
        "server": f"{started_by}{' under cProfile (slower)' if profiled else ''}, log lines as JSON in a file; "
        "SQLite synced before it acknowledges",
    }
    if POSTGRES in run.asked.stores:
        found["database"] = run.postgres.facts()
    return found


if __name__ == "__main__":
    main()
