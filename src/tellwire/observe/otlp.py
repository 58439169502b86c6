"""Where a server sends its traces: to an OpenTelemetry collector, as OpenTelemetry's own variables say.

An application that embeds Tellwire has a provider of its own, and gives that to ``traces.Traces``.
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tellwire.version import __version__


def provider() -> TracerProvider:
    """A provider whose spans are sent in batches, by a thread of its own; ``shutdown`` sends the rest."""
    service = {"service.name": "tellwire", "service.version": __version__}
    made = TracerProvider(resource=Resource(service).merge(Resource.create()))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made
