"""Traces: a span for each event that is published, and one for each attempt below it (OpenTelemetry, extra ``otel``).

The span of publishing continues the trace that came with the event, or the one that is current in the code that
publishes. Its context is stored with the event, so that each attempt, days later and in another process, is its child.
Attempts are told of when they are recorded: their spans have the times of the attempt.

Only this module imports ``opentelemetry``, and only whoever wants traces imports this module.
"""

from collections.abc import Sequence
from typing import Final, Self

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tellwire.client import Client, SyncClient
from tellwire.hub import Tellwire
from tellwire.model.event import NewEvent, Receipt
from tellwire.publish.tracing import Ended
from tellwire.telemetry import AttemptFinished, Fact
from tellwire.version import __version__

_NS: Final = 1_000_000
_CONTEXT: Final = TraceContextTextMapPropagator()


def pass_on(client: Client | SyncClient) -> None:
    """Have what ``client`` publishes belong to the trace of the span that is current there.

    The server makes the span of publishing, if it makes any; nothing is made here.
    """
    client.trace(lambda: _traceparent(trace.get_current_span()))


class Traces:
    """Makes spans of what a Tellwire does."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        """``provider`` of OpenTelemetry; the global one if not given."""
        self._tracer = trace.get_tracer("tellwire", __version__, tracer_provider=provider)

    def follow(self, tellwire: Tellwire) -> Self:
        """Trace what ``tellwire`` publishes and delivers from now on."""
        tellwire.trace(self)
        tellwire.telemetry.subscribe(self._tell)
        return self

    def begin(self, events: Sequence[NewEvent]) -> tuple[Sequence[NewEvent], Ended]:
        """See ``publish.tracing.Tracing``."""
        spans = [self._publishing(event) for event in events]
        traced = [
            msgspec.structs.replace(event, traceparent=_traceparent(span))
            for event, span in zip(events, spans, strict=True)
        ]

        def ended(receipts: Sequence[Receipt] | None, error: BaseException | None) -> None:
            for number, span in enumerate(spans):
                if receipts is not None:
                    span.set_attribute("tellwire.event_id", receipts[number].id)
                    span.set_attribute("tellwire.deliveries", receipts[number].deliveries)
                    span.set_attribute("tellwire.duplicate", receipts[number].duplicate)
                if error is not None:  # its text may hold what was published: its class alone is told
                    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                span.end()

        return traced, ended

    def _publishing(self, event: NewEvent) -> Span:
        return self._tracer.start_span(
            f"publish {event.type}",
            context=_context(event.traceparent),
            kind=SpanKind.PRODUCER,
            attributes={"tellwire.type": event.type, "tellwire.tenant": event.tenant},
        )

    def _tell(self, fact: Fact) -> None:
        if not isinstance(fact, AttemptFinished):
            return
        attributes: dict[str, str | int] = {
            "tellwire.event_id": fact.event_id,
            "tellwire.delivery_id": fact.delivery_id,
            "tellwire.endpoint_id": fact.endpoint_id,
            "tellwire.tenant": fact.tenant,
            "tellwire.type": fact.type,
            "tellwire.attempt": fact.number,
            "tellwire.trigger": fact.trigger,
            "tellwire.state": fact.state,
        }
        if fact.status_code is not None:
            attributes["http.response.status_code"] = fact.status_code
        if fact.error is not None:
            attributes["error.type"] = fact.error
        span = self._tracer.start_span(
            f"attempt {fact.type}",
            context=_context(fact.traceparent) or Context(),  # what is current here is no cause of it
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=fact.started_ms * _NS,
        )
        if fact.error is not None or fact.status_code is None or not 200 <= fact.status_code < 300:
            span.set_status(Status(StatusCode.ERROR))
        span.end((fact.started_ms + fact.duration_ms) * _NS)


def _context(traceparent: str | None) -> Context | None:
    """What a stored context stands for; None: whatever is current."""
    return None if traceparent is None else _CONTEXT.extract({"traceparent": traceparent}, Context())


def _traceparent(span: Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
