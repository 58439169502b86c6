"""The reference library for Python (``cloudevents``) reads what we send as CloudEvents."""

import json
from urllib.parse import unquote

import pytest
from cloudevents.http import from_dict, from_http

from tellwire import unpack
from tellwire.deliver.shaping import cloudevent, shaped
from tellwire.model import event as events
from tellwire.model.claim import Claim
from tellwire.model.subscription import Envelope, Subscription
from tellwire.policy.shaping import compile_shapes

DATA = '{"order_id":"o_1","amount":4200,"name":"Åsa 漢字 🎉"}'.encode()


@pytest.mark.parametrize("envelope", [Envelope.CLOUDEVENTS, Envelope.CLOUDEVENTS_BINARY])
def test_it_reads_what_we_send(envelope: Envelope) -> None:
    """All attributes and the data, in both modes."""
    body = events.envelope("order.paid", "2026-01-31T09:30:00.123Z", DATA)
    claim = Claim(b"d", b"e", b"p", "evt_01k0000000000000000000000", "order.paid", body, 1, 0)
    shapes = compile_shapes([Subscription(("*",), None, envelope)])
    assert shapes is not None
    made = shaped(claim, "acme", shapes)
    event = from_http(dict(made.headers), made.body)
    assert event["specversion"] == "1.0"
    assert event["id"] == claim.event_text_id
    assert unquote(event["source"]) == "/tenants/acme"
    assert event["type"] == "order.paid"
    assert event["time"] == "2026-01-31T09:30:00.123Z"
    assert event.data == {"order_id": "o_1", "amount": 4200, "name": "Åsa 漢字 🎉"}


def test_it_reads_the_events_of_a_batch() -> None:
    """Each is a CloudEvent of its own; and we read them too."""
    body = events.envelope("order.paid", "2026-01-31T09:30:00.123Z", DATA)
    ids = [f"evt_01k000000000000000000000{n}0" for n in range(2)]
    claims = [Claim(b"d", b"e", b"p", id, "order.paid", body, 1, 0) for id in ids]
    batch = b"[" + b",".join(cloudevent(claim, "acme") for claim in claims) + b"]"
    found = [from_dict(one) for one in json.loads(batch)]
    assert [one["id"] for one in found] == ids
    assert {one["type"] for one in found} == {"order.paid"}
    ours = unpack({"content-type": "application/cloudevents-batch+json"}, batch)
    assert [(one.id, one.data) for one in ours] == [(one["id"], one.data) for one in found]
