"""Shaping: the body of an attempt where it is not the usual one, and the headers that belong to it.

Place in the life of an event: between claim and signature, so what is signed is what is sent. The bytes of the data are
never made anew: they stand in every envelope as they were published, with all digits and in their order. The same event
has the same bytes in every attempt, as long as the endpoint's subscriptions stay what they are.
"""

from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from tellwire.model.claim import Claim
from tellwire.model.subscription import Envelope
from tellwire.policy.shaping import Shapes

JSON: Final = "application/json"
CLOUDEVENT: Final = "application/cloudevents+json"


class Shaped(NamedTuple):
    """A body, and the headers that say what it is; their names are in lower case."""

    body: bytes
    headers: dict[str, str]


class _Standard(msgspec.Struct):
    """The standard envelope, its data left as it is."""

    timestamp: str
    data: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Standard).decode


def shaped(claim: Claim, tenant: str, shapes: Shapes) -> Shaped:
    """The body of ``claim`` in the envelope that the endpoint's subscriptions ask for."""
    standard = _decode(claim.body)
    data = bytes(standard.data)
    match shapes.envelope(claim.type, tenant, data):
        case Envelope.RAW:
            return Shaped(data, {"content-type": JSON})
        case Envelope.CLOUDEVENTS:
            return Shaped(
                _structured(_attributes(claim, tenant, standard.timestamp), data),
                {"content-type": CLOUDEVENT},
            )
        case Envelope.CLOUDEVENTS_BINARY:
            named = _attributes(claim, tenant, standard.timestamp).items()
            return Shaped(data, {"content-type": JSON} | {f"ce-{name}": value for name, value in named})
        case Envelope.STANDARD:
            return Shaped(claim.body, {"content-type": JSON})


def cloudevent(claim: Claim, tenant: str) -> bytes:
    """The event of ``claim`` as structured CloudEvent."""
    standard = _decode(claim.body)
    return _structured(_attributes(claim, tenant, standard.timestamp), bytes(standard.data))


def _attributes(claim: Claim, tenant: str, timestamp: str) -> dict[str, str]:
    """The context attributes (CloudEvents 1.0, "Context Attributes"); all are printable ASCII without spaces."""
    return {
        "specversion": "1.0",
        "id": claim.event_text_id,
        "source": f"/tenants/{quote(tenant, safe='')}",
        "type": claim.type,
        "time": timestamp,
    }


def _structured(attributes: dict[str, str], data: bytes) -> bytes:
    """An event in the JSON format of CloudEvents 1.0 (section 3)."""
    head = msgspec.json.encode(attributes | {"datacontenttype": JSON})
    return b'%b,"data":%b}' % (head[:-1], data)
