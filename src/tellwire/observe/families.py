"""Every metric, once: its name, what it counts, its labels with all their values, its buckets.

The board, the page that Prometheus reads and docs/reference/metrics.md all come from `FAMILIES`. All values of all
labels stand here, so that nothing that comes from outside (an endpoint, a tenant, a type) can make a new series.
"""

from collections.abc import Mapping
from itertools import product
from typing import Final, Literal

import msgspec

from ..model.attempt import AttemptError, Trigger

Kind = Literal["counter", "histogram", "gauge"]

OTHER: Final = "other"
"""The value of a label where something new is not in its list."""

STAGES: Final = ("publish", "record", "change", "release", "seal", "expire", "announce", "roll up", OTHER)
AGENTS: Final = (
    "claimer", "fanner", "holding", "holds", "leases", "ownership", "pruner", "rearranger", "remover", "replayer",
    "roller", "watcher", "delivery", OTHER,
)  # fmt: skip
FAILING: Final = (
    "publish", "fan out", "claim", "record", "lease", "hold", "own", "rearrange", "expire", "announce", "watch",
    "prune", "remove", "replay", "roll up", "seal", OTHER,
)  # fmt: skip
ANSWERED: Final = ("status_1xx", "status_3xx", "status_4xx", "status_5xx")
"""How the answers that are no success are told apart: by the hundreds of their status."""

_ERRORS: Final = (*map(str, AttemptError), *ANSWERED, OTHER)
_TRIGGERS: Final = tuple(map(str, Trigger))

_ATTEMPT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
_WAIT_S: Final = (
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
)  # fmt: skip
_DATABASE_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
)  # fmt: skip
_END_TO_END_S: Final = (*_WAIT_S[1:15], 1800.0, 7200.0, 21_600.0, 86_400.0, 259_200.0)
_ITEMS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. ``series`` are the values of its labels, each one a series of its own.

    ``counted`` is false for gauges that whoever is asked looks up, instead of each process counting them.
    """

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ((),)
    buckets: tuple[float, ...] = ()
    counted: bool = True

    @property
    def exported(self) -> tuple[str, ...]:
        """The names of the samples, as they stand in expressions."""
        if self.kind == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)

    @property
    def width(self) -> int:
        """How many cells a series takes: a histogram one for each bucket, one for the rest, one for the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


def _of(*values: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(product(*values))


PUBLISHED: Final = Family(
    name="tellwire_events_published_total",
    kind="counter",
    doc="Events that were accepted and are durable; duplicates are not counted.",
)
DUPLICATES: Final = Family(
    name="tellwire_events_duplicate_total",
    kind="counter",
    doc="Events that were published again under an idempotency key that was known.",
)
FANNED_OUT: Final = Family(
    name="tellwire_deliveries_fanned_out_total",
    kind="counter",
    doc="Deliveries that published events were fanned out to, at once or in the background.",
)
PAGES: Final = Family(
    name="tellwire_fanout_pages_total",
    kind="counter",
    doc="Pages of very wide events that were fanned out in the background.",
)
ATTEMPTS: Final = Family(
    name="tellwire_attempts_total",
    kind="counter",
    doc="Attempts that ended and are recorded. `error` is `none` for a success, the class of error where no whole "
    "answer came, or the hundreds of the status that was answered.",
    labels=("outcome", "error", "trigger"),
    series=(
        *(("succeeded", "none", trigger) for trigger in _TRIGGERS),
        *(("failed", error, trigger) for error in _ERRORS for trigger in _TRIGGERS),
    ),
)
BATCHES: Final = Family(
    name="tellwire_batches_total",
    kind="counter",
    doc="Requests to endpoints that get batches. Each of their deliveries counts as an attempt besides.",
    labels=("outcome",),
    series=_of(("succeeded", "failed")),
)
FINISHED: Final = Family(
    name="tellwire_deliveries_finished_total",
    kind="counter",
    doc="Deliveries that an attempt ended, by their state.",
    labels=("state",),
    series=_of(("succeeded", "exhausted")),
)
DROPPED: Final = Family(
    name="tellwire_results_dropped_total",
    kind="counter",
    doc="Results that came after their lease had passed to somebody else; the consumer may have got the event twice.",
)
RESCUED: Final = Family(
    name="tellwire_deliveries_rescued_total",
    kind="counter",
    doc="Deliveries that were claimed again because the process that had claimed them died or hung.",
)
EXPIRED: Final = Family(
    name="tellwire_deliveries_expired_total",
    kind="counter",
    doc="Deliveries that ended because their event was not worth delivering any more.",
)
WARNINGS: Final = Family(
    name="tellwire_endpoint_warnings_total",
    kind="counter",
    doc="Warnings that an endpoint has failed for long and is going to be disabled.",
)
CIRCUITS: Final = Family(
    name="tellwire_circuits_opened_total",
    kind="counter",
    doc="Circuit breakers that opened because an endpoint kept failing.",
)
DISABLED: Final = Family(
    name="tellwire_endpoints_disabled_total",
    kind="counter",
    doc="Endpoints that the engine disabled by itself.",
)
STORE_FAILURES: Final = Family(
    name="tellwire_store_failures_total",
    kind="counter",
    doc="Transactions that failed and were rolled back, by the stage that made them.",
    labels=("stage",),
    series=_of(FAILING),
)
FAULTS: Final = Family(
    name="tellwire_engine_faults_total",
    kind="counter",
    doc="Faults of Tellwire's own, by the agent of the engine, or `delivery` for one during an attempt.",
    labels=("where",),
    series=_of(AGENTS),
)
PRUNED: Final = Family(
    name="tellwire_events_pruned_total",
    kind="counter",
    doc="Events that were removed because they had passed their retention.",
)
FIRST_ATTEMPT: Final = Family(
    name="tellwire_publish_to_first_attempt_seconds",
    kind="histogram",
    doc="From the publishing of an event to the start of the first attempt of each of its deliveries.",
    buckets=_WAIT_S,
)
ATTEMPT: Final = Family(
    name="tellwire_attempt_duration_seconds",
    kind="histogram",
    doc="How long attempts took, name resolution included.",
    buckets=_ATTEMPT_S,
)
END_TO_END: Final = Family(
    name="tellwire_end_to_end_seconds",
    kind="histogram",
    doc="From the publishing of an event to the end of the attempt that delivered it, retries included.",
    buckets=_END_TO_END_S,
)
BATCH_DELIVERIES: Final = Family(
    name="tellwire_batch_deliveries",
    kind="histogram",
    doc="How many deliveries a request had that went to an endpoint with batches.",
    buckets=_ITEMS,
)
COMMIT_ITEMS: Final = Family(
    name="tellwire_commit_items",
    kind="histogram",
    doc="How many items (publish calls, results, changes, releases) of a stage shared one commit.",
    labels=("stage",),
    series=_of(STAGES),
    buckets=_ITEMS,
)
COMMIT_EVENTS: Final = Family(
    name="tellwire_commit_events",
    kind="histogram",
    doc="How many events became durable with one commit.",
    buckets=_ITEMS,
)
DATABASE: Final = Family(
    name="tellwire_database_seconds",
    kind="histogram",
    doc="How long one transaction spent in the statements of each stage (making their rows included) and, as "
    "`commit`, in all the rest: waiting for the lock, beginning, committing.",
    labels=("stage",),
    series=_of((*STAGES, "commit")),
    buckets=_DATABASE_S,
)
IN_FLIGHT: Final = Family(
    name="tellwire_deliveries_in_flight",
    kind="gauge",
    doc="Attempts in the air.",
)
HELD: Final = Family(
    name="tellwire_deliveries_held",
    kind="gauge",
    doc="Deliveries that are claimed and in memory: waiting, in the air, or not yet recorded.",
)
WAITING: Final = Family(
    name="tellwire_deliveries_waiting",
    kind="gauge",
    doc="Deliveries in memory that wait for a slot of their lane.",
)
LANES: Final = Family(
    name="tellwire_lanes",
    kind="gauge",
    doc="Lanes that a process remembers: `open` with all their slots, `limited` with fewer because their endpoint is "
    "in trouble; those among them that are `behind` have due deliveries that wait in the database; those that are "
    "`broken` have a circuit breaker that is open.",
    labels=("state",),
    series=_of(("open", "limited", "behind", "broken")),
)
CONNECTIONS: Final = Family(
    name="tellwire_database_connections",
    kind="gauge",
    doc="Connections to PostgreSQL, by their pool: those in use, and how many there may be. SQLite has none.",
    labels=("pool", "state"),
    series=_of(("read", "write"), ("used", "most")),
)
ENDPOINTS: Final = Family(
    name="tellwire_endpoints",
    kind="gauge",
    doc="Endpoints, by their state. Deliveries to one that is not enabled wait.",
    labels=("state",),
    series=_of(("enabled", "paused", "disabled", "unverified")),
    counted=False,
)
LAG: Final = Family(
    name="tellwire_lag_seconds",
    kind="gauge",
    doc="For how long the oldest delivery that is due has been waiting, in the database or in memory; 0 if none is. "
    "Deliveries to endpoints that are not enabled, whose circuit is open, or that have asked to be left alone "
    "(`Retry-After`), do not count. Missing while the database does not answer.",
    counted=False,
)
DATABASE_UP: Final = Family(
    name="tellwire_database_up",
    kind="gauge",
    doc="1 if the database answered when this page was made, else 0.",
    counted=False,
)
PROCESSES: Final = Family(
    name="tellwire_processes",
    kind="gauge",
    doc="Processes of this server that are alive.",
    counted=False,
)
BUILD: Final = Family(
    name="tellwire_build_info",
    kind="gauge",
    doc="Always 1; its label is the version of Tellwire.",
    labels=("version",),
    series=(),
    counted=False,
)

FAMILIES: Final = (
    PUBLISHED, DUPLICATES, FANNED_OUT, PAGES, ATTEMPTS, BATCHES, FINISHED, DROPPED, RESCUED, EXPIRED,
    WARNINGS, CIRCUITS, DISABLED, STORE_FAILURES, FAULTS, PRUNED, FIRST_ATTEMPT, ATTEMPT, END_TO_END, BATCH_DELIVERIES,
    COMMIT_ITEMS, COMMIT_EVENTS, DATABASE, IN_FLIGHT, HELD, WAITING, LANES, CONNECTIONS, ENDPOINTS, LAG,
    DATABASE_UP, PROCESSES, BUILD,
)  # fmt: skip


def _lay_out() -> tuple[Mapping[str, Mapping[tuple[str, ...], int]], int]:
    places: dict[str, dict[tuple[str, ...], int]] = {}
    at = 0
    for family in FAMILIES:
        if family.counted:
            places[family.name] = {}
            for values in family.series:
                places[family.name][values] = at
                at += family.width
    return places, at


PLACES, _counted_cells = _lay_out()
"""The first cell of each series on the board, by the name of its family and the values of its labels."""

WAITING_S: Final = _counted_cells
"""The cell in which a process says for how long the oldest delivery in its memory has been due."""
SAMPLED_AT: Final = _counted_cells + 1
"""The cell in which a process says when it last wrote its gauges; 0 if never."""
CELLS: Final = _counted_cells + 2
"""How many cells a process has on the board."""
