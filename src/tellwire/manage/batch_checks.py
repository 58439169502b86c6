"""What a setting ``batch`` goes together with: in a batch there is one form, one schedule and one trace for all."""

from collections.abc import Sequence

from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.subscription import Envelope, Subscription

from .faults import Faults

_AT = "batch"


def check_batch(settings: EndpointSettings, faults: Faults) -> None:
    """Check what else is set; what is wrong goes into ``faults``."""
    if settings.batch is None:
        return
    if settings.retry_by_type:
        faults.add(
            _AT,
            msg="goes without retry_by_type: a failed batch is retried as a whole; use retry for all types",
        )
    if settings.trace:
        faults.add(_AT, msg="goes without trace: a request has one traceparent, and a batch many events")


def envelope_fault(settings: EndpointSettings, subscriptions: Sequence[Subscription]) -> str | None:
    """Why an endpoint with these subscriptions cannot get batches."""
    batch = settings.batch
    if batch is None:
        return None
    allowed = {Envelope.STANDARD} if batch.format == "array" else {Envelope.STANDARD, Envelope.CLOUDEVENTS}
    for subscription in subscriptions:
        if subscription.envelope not in allowed:
            return (
                f"of format {batch.format} goes without subscriptions whose envelope is {subscription.envelope}: "
                f"in a batch, all events have the form that batch.format says"
            )
        if subscription.fields is not None or subscription.transform is not None:
            which = "fields" if subscription.transform is None else "a transform"
            return f"goes without subscriptions that have {which}: in a batch, events are sent whole"
    return None
