"""What tests of traces share: spans in memory, publishers with a trace each, and what must hold of both."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.observe.traces import Traces
from tellwire.policy.retry import RetrySchedule

from .conftest import Received
from .embedded import KEY, LOOPBACK


class Spans(InMemorySpanExporter):
    """The spans that have ended."""

    def named(self, name: str) -> list[ReadableSpan]:
        """By when they began."""
        return self._of(lambda span: span.name == name)

    @property
    def published(self) -> list[ReadableSpan]:
        """Those of publishing."""
        return self._of(lambda span: span.name.startswith("publish "))

    @property
    def attempts(self) -> list[ReadableSpan]:
        """Those of attempts."""
        return self._of(lambda span: span.name.startswith("attempt "))

    def _of(self, wanted: Callable[[ReadableSpan], bool]) -> list[ReadableSpan]:
        return sorted(filter(wanted, self.get_finished_spans()), key=lambda span: span.start_time or 0)


def provider_to(spans: Spans) -> TracerProvider:
    """A provider whose spans are there as soon as they end."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@asynccontextmanager
async def traced(
    url: str, spans: Spans, *, deliver: bool = True, delays_ms: tuple[int, ...] = (10,), at_once: int = 200
) -> AsyncIterator[Tellwire]:
    """A Tellwire whose spans go to ``spans``."""
    engine = EngineOptions(schedule=RetrySchedule(delays_ms), grace_s=1)
    options = Options(
        deliver=deliver, secret_key=KEY, egress=LOOPBACK, engine=engine, fan_out_at_once=at_once
    )
    async with Tellwire(url, options) as tellwire:
        Traces(provider_to(spans)).follow(tellwire)
        yield tellwire


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Its trace, and itself."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def event_of(span: ReadableSpan) -> str:
    assert span.attributes is not None
    return str(span.attributes["tellwire.event_id"])


def traceparent_to(span: ReadableSpan) -> str:
    """What stands for it in a header."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def check(spans: Spans, *, events: int, attempts: int, published: Spans | None = None) -> None:
    """So many events were published, each in a trace of its own, to which all of its attempts belong and no others.

    ``published``: where the spans of publishing went, if that was another process.
    """
    of_event = {event_of(span): span for span in (published or spans).published}
    assert len(of_event) == len({ids(span)[0] for span in of_event.values()}) == events
    assert len(spans.attempts) == attempts
    for span in spans.attempts:
        publishing = of_event[event_of(span)]
        assert (ids(span)[0], parent_of(span)) == ids(publishing)


def check_passed_on(requests: Iterable[Received], spans: Spans) -> None:
    """Every request carries the context of the publishing of its own event."""
    expected = {event_of(span): traceparent_to(span) for span in spans.published}
    got = Counter((one.headers["webhook-id"], one.headers.get("traceparent")) for one in requests)
    assert got
    assert all(expected[event] == traceparent for event, traceparent in got)
