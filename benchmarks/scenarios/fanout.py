"""Scenario 4: one event to very many endpoints."""

import json
import time
import urllib.request

from ..bodies import KEY, data_of
from ..databases import TITLES, Database, first_id_of, recorded
from ..numbers import percentile
from ..processes import Cpu
from ..progress import say
from ..receivers import fast_receiver
from ..report import CPU, DATABASE_CPU, PER_S, RSS, Column, Row, Table
from ..run import Run
from ..served import Served, Wanted, make_endpoints, server
from .throughput import rate_of_single

_TYPE = "bench.wide"
_WIDTHS = (1_000, 10_000)
_DELIVERIES = 50_000
_WITHIN_S = 120.0
_COLUMNS = (
    PER_S, Column("ack_p50_ms", "202 p50 ms", ",.1f"), Column("single_per_s", "single events/s", ",.0f"), CPU,
    DATABASE_CPU, RSS,
)  # fmt: skip


def fanout(run: Run) -> Table:
    """Each store at each width, beside the deliveries a second of single events."""
    rows = []
    for store in run.asked.stores:
        single = rate_of_single(run, store)
        for width in _WIDTHS:
            say(f"{TITLES[store]}: one event to {width:,} endpoints")
            with run.database(store) as database:
                rows.append(_row(run, database, width, single))
    notes = (
        "1 KB; events one after the other, each as soon as the one before is acknowledged, until "
        f"{_DELIVERIES:,} deliveries; from the first publish to the last record.",
    )
    return Table("fanout", "Fan-out", _COLUMNS, rows, notes)


def _row(run: Run, database: Database, width: int, single: float) -> Row:
    here = run.folder("fanout")
    events = (_DELIVERIES // 5 if run.asked.quick else _DELIVERIES) // width
    with fast_receiver(here) as receiver:
        url = f"http://127.0.0.1:{receiver}/hooks"
        make_endpoints(database, [Wanted(f"{url}/{number}", _TYPE) for number in range(width)])
        with server(database, here, profile=run.asked.profile) as served:
            _publish(served, 1)
            _all_recorded(database, b"", width)
            cpu, database_cpu, since = served.cpu(), database.cpu(), first_id_of(time.time_ns() // 1_000_000)
            took_ms = _publish(served, events)
            complete = _all_recorded(database, since, events * width)
            cpu, database_cpu = served.cpu() - cpu, database.cpu() - database_cpu
            rss_mib = served.peak_rss_mib()
    found = recorded(database, since)
    doubts = (
        [] if complete else [f"{found.succeeded} of {events * width} deliveries within {_WITHIN_S:.0f} s"]
    )
    return Row(
        what=f"{TITLES[database.store]}, {events} events to {width:,}",
        values={
            "per_s": found.per_s, "ack_p50_ms": percentile(took_ms, 50), "single_per_s": single,
            "cpu_us": cpu.us_each(found.succeeded), "rss_mib": rss_mib,
            "database_cpu_us": None if database_cpu == Cpu() else database_cpu.us_each(found.succeeded),
        },
        cpu_split_us=cpu.split_us(found.succeeded),
        target="deliveries/s >= single",
        met=found.per_s >= single,
        doubts=tuple(doubts),
    )  # fmt: skip


def _publish(served: Served, events: int) -> list[float]:
    """Publish one after the other; how long each took to be acknowledged, in milliseconds."""
    body = b'{"type":"%b","data":%b}' % (_TYPE.encode(), data_of(1024))
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    took: list[float] = []
    for number in range(events):
        port = served.ports[number % len(served.ports)]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/events", body, headers)
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            json.load(answer)
        took.append((time.monotonic() - started) * 1000)
    return took


def _all_recorded(database: Database, since: bytes, expected: int) -> bool:
    """Wait for so many deliveries; fan-out may still be making them after the acknowledgement."""
    end = time.monotonic() + _WITHIN_S
    while recorded(database, since).succeeded < expected:
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True
