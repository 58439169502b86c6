"""``python -m benchmarks.bench``: measures Tellwire beside a bare loop on this machine and prints one table.

Each run of Tellwire stands between two runs of the bare loop, and its ratio is to the mean of the two: a machine that
speeds up or slows down meanwhile does so for both.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .bodies import LANES
from .loads import load_name
from .receivers import fast_receiver_name
from .report import Row, bare_row, full_row, print_report, steady_rows
from .runs import Bare, Place, run_bare, run_full, run_steady, show_profile
from .served import has_cli

LEAST_RATIO_SINGLE = 0.20
LEAST_RATIO_BATCH = 0.35
P50_BELOW_MS = 5.0


@dataclass(frozen=True)
class Case:
    """One run at full speed."""

    name: str
    what: str
    size: int
    batch: int = 1
    log_level: str = "info"
    least_ratio: float | None = None


CASES = (
    Case("single", "single, 1 KB", 1024, least_ratio=LEAST_RATIO_SINGLE),
    Case("quiet", "single, 1 KB, log level warning", 1024, log_level="warning"),
    Case("batch", "batches of 100, 1 KB", 1024, batch=100, least_ratio=LEAST_RATIO_BATCH),
    Case("large", "single, 8 KB", 8192, least_ratio=LEAST_RATIO_SINGLE),
)
STEADY = "latency"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and print it."""
    asked = _arguments(arguments)
    seconds: float = asked.seconds or (2.0 if asked.quick else 6.0)
    names = asked.only or [*(case.name for case in CASES), STEADY]
    with tempfile.TemporaryDirectory(prefix="tellwire-bench-", dir=asked.dir) as folder:
        here = Path(folder)
        facts = machine.describe(here) | _set_up(seconds, profiled=asked.profile)
        place = Place(here, here / "profile" if asked.profile else None)
        rows = _full_rows(place, [case for case in CASES if case.name in names], seconds)
        if STEADY in names:
            _say("steady rate")
            run = run_steady(place, 1024, asked.seconds or (3.0 if asked.quick else 10.0), "info")
            rows += steady_rows("200 events/s, 1 KB", run, P50_BELOW_MS)
        if asked.json:
            print(json.dumps({**facts, "rows": [row.as_json() for row in rows]}, indent=2))
        else:
            print_report(facts, rows)
        if place.profile is not None:
            show_profile(place.profile)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 s a run instead of 6: noisier")
    parser.add_argument("--seconds", type=float, help="how long each run offers load")
    parser.add_argument(
        "--only", nargs="+", choices=[*(case.name for case in CASES), STEADY], help="some runs"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--profile", action="store_true", help="cProfile of every thread, last full run")
    parser.add_argument(
        "--dir", type=Path, help="where the databases are made (default: the temporary directory)"
    )
    return parser.parse_args(arguments)


def _set_up(seconds: float, *, profiled: bool) -> dict[str, str]:
    started_by = "tellwire serve --dev" if has_cli() and not profiled else "benchmarks.launch"
    return {
        "receiver": f"{fast_receiver_name()}; for latencies Python (httptools on uvloop)",
        "load": f"{load_name()}, {seconds:g} s a run; for latencies Python, open loop",
        "server": f"{started_by}{' under cProfile (slower)' if profiled else ''}, one process, SQLite with "
        f"synchronous=FULL, {LANES} endpoints of 16 slots, log lines as JSON in a file",
    }


def _full_rows(place: Place, cases: Sequence[Case], seconds: float) -> list[Row]:
    """Runs of each body size, each between two runs of the bare loop."""
    rows: list[Row] = []
    for size in dict.fromkeys(case.size for case in cases):
        label = f"{size // 1024} KB"
        bares = [_bare(place, label, size, seconds)]
        found: list[Row] = []
        for case in (case for case in cases if case.size == size):
            _say(case.what)
            run = run_full(place, case.size, case.batch, seconds, case.log_level)
            bares.append(_bare(place, label, size, seconds))
            found.append(full_row(f"Tellwire {case.what}", run, bares[-2:], case.least_ratio))
        rows += [bare_row(f"bare loop, {label}", bares), *found]
    return rows


def _bare(place: Place, label: str, size: int, seconds: float) -> Bare:
    _say(f"bare loop, {label}")
    return run_bare(place, size, min(seconds, 3.0))


def _say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
