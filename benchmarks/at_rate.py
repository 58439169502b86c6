"""Measures publishing at a fixed rate: from the instant an event was due to its arrival at the receiver."""

import json
import time
import urllib.request
from dataclasses import dataclass

from .bodies import FIRST_NUMBER, LANES
from .numbers import Spread, spread_of
from .processes import Cpu, run_json
from .served import Served

_LATE_MS = 1.0


@dataclass(frozen=True)
class AtRate:
    """What came of it."""

    received: Spread
    ack_p50_ms: float
    ack_p99_ms: float
    cpu: Cpu
    database_cpu: Cpu
    count: int
    rss_mib: float
    doubts: tuple[str, ...]


def at_rate(
    served: Served, receiver: int, rate: float, seconds: float, *, size: int = 1024, lanes: int = LANES,
    arrivals_each: int = 1,
) -> AtRate:  # fmt: skip
    """Publish single events at ``rate`` a second for ``seconds``, open loop; the receiver notes arrivals."""
    first = len(arrivals(receiver))
    count = max(1, int(rate * seconds))
    cpu, database_cpu = served.cpu(), served.database.cpu()
    told = _offer(served, rate, count, first, size, lanes)
    arrived = _arrived(receiver, first, count, arrivals_each)
    cpu, database_cpu = served.cpu() - cpu, served.database.cpu() - database_cpu
    latencies = [
        instant - told["start_ns"] - (number - first) * 1e9 / rate
        for number, instants in arrived.items()
        for instant in instants[:arrivals_each]
    ]
    doubts = []
    if len(latencies) != count * arrivals_each or told["refused"] or told["acknowledged"] != count:
        doubts.append(f"{count} due, {told['acknowledged']:.0f} answered, {told['refused']:.0f} refused, "
                      f"{len(latencies)} of {count * arrivals_each} arrived")  # fmt: skip
    if told["late_p99_ms"] > _LATE_MS:
        doubts.append(f"the generator itself was late: p99 {told['late_p99_ms']:.1f} ms")
    return AtRate(
        received=spread_of(latencies),
        ack_p50_ms=told["ack_p50_ms"],
        ack_p99_ms=told["ack_p99_ms"],
        cpu=cpu,
        database_cpu=database_cpu,
        count=count,
        rss_mib=served.peak_rss_mib(),
        doubts=tuple(doubts),
    )


def arrivals(receiver: int) -> dict[int, list[int]]:
    """What has arrived: instants (monotonic, ns) by number, counted from 0."""
    with urllib.request.urlopen(f"http://127.0.0.1:{receiver}/arrivals", timeout=20) as answer:
        return {int(number) - FIRST_NUMBER: instants for number, instants in json.load(answer).items()}


def _offer(served: Served, rate: float, count: int, first: int, size: int, lanes: int) -> dict[str, float]:
    arguments = (
        f"--size={size}",
        f"--rate={rate}",
        f"--count={count}",
        f"--lanes={lanes}",
        f"--first={first}",
    )
    return run_json(
        "benchmarks.steady", *arguments, "--ports", *served.ports, timeout_s=count / rate + count / 1000 + 60
    )


def _arrived(
    receiver: int, first: int, count: int, each: int, timeout_s: float = 30.0
) -> dict[int, list[int]]:
    """Those numbered from ``first`` on, once all have arrived or ``timeout_s`` is over."""
    end = time.monotonic() + timeout_s
    while True:
        found = {number: instants for number, instants in arrivals(receiver).items() if number >= first}
        if (len(found) >= count and all(len(i) >= each for i in found.values())) or time.monotonic() > end:
            return found
        time.sleep(0.2)
