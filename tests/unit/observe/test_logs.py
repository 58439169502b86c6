"""Log lines: their form, what is written at which level, what is masked, and what never raises."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TextIO

import pytest
import structlog

from tellwire.observe.logs import LogFormat, LogLevel, configure, subscribe_logs
from tellwire.telemetry import (
    AttemptFinished,
    BatchSent,
    DeliveriesRescued,
    DeliveryExpired,
    EndpointDisabled,
    EndpointFailing,
    EndpointRearranged,
    EngineFaulted,
    EventsPruned,
    EventsPublished,
    Fact,
    LaneClosed,
    LaneOpened,
    PageFannedOut,
    PageReplayed,
    ResultsDropped,
    StoreFailed,
    Telemetry,
    TenantRemoved,
)


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def attempt(state: str = "succeeded", detail: str | None = None) -> AttemptFinished:
    failed = state != "succeeded"
    return AttemptFinished(
        event_id="evt_1",
        delivery_id="dlv_1",
        endpoint_id="ep_1",
        tenant="acme",
        type="order.paid",
        number=3,
        trigger="schedule",
        state=state,
        status_code=503 if failed else 200,
        error=None,
        detail=detail,
        duration_ms=12,
        age_ms=340,
        retry_in_ms=5_000 if state == "pending" else None,
        started_ms=1_700_000_000_000,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def lines_of(*facts: Fact, level: LogLevel = "info") -> list[dict[str, Any]]:
    out = io.StringIO()
    configure("json", level, out)
    telemetry = Telemetry()
    subscribe_logs(telemetry)
    for fact in facts:
        telemetry.emit(fact)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def text_of(format: LogFormat, write: Callable[[Any], object], out: TextIO | None = None) -> str:
    stream = io.StringIO() if out is None else out
    configure(format, "info", stream)
    write(structlog.get_logger())
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def json_of(write: Callable[[Any], object]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text_of("json", write))
    return line


def test_one_wide_line_per_attempt() -> None:
    """An attempt becomes one JSON object with everything that its fact says, the time and level first."""
    (line,) = lines_of(attempt("pending"))

    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "level": "info",
        "event": "attempt finished",
        "event_id": "evt_1",
        "delivery_id": "dlv_1",
        "endpoint_id": "ep_1",
        "tenant": "acme",
        "type": "order.paid",
        "number": 3,
        "trigger": "schedule",
        "state": "pending",
        "status_code": 503,
        "error": None,
        "detail": None,
        "duration_ms": 12,
        "age_ms": 340,
        "retry_in_ms": 5000,
        "started_ms": 1_700_000_000_000,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


@pytest.mark.parametrize(
    ("fact", "level", "event", "field"),
    [
        (attempt(), "info", "attempt finished", ("state", "succeeded")),
        (attempt("exhausted"), "warning", "delivery exhausted", ("state", "exhausted")),
        (EventsPublished(2, 4, 1), "debug", "events published", ("deliveries", 4)),
        (PageFannedOut("evt_1", "a.b", 500, 1, 9_500), "info", "page fanned out", ("left", 9_500)),
        (
            PageReplayed("rpl_1", "ep_1", "running", False, 9, 8, 1, 0),
            "debug",
            "page replayed",
            ("retried", 8),
        ),
        (
            PageReplayed("rpl_1", "ep_1", "succeeded", False, 9, 8, 1, 0),
            "info",
            "replay succeeded",
            ("created", 1),
        ),
        (ResultsDropped(2), "info", "late results dropped", ("deliveries", 2)),
        (DeliveriesRescued(2), "info", "deliveries rescued", ("deliveries", 2)),
        (
            BatchSent("bat_1", "ep_1", "acme", 70, 9_000, True, 12),
            "debug",
            "batch sent",
            ("deliveries", 70),
        ),
        (
            DeliveryExpired("evt_1", "dlv_1", "ep_1", "default", "order.paid", 2),
            "info",
            "delivery expired",
            ("attempts", 2),
        ),
        (
            EndpointFailing("ep_1", 108_000_000, 36_000_000),
            "warning",
            "endpoint keeps failing",
            ("failing_h", 30),
        ),
        (LaneOpened("ep_1", "acme", 30_000), "warning", "circuit opened", ("probe_in_ms", 30_000)),
        (LaneClosed("ep_1", "acme", 60_000), "info", "circuit closed", ("open_ms", 60_000)),
        (EndpointDisabled("ep_1", "410"), "warning", "endpoint disabled", ("reason", "410")),
        (StoreFailed("record", "disk full"), "warning", "store failed", ("error", "disk full")),
        (EngineFaulted("dlv_1", "ValueError()"), "error", "engine faulted", ("error", "ValueError()")),
        (EventsPruned(9), "info", "events pruned", ("events", 9)),
        (EndpointRearranged("ep_1", 9), "info", "endpoint rearranged", ("moved", 9)),
        (TenantRemoved("acme"), "info", "tenant removed", ("tenant", "acme")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fact) else "",
)
def test_facts(fact: Fact, level: str, event: str, field: tuple[str, object]) -> None:
    """Each fact has its line and level."""
    (line,) = lines_of(fact, level="debug")
    assert (line["level"], line["event"], line[field[0]]) == (level, event, field[1])


def test_level() -> None:
    """Lines below the level are not written."""
    assert [line["event"] for line in lines_of(attempt(), attempt("exhausted"), level="warning")] == [
        "delivery exhausted"
    ]


def test_unknown_facts() -> None:
    """A fact that has no line is passed over."""

    class Unheard(Fact, frozen=True):
        pass

    assert lines_of(Unheard()) == []


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize(
    "name",
    [
        "secret", "Authorization", "api_key", "key", "token", "webhook-signature", "password", "cookie", "set-cookie",
        "secrets",
    ],
)  # fmt: skip
def test_secrets_are_masked(format: LogFormat, name: str) -> None:
    """Whatever is logged under the name of a secret is masked, also inside a mapping such as headers."""
    for _ in range(2):
        text = text_of(format, lambda log: log.info("x", **{name: "hunter2"}, n=1, headers={name: "hunter2"}))
        assert "hunter2" not in text
        assert text.count("***") == 2


def test_harmless_names() -> None:
    """Names that merely contain such a word are shown."""
    line = json_of(lambda log: log.info("x", key_id="key_1", monkey="m", secrets_per_endpoint=2))
    assert (line["key_id"], line["monkey"], line["secrets_per_endpoint"]) == ("key_1", "m", 2)


def test_masking_leaves_the_callers_mapping_alone() -> None:
    """The mapping that was logged is not changed."""
    headers = {"authorization": "Bearer x"}
    json_of(lambda log: log.info("x", headers=headers))
    assert headers == {"authorization": "Bearer x"}


@pytest.mark.parametrize(
    "odd",
    [pytest.param(object(), id="object"), {1, 2}, 2**70, "\ud800", b"\xff", float("nan"), {(1, 2): 3}],
    ids=repr,
)
def test_odd_values(odd: object) -> None:
    """Whatever is logged becomes a line of JSON."""
    assert json_of(lambda log: log.info("odd", odd=odd))["event"].strip("'") == "odd"


def test_json_is_one_line() -> None:
    """Line breaks and control characters from outside stay inside their string."""
    text = text_of("json", lambda log: log.info("x", detail='a\n{"level": "error"}\x1b[31m'))
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_exception_in_json() -> None:
    """An exception comes with its traceback in one field."""

    def write(log: Any) -> None:
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            log.exception("failed")

    line = json_of(write)
    assert (line["level"], line["event"]) == ("error", "failed")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("RuntimeError: boom")


def test_console() -> None:
    """On the console a line has what there is to say, without the fields that are None."""
    text = text_of("console", lambda log: log.info("attempt finished", status_code=503, error=None))
    assert "attempt finished" in text
    assert "status_code=503" in text
    assert "error" not in text
    assert "\x1b" not in text


def test_colours() -> None:
    """Colours come on a terminal only."""
    assert "\x1b[" in text_of("console", lambda log: log.info("x"), Terminal())


def test_console_cannot_be_steered() -> None:
    """Escape sequences from outside do not reach the terminal, not even in an exception; its lines stay."""

    def write(log: Any) -> None:
        log.info("x", detail="\x1b]0;owned\x07")
        try:
            raise RuntimeError("\x1b[2J")
        except RuntimeError:
            log.exception("failed")

    text = text_of("console", write)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("\n") > 3


def test_local_variables_are_not_shown() -> None:
    """A traceback on a terminal does not print local variables: secrets live there."""

    def write(log: Any) -> None:
        password = "hunter" + str(2)
        try:
            raise RuntimeError("no")
        except RuntimeError:
            log.exception("failed")
        del password

    assert "hunter2" not in text_of("console", write, Terminal())


def test_standard_library() -> None:
    """Warnings of libraries, uvicorn's too, come out in the same form; what they say below is dropped."""
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.addHandler(logging.NullHandler())
    uvicorn.setLevel(logging.INFO)

    def write(_: object) -> None:
        uvicorn.info("started")
        uvicorn.warning("Invalid %s", "request")
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            logging.getLogger("asyncio").exception("lost")
        logging.getLogger("x").warning("wrong %d", "arguments")

    lines = [json.loads(line) for line in text_of("json", write).splitlines()]

    assert [(line["level"], line["event"], line["logger"]) for line in lines] == [
        ("warning", "Invalid request", "uvicorn.error"),
        ("error", "lost", "asyncio"),
        ("warning", "wrong %d", "x"),
    ]
    assert "RuntimeError: boom" in lines[1]["exception"]


def test_binary_stream() -> None:
    """A text stream over bytes and a bare binary stream both get UTF-8, flushed at every line."""
    raw = io.BytesIO()
    text = io.TextIOWrapper(io.BufferedWriter(raw), encoding="ascii")
    for stream in (raw, text):
        configure("json", "info", stream)
        structlog.get_logger().info("grüße")
    assert [json.loads(line)["event"] for line in raw.getvalue().splitlines()] == ["grüße", "grüße"]


def test_lines_that_cannot_be_written() -> None:
    """A closed or failing stream costs the line, never the delivery."""

    class Full(io.RawIOBase):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (Full(), closed):
        configure("json", "info", stream)  # type: ignore[arg-type]
        structlog.get_logger().info("x")
