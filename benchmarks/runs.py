"""One measurement each: the bare loop, publishing at full speed, publishing at a steady rate."""

import json
import pstats
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from . import loads
from .bodies import LANES, published, published_batch
from .loads import Load, offer
from .numbers import percentile
from .processes import run_json
from .receivers import fast_receiver, python_receiver
from .served import Recorded, Served, server

CONCURRENCY = 64
STEADY_PER_S = 200.0
_MOST_REQUESTS = 2_000_000
_SETTLE_S = 120.0


@dataclass(frozen=True)
class Bare:
    """The bare loop: POSTs a second, and CPU time of each."""

    per_s: float
    cpu_us: float


@dataclass(frozen=True)
class Full:
    """Publishing at full speed until the load ends, then delivering what is left."""

    per_s: float
    publish_per_s: float
    cpu_us: float
    cpu_split_us: dict[str, float]
    rss_mib: float
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Steady:
    """Publishing at a steady rate: from the instant an event was due to its arrival at the receiver."""

    p50_ms: float
    p99_ms: float
    ack_p50_ms: float
    ack_p99_ms: float
    cpu_us: float
    cpu_split_us: dict[str, float]
    rss_mib: float
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a run keeps its files: each server gets a new directory below ``here``."""

    here: Path
    profile: Path | None = None

    def new(self, name: str) -> Path:
        """A name below ``here`` that is not taken."""
        number = sum(1 for _ in self.here.iterdir())
        return self.here / f"{number:02d}-{name}"


def run_bare(place: Place, size: int, seconds: float) -> Bare:
    """POST what Tellwire would deliver to the same kind of receiver."""
    with fast_receiver(place.here) as port:
        found = run_json(
            "benchmarks.bare",
            f"--url=http://127.0.0.1:{port}/hooks/0", f"--size={size}",
            f"--concurrency={CONCURRENCY}", f"--seconds={seconds}",
            timeout_s=seconds + 60,
        )  # fmt: skip
    return Bare(found["per_s"], found["cpu_us"])


def run_full(place: Place, size: int, batch: int, seconds: float, log_level: str) -> Full:
    """Publish events with ``size`` bytes of data, ``batch`` in a request, as fast as they are taken."""
    here = place.new("full")
    if batch == 1:
        path, bodies = "/v1/events", tuple(published(size, lane) for lane in range(LANES))
    else:
        path, bodies = "/v1/events/batch", (published_batch(size, batch),)
    with (
        fast_receiver(place.here) as receiver,
        server(here, receiver, log_level=log_level, profile=place.profile) as served,
    ):
        offer(Load(path, bodies, 1.0, _MOST_REQUESTS, CONCURRENCY), served.port, here)
        served.wait_until_settled(_SETTLE_S)
        time.sleep(0.1)
        cpu, start_ms, started = served.child.cpu(), time.time_ns() // 1_000_000, time.monotonic()
        offered = offer(Load(path, bodies, seconds, _MOST_REQUESTS, CONCURRENCY), served.port, here)
        served.wait_until_settled(_SETTLE_S)
        wall_s = time.monotonic() - started
        cpu = served.child.cpu() - cpu
        recorded = served.recorded_since(start_ms)
        rss_mib = served.child.peak_rss_mib()
    return Full(
        per_s=recorded.per_s,
        publish_per_s=offered.answered * batch / offered.seconds,
        cpu_us=cpu.us_each(recorded.succeeded),
        cpu_split_us=cpu.split_us(recorded.succeeded),
        rss_mib=rss_mib,
        doubts=_doubts(offered, recorded, batch, wall_s),
    )


def run_steady(place: Place, size: int, seconds: float, log_level: str) -> Steady:
    """Publish single events at a fixed rate, open loop, to the receiver that notes arrivals."""
    here = place.new("steady")
    count = int(STEADY_PER_S * seconds)
    with (
        python_receiver(place.here) as receiver,
        server(here, receiver, log_level=log_level) as served,
    ):
        _offer_steadily(served, size, int(STEADY_PER_S))  # warm up: each counts for one second
        before = _arrivals(receiver)
        cpu = served.child.cpu()
        told = _offer_steadily(served, size, count, first=len(before))
        served.wait_until_settled(30)
        cpu = served.child.cpu() - cpu
        arrived = [took for number, took in _arrivals(receiver).items() if number not in before]
        rss_mib = served.child.peak_rss_mib()
    doubts = []
    if len(arrived) != count or told["refused"] or told["acknowledged"] != count:
        doubts.append(f"{count} due, {told['acknowledged']:.0f} answered, {told['refused']:.0f} refused, "
                      f"{len(arrived)} arrived")  # fmt: skip
    if told["late_p99_ms"] > 1:
        doubts.append(f"the generator itself was late: p99 {told['late_p99_ms']:.1f} ms")
    return Steady(
        p50_ms=percentile(arrived, 50) / 1e6,
        p99_ms=percentile(arrived, 99) / 1e6,
        ack_p50_ms=told["ack_p50_ms"],
        ack_p99_ms=told["ack_p99_ms"],
        cpu_us=cpu.us_each(count),
        cpu_split_us=cpu.split_us(count),
        rss_mib=rss_mib,
        doubts=tuple(doubts),
    )


def show_profile(path: Path) -> None:
    """Print where each thread spent its CPU time, those that hardly worked left out."""
    for file in sorted(path.parent.glob(f"{path.name}.*")):
        stats = pstats.Stats(str(file))
        if stats.total_tt > 0.1:  # type: ignore[attr-defined]  # the stubs do not know it
            stats.sort_stats("tottime").print_stats(30)


def _offer_steadily(served: Served, size: int, count: int, first: int = 0) -> dict[str, float]:
    arguments = (f"--port={served.port}", f"--size={size}", f"--rate={STEADY_PER_S}", f"--count={count}")
    return run_json("benchmarks.steady", *arguments, f"--first={first}", timeout_s=count / STEADY_PER_S + 60)


def _arrivals(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/arrivals", timeout=10) as answer:
        found: dict[str, int] = json.load(answer)
        return found


def _doubts(offered: loads.Offered, recorded: Recorded, batch: int, wall_s: float) -> tuple[str, ...]:
    """What speaks against a figure: refusals, broken connections, lost or late deliveries."""
    doubts = []
    if offered.refused or offered.broken:
        doubts.append(f"{offered.refused:.0f} requests refused, {offered.broken:.0f} broken")
    if recorded.succeeded != recorded.deliveries:
        doubts.append(f"of {recorded.deliveries} deliveries {recorded.succeeded} succeeded, "
                      f"{recorded.pending} still pending")  # fmt: skip
    if recorded.deliveries < offered.answered * batch:
        doubts.append(
            f"{offered.answered * batch} events acknowledged, {recorded.deliveries} in the database"
        )
    if recorded.seconds > wall_s + 0.1:
        doubts.append(f"the database says {recorded.seconds:.1f} s, the clock {wall_s:.1f} s")
    return tuple(doubts)
