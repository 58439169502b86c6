"""Metrics: what each fact counts, and what the page says of it."""

import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tellwire import StoreUnavailableError, Tellwire
from tellwire.deliver.lanes import Load
from tellwire.model.attempt import AttemptError, Trigger
from tellwire.observe import families
from tellwire.observe.board import Board
from tellwire.observe.families import CELLS, FAMILIES
from tellwire.observe.metrics import Metrics
from tellwire.observe.page import page
from tellwire.store.rows import PoolUse
from tellwire.telemetry import (
    AttemptFinished,
    BatchSent,
    DeliveriesRescued,
    DeliveryExpired,
    EndpointDisabled,
    EndpointFailing,
    EngineFaulted,
    EventsPruned,
    EventsPublished,
    Fact,
    LaneOpened,
    PageFannedOut,
    ResultsDropped,
    StageShare,
    StoreFailed,
    Telemetry,
    TransactionCommitted,
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def attempt(**changed: Any) -> AttemptFinished:
    fields: dict[str, Any] = {
        "event_id": "evt_1", "delivery_id": "dlv_1", "endpoint_id": "ep_1", "tenant": "acme", "type": "a.b",
        "number": 1, "trigger": "schedule", "state": "succeeded", "status_code": 200, "error": None, "detail": None,
        "duration_ms": 30, "age_ms": 42, "retry_in_ms": None, "started_ms": 1, "trace_id": None, "traceparent": None,
    }  # fmt: skip
    return AttemptFinished(**(fields | changed))


def unopened() -> Tellwire:
    return Tellwire("sqlite:///never-opened.db")


async def samples_of(metrics: Metrics) -> Samples:
    _, body = await page(metrics)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in text_string_to_metric_families(body.decode())
        for sample in metric.samples
    }


async def counted(*facts: Fact) -> Samples:
    """What the page says after these facts, without what is zero."""
    metrics = Metrics(unopened())
    for fact in facts:
        metrics.count(fact)
    found = await samples_of(metrics)
    return {key: value for key, value in found.items() if value and not key[0].startswith("tellwire_build")}


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.mark.parametrize(
    ("fact", "name", "labels", "value"),
    [
        (EventsPublished(3, 5, 2), "events_published_total", {}, 3),
        (EventsPublished(3, 5, 2), "events_duplicate_total", {}, 2),
        (EventsPublished(3, 5, 2), "deliveries_fanned_out_total", {}, 5),
        (EventsPublished(3, 5, 2), "commit_events_bucket", {"le": "5.0"}, 1),
        (EventsPublished(3, 7, 2), "commit_events_sum", {}, 3),
        (PageFannedOut("evt_1", "a.b", 500, 0, 0), "fanout_pages_total", {}, 1),
        (ResultsDropped(2), "results_dropped_total", {}, 2),
        (DeliveriesRescued(2), "deliveries_rescued_total", {}, 2),
        (DeliveryExpired("evt_1", "dlv_1", "ep_1", "default", "a", 0), "deliveries_expired_total", {}, 1),
        (BatchSent("bat_1", "ep_1", "acme", 70, 9_000, True, 12), "batches_total", {"outcome": "succeeded"}, 1),
        (BatchSent("bat_1", "ep_1", "acme", 70, 9_000, False, 12), "batches_total", {"outcome": "failed"}, 1),
        (BatchSent("bat_1", "ep_1", "acme", 70, 9_000, True, 12), "batch_deliveries_sum", {}, 70),
        (EndpointFailing("ep_1", 1, 2), "endpoint_warnings_total", {}, 1),
        (LaneOpened("ep_1", "acme", 30_000), "circuits_opened_total", {}, 1),
        (EndpointDisabled("ep_1", "410 Gone"), "endpoints_disabled_total", {}, 1),
        (EventsPruned(9), "events_pruned_total", {}, 9),
        (StoreFailed("fan out", "disk full"), "store_failures_total", {"stage": "fan out"}, 1),
        (StoreFailed("something new", "x"), "store_failures_total", {"stage": "other"}, 1),
        (EngineFaulted("claimer", "x"), "engine_faults_total", {"where": "claimer"}, 1),
        (EngineFaulted("dlv_1", "x"), "engine_faults_total", {"where": "delivery"}, 1),
        (EngineFaulted("something new", "x"), "engine_faults_total", {"where": "other"}, 1),
        (attempt(), "deliveries_finished_total", {"state": "succeeded"}, 1),
        (attempt(state="exhausted", status_code=500), "deliveries_finished_total", {"state": "exhausted"}, 1),
        (attempt(), "attempt_duration_seconds_sum", {}, 0.03),
        (attempt(), "attempt_duration_seconds_bucket", {"le": "0.05"}, 1),
        (attempt(), "publish_to_first_attempt_seconds_sum", {}, 0.012),
        (attempt(), "end_to_end_seconds_sum", {}, 0.042),
        (attempt(age_ms=10**9), "end_to_end_seconds_bucket", {"le": "+Inf"}, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fact) else None,
)  # fmt: skip
async def test_facts_are_counted(fact: Fact, name: str, labels: dict[str, str], value: float) -> None:
    """Each fact raises the metrics that are made of it."""
    found = await counted(fact)
    assert found[key(f"tellwire_{name}", **labels)] == pytest.approx(value)


async def test_attempts_are_told_apart() -> None:
    """Outcome, error and trigger of every kind of attempt have a series of their own, and there are no others."""
    kinds: list[tuple[str, str, dict[str, Any]]] = [("succeeded", "none", {"status_code": 204})]
    kinds += [
        ("failed", f"status_{n}xx", {"status_code": n * 100 + 4, "state": "pending"}) for n in (1, 3, 4, 5)
    ]
    kinds += [("failed", str(e), {"error": e, "status_code": None, "state": "pending"}) for e in AttemptError]
    # An answer whose body broke off has a status too; the error says more.
    kinds += [("failed", "body", {"error": AttemptError.BODY, "status_code": 200, "state": "pending"})]
    facts = [attempt(trigger=trigger, **fields) for _, _, fields in kinds for trigger in Trigger]
    found = await counted(*facts)
    for outcome, error, _ in kinds:
        for trigger in Trigger:
            labels = {"outcome": outcome, "error": error, "trigger": trigger}
            assert found[key("tellwire_attempts_total", **labels)] == (2 if error == "body" else 1)
    assert sum(value for (name, _), value in found.items() if name == "tellwire_attempts_total") == len(facts)


async def test_attempts_of_an_unknown_kind_are_counted_too() -> None:
    """What the table does not have goes under other, and makes no series."""
    found = await counted(attempt(status_code=999), attempt(error="new", trigger="new"))
    other = key("tellwire_attempts_total", outcome="failed", error="other", trigger="schedule")
    assert found[other] == 2


async def test_only_first_attempts_wait_from_publishing() -> None:
    """A later attempt, and one of a replay, says nothing of how quick publishing was."""
    found = await counted(attempt(number=2), attempt(trigger="replay"))
    assert key("tellwire_publish_to_first_attempt_seconds_count") not in found


@pytest.mark.parametrize("trigger", [one for one in Trigger if one != "schedule"])
async def test_only_what_was_published_goes_from_end_to_end(trigger: Trigger) -> None:
    """What is sent again by hand or a replay, and examples, say nothing of how long publishing to delivery takes."""
    found = await counted(attempt(trigger=trigger))
    assert key("tellwire_end_to_end_seconds_count") not in found
    assert found[key("tellwire_deliveries_finished_total", state="succeeded")] == 1


class Busy:
    """As much of a Tellwire as is looked at for gauges; ``late_ms`` is what its database says of the lag."""

    def __init__(self, load: Load, late_ms: int = 0) -> None:
        self.telemetry = Telemetry()
        self.connections = (PoolUse("read", 2, 5), PoolUse("write", 1, 3))
        self.engine = self.endpoints = self.deliveries = self
        self._load = load
        self._late_ms = late_ms

    def load(self) -> Load:
        return self._load

    def count_by_state(self) -> dict[str, int]:
        return {"enabled": 7, "paused": 1, "unverified": 2}

    async def lag_ms(self) -> int:
        return self._late_ms


LOAD = Load(
    in_flight=3, held=50, waiting=40, waiting_ms=7_000, lanes=10, limited=2, behind=4, broken=1
)  # fmt: skip


async def test_gauges_say_what_there_is_now() -> None:
    """Each its own number: queues, lanes by state, connections by pool, endpoints by state."""
    found = await samples_of(Metrics(Busy(LOAD)))  # type: ignore[arg-type]  # all that it asks of it
    expected = {
        key("tellwire_deliveries_in_flight"): 3,
        key("tellwire_deliveries_held"): 50,
        key("tellwire_deliveries_waiting"): 40,
        key("tellwire_lanes", state="open"): 8,
        key("tellwire_lanes", state="limited"): 2,
        key("tellwire_lanes", state="behind"): 4,
        key("tellwire_lanes", state="broken"): 1,
        key("tellwire_database_connections", pool="read", state="used"): 2,
        key("tellwire_database_connections", pool="read", state="most"): 5,
        key("tellwire_database_connections", pool="write", state="used"): 1,
        key("tellwire_database_connections", pool="write", state="most"): 3,
        key("tellwire_endpoints", state="enabled"): 7,
        key("tellwire_endpoints", state="paused"): 1,
        key("tellwire_endpoints", state="disabled"): 0,
        key("tellwire_endpoints", state="unverified"): 2,
        key("tellwire_database_up"): 1,
        key("tellwire_processes"): 1,
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("stored_ms", "lag_s"), [(0, 7), (6_900, 7), (9_000, 9)])
async def test_what_waits_in_memory_is_as_late_as_what_waits_in_the_store(stored_ms: int, lag_s: int) -> None:
    """The lag is that of the oldest, wherever it waits."""
    found = await samples_of(Metrics(Busy(LOAD, stored_ms)))  # type: ignore[arg-type]  # all that it asks of it
    assert found[key("tellwire_lag_seconds")] == lag_s


async def test_a_transaction_is_shared_out() -> None:
    """Each stage has its items and its time; what is left of the time is the commit's."""
    shares = (StageShare("publish", 7, 0.002), StageShare("record", 100, 0.003), StageShare("new", 1, 0.0))
    found = await counted(TransactionCommitted(0.01, shares))
    assert found[key("tellwire_commit_items_sum", stage="publish")] == 7
    assert found[key("tellwire_commit_items_bucket", stage="record", le="100.0")] == 1
    assert found[key("tellwire_commit_items_sum", stage="other")] == 1
    assert found[key("tellwire_database_seconds_sum", stage="record")] == pytest.approx(0.003)
    assert found[key("tellwire_database_seconds_sum", stage="commit")] == pytest.approx(0.005)


async def test_unknown_facts_are_passed_over() -> None:
    """A fact that no metric is made of changes nothing."""

    class Unheard(Fact, frozen=True):
        pass

    assert await counted(Unheard()) == await counted()


async def test_buckets_add_up() -> None:
    """Buckets are cumulative, as Prometheus wants them, and their last is the count."""
    found = await counted(*[attempt(duration_ms=ms, age_ms=ms) for ms in (1, 5, 6, 40, 31_000)])
    bounds = ("0.005", "0.01", "0.05", "30.0", "+Inf")
    buckets = [found[key("tellwire_attempt_duration_seconds_bucket", le=le)] for le in bounds]
    assert buckets == [2, 3, 4, 4, 5]
    assert found[key("tellwire_attempt_duration_seconds_count")] == 5


async def test_processes_share_a_board() -> None:
    """Whichever process is asked counts for all; gauges of one that is dead are left out, its counts are not."""
    board = Board(3, CELLS)
    one, two, dead = (Metrics(unopened(), board, row) for row in range(3))
    for metrics in (one, two, dead):
        metrics.count(EventsPublished(10, 10, 0))
        metrics.sample()
        board.row([one, two, dead].index(metrics))[families.PLACES["tellwire_deliveries_held"][()]] = 4
    board.row(2)[families.SAMPLED_AT] = time.monotonic() - 60
    found = await samples_of(two)
    assert found[key("tellwire_events_published_total")] == 30
    assert found[key("tellwire_processes")] == 2
    assert found[key("tellwire_deliveries_held")] == 8


async def test_the_page_has_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each family is on the page with its words; the lag alone is missing where the database does not answer."""
    content_type, body = await page(Metrics(unopened()))
    assert content_type.startswith("text/plain")
    there = {
        sample.name for metric in text_string_to_metric_families(body.decode()) for sample in metric.samples
    }
    assert there == {name for family in FAMILIES for name in family.exported} - {"tellwire_lag_seconds"}
    content_type, body = await page(Metrics(unopened()), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_the_database_is_not_asked_for_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the page is read, the lag is looked up once in a while."""
    asked = 0

    async def lag_ms() -> int:
        nonlocal asked
        asked += 1
        raise StoreUnavailableError("away")

    tellwire = unopened()
    monkeypatch.setattr(tellwire.deliveries, "lag_ms", lag_ms)
    metrics = Metrics(tellwire)
    found = [await samples_of(metrics) for _ in range(5)]
    assert all(one[key("tellwire_database_up")] == 0 for one in found)
    assert asked == 1
