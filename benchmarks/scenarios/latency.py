"""Scenario 2: from publish to receipt at 10 %, 50 % and 80 % of what the same store did at full speed in this run."""

from ..at_rate import AtRate, at_rate
from ..databases import TITLES
from ..progress import say
from ..receivers import python_receiver
from ..report import CPU, DATABASE_CPU, P50, P99, P999, RSS, Column, Row, Table
from ..run import Run
from ..served import lanes_at, make_endpoints, server
from .throughput import rate_of_single

_SHARES = (0.1, 0.5, 0.8)
_P50_BELOW_MS = 4.0
_P99_BELOW_MS = 20.0
_WARM_UP_S = 1.0
_COLUMNS = (
    Column("rate", "offered/s", ",.0f"), P50, P99, P999, Column("ack_p50_ms", "202 p50 ms", ",.2f"),
    Column("ack_p99_ms", "202 p99 ms", ",.2f"), CPU, DATABASE_CPU, RSS,
)  # fmt: skip


def latency(run: Run) -> Table:
    """Each store at each share of its throughput."""
    rows = []
    for store in run.asked.stores:
        full_rate = rate_of_single(run, store)
        for share in _SHARES:
            say(f"{TITLES[store]}: latency at {share:.0%}")
            rows.append(_row(store, share, full_rate * share, _at(run, store, full_rate * share)))
    notes = (
        "1 KB, open loop: from the instant an event was due by a schedule fixed beforehand to its arrival.",
        "Generator and receiver are Python processes that the system lets go first where it may (nice -10).",
    )
    return Table("latency", "From publish to receipt", _COLUMNS, rows, notes)


def _at(run: Run, store: str, rate: float) -> AtRate:
    here = run.folder("latency")
    with run.database(store) as database, python_receiver(here) as receiver:
        make_endpoints(database, lanes_at(receiver))
        with server(database, here) as served:
            at_rate(served, receiver, rate, _WARM_UP_S)
            return at_rate(served, receiver, rate, run.seconds(10, 3))


def _row(store: str, share: float, rate: float, found: AtRate) -> Row:
    strict = share == _SHARES[0]
    return Row(
        what=f"{TITLES[store]} at {share:.0%}",
        values={
            "store": store, "share": share, "rate": rate, "p50_ms": found.received.p50_ms,
            "p99_ms": found.received.p99_ms, "p999_ms": found.received.p999_ms, "ack_p50_ms": found.ack_p50_ms,
            "ack_p99_ms": found.ack_p99_ms, "cpu_us": found.cpu.us_each(found.count), "rss_mib": found.rss_mib,
            "database_cpu_us": found.database_cpu.us_each(found.count) or None,
        },
        cpu_split_us=found.cpu.split_us(found.count),
        target=f"p50 < {_P50_BELOW_MS:.0f}, p99 < {_P99_BELOW_MS:.0f} ms" if strict else "",
        met=found.received.p50_ms < _P50_BELOW_MS and found.received.p99_ms < _P99_BELOW_MS if strict else None,
        doubts=found.doubts,
    )  # fmt: skip
