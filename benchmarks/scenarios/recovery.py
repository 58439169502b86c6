"""Scenario: one endpoint is down for a minute while events come for it, then it is back, beside others that are well.

How long until its backlog is gone, and what the others notice meanwhile. Both loads are open loop: a generator of its
own offers the events for the endpoint that goes down, before, during and after.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..at_rate import AtRate, arrivals, at_rate
from ..bodies import event_type
from ..databases import TITLES
from ..numbers import percentile
from ..processes import ROOT, Child, free_port
from ..progress import say
from ..receivers import python_receiver
from ..report import CPU, P50, P99, Column, Row, Table
from ..run import Run
from ..served import Served, Wanted, make_endpoints, server

_OTHERS = 100
_RATE, _OTHERS_RATE = 500.0, 100.0
_BEFORE_S, _AFTER_S = 15.0, 60.0
_MOST_P99 = 2.0
_NEARLY_ALL = 99.0
_COLUMNS = (
    Column("backlog", "backlog", ",.0f"), Column("gone_s", "gone after s", ",.1f"),
    Column("drained_per_s", "drained/s", ",.0f"), P50, P99, Column("p99_share", "p99, of before", ".2f"), CPU,
)  # fmt: skip


@dataclass(frozen=True)
class _Backlog:
    """What had come up when the endpoint was back, and how long nearly all of it took to arrive."""

    events: int
    gone_s: float | None


def recovery(run: Run) -> Table:
    """Each store: before, during and after."""
    outage_s = run.seconds(60, 10)
    rows = [row for store in run.asked.stores for row in _rows(run, store, outage_s)]
    notes = (
        f"One endpoint that gets {_RATE:,.0f} events/s refuses connections for {outage_s:,.0f} s, then answers again; "
        f"{_OTHERS} others get {_OTHERS_RATE:,.0f} events/s all the time: their latency, from the instant due to "
        f"receipt. The backlog is gone when {_NEARLY_ALL:.0f} % of what fell due during the outage has arrived; the "
        "rest has failed twice or more, and waits for its schedule. Events keep coming meanwhile.",
    )
    return Table("recovery", "After an outage", _COLUMNS, rows, notes)


def _rows(run: Run, store: str, outage_s: float) -> Iterator[Row]:
    here = run.folder("recovery")
    say(f"{TITLES[store]}: an outage of {outage_s:.0f} s")
    port = free_port()
    with run.database(store) as database, python_receiver(here) as others, ExitStack() as up:
        up.enter_context(_receiver(here, port))
        make_endpoints(
            database, [*_healthy(others), Wanted(f"http://127.0.0.1:{port}/", event_type(_OTHERS))]
        )
        with server(database, here, profile=run.asked.profile) as served:
            at_rate(served, others, _OTHERS_RATE, 2.0, lanes=_OTHERS)
            with _events(served, _BEFORE_S + outage_s + _AFTER_S + 10) as offer:
                before = at_rate(served, others, _OTHERS_RATE, _BEFORE_S, lanes=_OTHERS)
                down_ns = time.monotonic_ns()
                up.close()
                during = at_rate(served, others, _OTHERS_RATE, outage_s, lanes=_OTHERS)
                up.enter_context(_receiver(here, port))
                back_ns = time.monotonic_ns()
                after = at_rate(served, others, _OTHERS_RATE, _AFTER_S, lanes=_OTHERS)
                told = msgspec.json.decode(offer.communicate(timeout=120)[0], type=dict[str, float])
                backlog = _backlog(port, told["start_ns"], down_ns, back_ns)
    yield _row(store, "before", before, before)
    yield _row(store, "during the outage", during, before)
    yield _row(store, "after it", after, before, backlog)


def _healthy(receiver: int) -> list[Wanted]:
    return [Wanted(f"http://127.0.0.1:{receiver}/hooks/{lane}", event_type(lane)) for lane in range(_OTHERS)]


def _backlog(port: int, start_ns: float, down_ns: int, back_ns: int) -> _Backlog:
    """From when the receiver that was started anew got what had fallen due while there was none."""
    first, end = (int((at_ns - start_ns) / 1e9 * _RATE) + 1 for at_ns in (down_ns, back_ns))
    came = arrivals(port)
    instants = [came[number][0] if number in came else 1 << 62 for number in range(first, end)]
    gone_ns = percentile(instants, _NEARLY_ALL)
    return _Backlog(end - first, None if gone_ns >= 1 << 61 else (gone_ns - back_ns) / 1e9)


def _row(store: str, which: str, found: AtRate, before: AtRate, backlog: _Backlog | None = None) -> Row:
    share = found.received.p99_ms / before.received.p99_ms
    gone_s = None if backlog is None else backlog.gone_s
    doubts = list(found.doubts)
    if backlog is not None and gone_s is None:
        doubts.append(f"the backlog was not gone after {_AFTER_S:.0f} s")
    return Row(
        what=f"{TITLES[store]}, {which}",
        values={
            "store": store, "backlog": None if backlog is None else backlog.events, "gone_s": gone_s,
            "drained_per_s": None if backlog is None or gone_s is None else backlog.events / gone_s,
            "p50_ms": found.received.p50_ms, "p99_ms": found.received.p99_ms, "p99_share": share,
            "cpu_us": found.cpu.us_each(found.count),
        },
        target="" if which == "before" else f"p99 <= {_MOST_P99:.0f} of before",
        met=None if which == "before" else share <= _MOST_P99 and (backlog is None or gone_s is not None),
        doubts=tuple(doubts),
    )  # fmt: skip


@contextmanager
def _receiver(here: Path, port: int) -> Iterator[None]:
    with Child([sys.executable, "-m", "benchmarks.receiver", str(port)], log=here / "down.log") as child:
        child.wait_for_port(port)
        yield


@contextmanager
def _events(served: Served, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """The generator of events for the endpoint that goes down."""
    arguments = (
        "--size=1024", f"--rate={_RATE}", f"--count={int(_RATE * seconds)}", "--lanes=1", "--first=0",
        f"--first-lane={_OTHERS}", "--ports", *(str(port) for port in served.ports),
    )  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.steady", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as offer:
        try:
            yield offer
        finally:
            offer.kill()
