"""Batching: the setting by which several events go to an endpoint in one request."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

MAX_EVENTS: Final = 1_000
MAX_WAIT_S: Final = 60
MAX_BYTES: Final = 4 * 1024 * 1024


class BatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many events one request carries, how long the first of them waits for others, and in which form."""

    max_events: Annotated[
        int, Meta(ge=2, le=MAX_EVENTS, description="A request is sent as soon as it has so many events.")
    ] = 100
    max_wait_s: Annotated[
        float,
        Meta(ge=0, le=MAX_WAIT_S, description="Or when the first of them has been due for so many seconds."),
    ] = 1
    format: Annotated[
        Literal["array", "cloudevents"],
        Meta(
            description="`array`: a JSON array of standard envelopes, each with the `id` of its event; "
            "`cloudevents`: the batch format of CloudEvents 1.0."
        ),
    ] = "array"
    max_bytes: Annotated[
        int,
        Meta(
            ge=1_024,
            le=MAX_BYTES,
            description="What the body of a request has at most. An event that is larger alone is sent alone.",
        ),
    ] = 1_048_576
