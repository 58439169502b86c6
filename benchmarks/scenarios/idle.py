"""Scenario 6: what nothing costs, and what news costs: told by webhooks, or asked for ten times a second."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..at_rate import arrivals
from ..bodies import event_type
from ..databases import TITLES, Database, PostgresDatabase
from ..numbers import Spread, spread_of
from ..processes import run_json
from ..progress import say
from ..receivers import python_receiver
from ..report import P50, P99, Column, Row, Table
from ..run import Run
from ..served import Served, Wanted, make_endpoints, server

CLIENTS = 100
POLLS_PER_S = 10.0
EVENTS_PER_S = 1.0
_LOGGED = re.compile(rb"LOG:  (?:statement|execute)")
_COLUMNS = (
    Column("cpu_s", "CPU s a minute", ",.2f"), Column("database_cpu_s", "database CPU s a minute", ",.2f"),
    Column("statements", "statements a minute", ",.0f"), Column("requests", "requests a minute", ",.0f"), P50, P99,
)  # fmt: skip

Statements = Callable[[], int]
"""How many statements the database has been given so far."""


@dataclass(frozen=True)
class Cost:
    """What a while has cost."""

    seconds: float
    cpu_s: float
    database_cpu_s: float | None
    statements: int
    requests: int = 0
    known: Spread | None = None


def idle(run: Run) -> Table:
    """Each store: nothing to do, an event a second told to 100 endpoints, the same asked for by 100 clients."""
    rows = []
    for store in run.asked.stores:
        for what, measure in _CASES.items():
            say(f"{TITLES[store]}: {what}")
            with run.database(store) as database:
                cost = _measured(run, database, measure)
                rows.append(_row(f"{TITLES[store]}: {what}", database, cost))
    notes = (
        f"{CLIENTS} consumers. Webhooks: {CLIENTS} endpoints. Polling: {CLIENTS} clients, each GET /v1/events?limit=10 "
        f"{POLLS_PER_S:.0f} times a second. p50 and p99: from the instant of publishing until a consumer knows.",
        "Requests: deliveries sent, or polls answered; publishing itself is not counted there. SQLite one process, "
        "PostgreSQL two, of which one is polled.",
    )
    return Table("idle", "Nothing to do, and news", _COLUMNS, rows, notes)


def _measured(run: Run, database: Database, measure: "Measure") -> Cost:
    here = run.folder("idle")
    seconds = run.seconds(20, 6)
    with python_receiver(here) as receiver, _statements(database, here) as (file, counted):
        url = f"http://127.0.0.1:{receiver}/hooks"
        make_endpoints(database, measure.endpoints(url))
        with server(database, here, statements=file) as served:
            time.sleep(2)  # what follows the start is not idleness
            statements, cpu, database_cpu, started = counted(), served.cpu(), database.cpu(), time.monotonic()
            requests, known = measure.happen(served, receiver, seconds)
            wall_s = time.monotonic() - started
            cpu, database_cpu, statements = (
                served.cpu() - cpu,
                database.cpu() - database_cpu,
                counted() - statements,
            )
    return Cost(
        seconds=wall_s,
        cpu_s=cpu.total_s,
        database_cpu_s=None if database.memory_mib() is None else database_cpu.total_s,
        statements=statements,
        requests=requests,
        known=known,
    )


@dataclass(frozen=True)
class Measure:
    """What happens for a while: gives how many requests were made and how soon the news was known."""

    endpoints: Callable[[str], list[Wanted]]
    happen: Callable[[Served, int, float], tuple[int, Spread | None]]


def _nothing(served: Served, receiver: int, seconds: float) -> tuple[int, Spread | None]:
    time.sleep(seconds)
    return 0, None


def _told(served: Served, receiver: int, seconds: float) -> tuple[int, Spread | None]:
    start_ns = _publish(served, seconds)
    time.sleep(0.3)
    arrived = arrivals(receiver)
    latencies = [
        instant - start_ns - number * 1e9 / EVENTS_PER_S
        for number, instants in arrived.items()
        for instant in instants
    ]
    return len(latencies), spread_of(latencies)


def _asked_for(served: Served, receiver: int, seconds: float) -> tuple[int, Spread | None]:
    polls = partial(
        run_json, "benchmarks.poll", f"--port={served.ports[0]}", f"--clients={CLIENTS}", f"--per-s={POLLS_PER_S}",
        f"--seconds={seconds + 0.5}", timeout_s=seconds + 60,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as thread:
        polling = thread.submit(polls)
        start_ns = _publish(served, seconds)
        told = polling.result()
    due = {
        event_type(turn): start_ns + turn * 1e9 / EVENTS_PER_S for turn in range(int(seconds * EVENTS_PER_S))
    }
    latencies = [
        instant - due[type] for seen in told["seen"] for type, instant in seen.items() if type in due
    ]
    return told["answers"], spread_of(latencies)


def _publish(served: Served, seconds: float) -> int:
    """Publish events of types of their own; gives the instant at which the first was due."""
    count = int(seconds * EVENTS_PER_S)
    found = run_json(
        "benchmarks.steady", "--size=1024", f"--rate={EVENTS_PER_S}", f"--count={count}", f"--lanes={count}",
        "--ports", *served.ports, timeout_s=seconds + 60,
    )  # fmt: skip
    start_ns: int = found["start_ns"]
    return start_ns


_CASES = {
    "nothing to do": Measure(lambda url: [Wanted(url, "bench.*")], _nothing),
    "webhooks": Measure(lambda url: [Wanted(f"{url}/{n}", "bench.*") for n in range(CLIENTS)], _told),
    "polling": Measure(lambda _: [], _asked_for),
}


@contextmanager
def _statements(database: Database, here: Path) -> Iterator[tuple[Path | None, Statements]]:
    """Counts what the database is asked: SQLite's statements are noted inside the server, PostgreSQL's in its log."""
    if isinstance(database, PostgresDatabase):
        with database.server.statements_logged() as log:
            yield None, lambda: len(_LOGGED.findall(log.read_bytes()))
        return
    file = here / "statements"
    yield file, lambda: file.read_bytes().count(b"\n")


def _row(what: str, database: Database, cost: Cost) -> Row:
    a_minute = 60 / cost.seconds
    known = cost.known
    return Row(
        what=what,
        values={
            "cpu_s": cost.cpu_s * a_minute, "statements": cost.statements * a_minute,
            "database_cpu_s": None if cost.database_cpu_s is None else cost.database_cpu_s * a_minute,
            "requests": cost.requests * a_minute,
            "p50_ms": known.p50_ms if known else None, "p99_ms": known.p99_ms if known else None,
        },
    )  # fmt: skip
