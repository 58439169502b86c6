"""Scenario: endpoints that get batches beside the same endpoints without, in one run on each store."""

from dataclasses import replace

from ..bodies import LANES, published_batch
from ..databases import TITLES
from ..full_speed import CONCURRENCY, Full, full_speed
from ..progress import say
from ..receivers import fast_receiver
from ..report import CPU, DATABASE_CPU, PER_S, RSS, Column, Row, Table
from ..run import Run
from ..served import lanes_at, make_endpoints, server

_PUBLISHED = 100
_SIZES = (10, 100)
_MAX_WAIT_S = 0.2
_COLUMNS = (PER_S, Column("times", "times as many", ",.2f"), CPU, DATABASE_CPU, RSS)


def batching(run: Run) -> Table:
    """Each store with requests of one event, and with batches of each size."""
    rows: list[Row] = []
    for store in run.asked.stores:
        alone = _measure(run, store, None)
        rows.append(_row(f"{TITLES[store]}, one event a request", alone, alone))
        rows += [
            _row(f"{TITLES[store]}, up to {size} events a request", _measure(run, store, size), alone)
            for size in _SIZES
        ]
    notes = (
        f"1 KB, published in batches of {_PUBLISHED} at concurrency {CONCURRENCY}; {LANES} endpoints of 16 slots; a "
        f"request waits {_MAX_WAIT_S:g} s for more events at most. Publishing is in the figures: a batch is cheaper to "
        "send, not to accept or to record.",
    )
    return Table("batching", "Batches of events to an endpoint", _COLUMNS, rows, notes)


def _measure(run: Run, store: str, size: int | None) -> Full:
    say(f"{TITLES[store]}: " + ("one event a request" if size is None else f"up to {size} events a request"))
    here = run.folder("batching")
    settings = None if size is None else {"batch": {"max_events": size, "max_wait_s": _MAX_WAIT_S}}
    with run.database(store) as database, fast_receiver(here) as receiver:
        make_endpoints(database, [replace(one, settings=settings) for one in lanes_at(receiver)])
        with server(database, here, profile=run.asked.profile) as served:
            body = published_batch(1024, _PUBLISHED)
            seconds = run.seconds(6, 2)
            return full_speed(served, here, "/v1/events/batch", [body], seconds, events_each=_PUBLISHED)


def _row(what: str, full: Full, alone: Full) -> Row:
    values = {
        "per_s": full.per_s, "times": full.per_s / alone.per_s, "cpu_us": full.cpu_us,
        "database_cpu_us": full.database_cpu_us, "rss_mib": full.rss_mib,
    }  # fmt: skip
    return Row(what=what, values=values, cpu_split_us=full.cpu_split_us, doubts=full.doubts)
