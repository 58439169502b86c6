"""Log lines: readable on a terminal, or one JSON object a line, from every stage and from libraries.

`configure` sets up structlog once, at the start of the process; `subscribe_logs` turns telemetry into lines,
one wide line per attempt. Facts carry neither secrets nor payloads; what others log under a name such as
``token`` is masked all the same. Logging never stops a delivery: a line that cannot be written is dropped.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from ..telemetry import (
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
from .lines import LineLogger

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_MANY_LINES = frozenset({"exception", "stack"})

MASK = "***"
"""Stands where a secret would."""

_SECRET_NAME = re.compile(r"(?i)(.*[_.-])?(secret|authorization|key|token|signature|password|cookie)s?")
_MAX_KNOWN_NAMES = 2_000

# uvicorn gives these handlers of their own, if it was set up before us.
_UVICORN_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def configure(
    format: LogFormat = "console", level: LogLevel = "info", stream: TextIO | BinaryIO | None = None
) -> None:
    """Send all log lines of this process to ``stream`` (standard error by default).

    Replaces the handlers of the standard library's root logger: libraries (uvicorn too, if it is started with
    ``log_config=None``) come out in the same form, at ``warning`` and above.

    Args:
        format: ``console`` for people, with colours if the stream is a terminal; ``json`` for machines, one
            object a line with ``timestamp`` (UTC), ``level`` and ``event`` first.
        level: The least severe lines that are written.
        stream: A text or binary stream. Each line is flushed.
    """
    target = sys.stderr if stream is None else stream
    threshold = getattr(logging, level.upper())
    logger = LineLogger(target)
    structlog.configure(
        processors=[_render_json] if format == "json" else _console_processors(target),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: logger,
        cache_logger_on_first_use=True,
    )
    _route_standard_library(max(threshold, logging.WARNING))


def subscribe_logs(telemetry: Telemetry) -> None:
    """Write a line for each fact from now on. Call it after `configure`, whose set-up it keeps.

    An attempt that leaves its delivery exhausted, an endpoint that the engine disabled and a failed
    transaction are warnings; a commit of published events is only worth a ``debug`` line.
    """
    log: FilteringBoundLogger = structlog.get_logger().bind()
    write_attempt = _attempt_writer()

    def write(fact: Fact) -> None:
        line = _LINES.get(type(fact))
        if write_attempt is not None and isinstance(fact, AttemptFinished):
            write_attempt(fact)
        elif line is not None:
            line(log, fact)

    telemetry.subscribe(write)


def _attempt_writer() -> Callable[[AttemptFinished], None] | None:
    """Writes attempts as JSON past structlog, whose calls cost more than the line, to the very same line.

    None where lines are for people, or where not every attempt has one.
    """
    config = structlog.get_config()
    if config["processors"] != [_render_json] or not structlog.get_logger().is_enabled_for(logging.INFO):
        return None
    logger: LineLogger = config["logger_factory"]()

    def write(fact: AttemptFinished) -> None:
        words = _EXHAUSTED if fact.state == "exhausted" else _FINISHED
        logger.soon(b'{"timestamp":%b,%b,%b' % (_encode(_now(UTC)), words, _encode(fact)[1:]))

    return write


_FINISHED = b'"level":"info","event":"attempt finished"'
_EXHAUSTED = b'"level":"warning","event":"delivery exhausted"'


def _attempt(log: FilteringBoundLogger, fact: AttemptFinished) -> None:
    (log.warning if fact.state == "exhausted" else log.info)(
        "delivery exhausted" if fact.state == "exhausted" else "attempt finished",
        event_id=fact.event_id,
        delivery_id=fact.delivery_id,
        endpoint_id=fact.endpoint_id,
        tenant=fact.tenant,
        type=fact.type,
        number=fact.number,
        trigger=fact.trigger,
        state=fact.state,
        status_code=fact.status_code,
        error=fact.error,
        detail=fact.detail,
        duration_ms=fact.duration_ms,
        age_ms=fact.age_ms,
        retry_in_ms=fact.retry_in_ms,
        started_ms=fact.started_ms,
        trace_id=fact.trace_id,
        traceparent=fact.traceparent,
    )


def _published(log: FilteringBoundLogger, fact: EventsPublished) -> None:
    log.debug("events published", events=fact.events, deliveries=fact.deliveries, duplicates=fact.duplicates)


def _fanned_out(log: FilteringBoundLogger, fact: PageFannedOut) -> None:
    log.info(
        "page fanned out",
        event_id=fact.event_id,
        type=fact.type,
        deliveries=fact.deliveries,
        deleted=fact.deleted,
        left=fact.left,
    )


def _replayed(log: FilteringBoundLogger, fact: PageReplayed) -> None:
    ended = fact.state != "running"
    (log.info if ended else log.debug)(
        f"replay {fact.state}" if ended else "page replayed",
        replay_id=fact.replay_id,
        endpoint_id=fact.endpoint_id,
        dry_run=fact.dry_run,
        looked_at=fact.looked_at,
        retried=fact.retried,
        created=fact.created,
        expired=fact.expired,
    )


def _dropped(log: FilteringBoundLogger, fact: ResultsDropped) -> None:
    log.info("late results dropped", deliveries=fact.deliveries)


def _rescued(log: FilteringBoundLogger, fact: DeliveriesRescued) -> None:
    log.info("deliveries rescued", deliveries=fact.deliveries)


def _batch(log: FilteringBoundLogger, fact: BatchSent) -> None:
    log.debug("batch sent", **msgspec.structs.asdict(fact))


def _expired(log: FilteringBoundLogger, fact: DeliveryExpired) -> None:
    log.info("delivery expired", **msgspec.structs.asdict(fact))


def _failing(log: FilteringBoundLogger, fact: EndpointFailing) -> None:
    log.warning(
        "endpoint keeps failing",
        endpoint_id=fact.endpoint_id,
        failing_h=fact.failing_ms // 3_600_000,
        disabled_in_h=fact.left_ms // 3_600_000,
    )


def _opened(log: FilteringBoundLogger, fact: LaneOpened) -> None:
    log.warning(
        "circuit opened", endpoint_id=fact.endpoint_id, tenant=fact.tenant, probe_in_ms=fact.probe_in_ms
    )


def _closed(log: FilteringBoundLogger, fact: LaneClosed) -> None:
    log.info("circuit closed", endpoint_id=fact.endpoint_id, tenant=fact.tenant, open_ms=fact.open_ms)


def _disabled(log: FilteringBoundLogger, fact: EndpointDisabled) -> None:
    log.warning("endpoint disabled", endpoint_id=fact.endpoint_id, reason=fact.reason)


def _store_failed(log: FilteringBoundLogger, fact: StoreFailed) -> None:
    log.warning("store failed", stage=fact.stage, error=fact.error)


def _faulted(log: FilteringBoundLogger, fact: EngineFaulted) -> None:
    log.error("engine faulted", where=fact.where, error=fact.error)


def _pruned(log: FilteringBoundLogger, fact: EventsPruned) -> None:
    log.info("events pruned", events=fact.events)


def _rearranged(log: FilteringBoundLogger, fact: EndpointRearranged) -> None:
    log.info("endpoint rearranged", endpoint_id=fact.endpoint_id, moved=fact.moved)


def _removed(log: FilteringBoundLogger, fact: TenantRemoved) -> None:
    log.info("tenant removed", tenant=fact.tenant)


_LINES: Mapping[type[Fact], Callable[[FilteringBoundLogger, Any], None]] = {
    AttemptFinished: _attempt,
    EventsPublished: _published,
    PageFannedOut: _fanned_out,
    PageReplayed: _replayed,
    ResultsDropped: _dropped,
    DeliveriesRescued: _rescued,
    BatchSent: _batch,
    DeliveryExpired: _expired,
    EndpointFailing: _failing,
    LaneOpened: _opened,
    LaneClosed: _closed,
    EndpointDisabled: _disabled,
    StoreFailed: _store_failed,
    EventsPruned: _pruned,
    EndpointRearranged: _rearranged,
    TenantRemoved: _removed,
    EngineFaulted: _faulted,
}


def _console_processors(target: TextIO | BinaryIO) -> list[Processor]:
    return [
        _mask,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
        structlog.processors.format_exc_info,
        _without_absent,
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=target.isatty(),
            sort_keys=False,
            # Not the default (rich): it prints local variables, where secrets live.
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


class _Masker:
    """Replaces the values under names that speak of secrets, on the top level and one mapping below."""

    def __init__(self) -> None:
        # Names come from code and repeat, so one set comparison clears nearly every line.
        self._harmless: set[str] = {"event"}

    def __call__(self, logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
        if not self._harmless.issuperset(event_dict):
            for name in event_dict:
                if _SECRET_NAME.fullmatch(str(name)):
                    event_dict[name] = MASK
                elif len(self._harmless) < _MAX_KNOWN_NAMES:
                    self._harmless.add(name)
        if dict not in map(type, event_dict.values()):
            return event_dict
        for name, value in event_dict.items():
            if isinstance(value, dict):
                event_dict[name] = {
                    inner: MASK if _SECRET_NAME.fullmatch(str(inner)) else shown
                    for inner, shown in value.items()
                }
        return event_dict


_mask = _Masker()


_encode = msgspec.json.Encoder(enc_hook=repr).encode
_now = datetime.now


def _render_json(logger: WrappedLogger, method: str, event_dict: EventDict) -> bytes:
    # One processor for the whole line: each costs a call, thousands of times a second.
    _mask(logger, method, event_dict)
    if "exc_info" in event_dict:
        event_dict = structlog.processors.format_exc_info(logger, method, event_dict)
    line = {"timestamp": _now(UTC), "level": method, "event": event_dict.pop("event", ""), **event_dict}
    try:
        return _encode(line)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Lone surrogates, integers beyond 64 bits, strange keys: a line in another form beats none.
        return _encode({str(name): ascii(value) for name, value in line.items()})


def _without_absent(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    return {name: value for name, value in event_dict.items() if value is not None}


def _printable(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    """Escape control characters: text from strangers must not steer somebody's terminal."""
    for name, value in event_dict.items():
        if isinstance(value, str) and not value.isprintable():
            keep = "\n\t" if name in _MANY_LINES else ""
            event_dict[name] = "".join(
                char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
                for char in value
            )
    return event_dict


class _Forward(logging.Handler):
    """Hands the standard library's log records to structlog."""

    def __init__(self) -> None:
        super().__init__()
        self._log: FilteringBoundLogger = structlog.get_logger().bind()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        if record.exc_info:
            write(message, logger=record.name, exc_info=record.exc_info)
        else:
            write(message, logger=record.name)


def _route_standard_library(threshold: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(threshold)
    for name in _UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
