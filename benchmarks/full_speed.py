"""Measures publishing at full speed until the load ends, and delivering what is left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .databases import Recorded, first_id_of, recorded
from .loads import Load, Offered, offer
from .served import Served

CONCURRENCY = 64
_MOST_REQUESTS = 2_000_000
_SETTLE_S = 120.0


@dataclass(frozen=True)
class Full:
    """What came of it."""

    per_s: float
    publish_per_s: float
    cpu_us: float
    cpu_split_us: dict[str, float]
    database_cpu_us: float | None
    rss_mib: float
    database_mib: float | None
    doubts: tuple[str, ...]


def full_speed(
    served: Served, here: Path, path: str, bodies: Sequence[bytes], seconds: float, *, events_each: int = 1,
    deliveries_each: int = 1, warm_up_s: float = 1.0,
) -> Full:  # fmt: skip
    """Offer ``bodies`` in turn to ``path``, each with so many events and each event with so many deliveries."""
    database = served.database
    load = Load(path, tuple(bodies), seconds, _MOST_REQUESTS, CONCURRENCY)
    since = first_id_of(time.time_ns() // 1_000_000)
    offer(Load(path, tuple(bodies), warm_up_s, _MOST_REQUESTS, CONCURRENCY), served.ports, here)
    served.wait_until_settled(_SETTLE_S, since)
    time.sleep(0.1)
    cpu, database_cpu, started = served.cpu(), database.cpu(), time.monotonic()
    since = first_id_of(time.time_ns() // 1_000_000)
    offered = offer(load, served.ports, here)
    settled = served.wait_until_settled(_SETTLE_S, since)
    wall_s = time.monotonic() - started
    cpu, database_cpu = served.cpu() - cpu, database.cpu() - database_cpu
    found = recorded(database, since)
    doubts = _doubts(offered, found, offered.answered * events_each * deliveries_each, wall_s)
    memory = database.memory_mib()
    return Full(
        per_s=found.per_s,
        publish_per_s=offered.answered * events_each / offered.seconds,
        cpu_us=cpu.us_each(found.succeeded),
        cpu_split_us=cpu.split_us(found.succeeded),
        database_cpu_us=None if memory is None else database_cpu.us_each(found.succeeded),
        rss_mib=served.peak_rss_mib(),
        database_mib=memory,
        doubts=doubts if settled else (*doubts, f"not all delivered within {_SETTLE_S:.0f} s"),
    )


def _doubts(offered: Offered, found: Recorded, expected: int, wall_s: float) -> tuple[str, ...]:
    """What speaks against a figure: refusals, broken connections, lost or late deliveries."""
    doubts = []
    if offered.refused or offered.broken:
        doubts.append(f"{offered.refused:.0f} requests refused, {offered.broken:.0f} broken")
    if found.succeeded != found.deliveries:
        doubts.append(
            f"of {found.deliveries} deliveries {found.succeeded} succeeded, {found.pending} still pending"
        )
    if found.deliveries < expected:
        doubts.append(f"{expected} deliveries acknowledged, {found.deliveries} in the database")
    if found.seconds > wall_s + 0.1:
        doubts.append(f"the database says {found.seconds:.1f} s, the clock {wall_s:.1f} s")
    return tuple(doubts)
