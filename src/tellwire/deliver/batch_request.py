"""The request of a batch: many events in one body, with one signature.

Each event has the bytes that it has everywhere: its envelope, in an array in front of which stands its id, or its
structured CloudEvent. The same deliveries make the same ``webhook-id``, in every attempt and in every process, and
others make another: whoever has taken a batch may drop what comes with its id.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from tellwire.ids import BATCH, encode
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim
from tellwire.store.roster import LiveEndpoint

from .request import sign, with_own
from .shaping import JSON, cloudevent

CLOUDEVENTS_BATCH: Final = "application/cloudevents-batch+json"
_ID: Final = len('"id":"",') + len("evt_") + 26
_ATTRIBUTES: Final = 400
"""The attributes of a CloudEvent take less than this besides what the standard envelope takes."""


def size_of(claim: Claim, batch: BatchSettings) -> int:
    """How many bytes an event takes in a batch, at most; the comma after it included."""
    return len(claim.body) + 1 + (_ID if batch.format == "array" else _ATTRIBUTES)


def batch_id_of(claims: Iterable[Claim]) -> bytes:
    """The id of the batch that these deliveries make, in whatever order they come."""
    digest = hashlib.blake2b(digest_size=16, person=b"tellwire batch")
    for delivery_id in sorted([claim.delivery_id for claim in claims]):
        digest.update(delivery_id)
    return digest.digest()


def batch_request_for(
    claims: Sequence[Claim], batch_id: bytes, endpoint: LiveEndpoint, batch: BatchSettings, now_ms: int
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an attempt at ``now_ms``; the events come in the order in which they were published."""
    in_order = sorted(claims, key=lambda claim: claim.delivery_id)
    if batch.format == "array":
        type, events = (
            JSON,
            [b'{"id":"%b",%b' % (one.event_text_id.encode(), one.body[1:]) for one in in_order],
        )
    else:
        type, events = CLOUDEVENTS_BATCH, [cloudevent(one, endpoint.tenant) for one in in_order]
    body = b"[" + b",".join(events) + b"]"
    headers = with_own(endpoint, {"content-type": type})
    sign(headers, endpoint, encode(BATCH, batch_id), now_ms, body)
    return headers, body
