"""The events of a request, in whatever form they came."""

import pytest

from tellwire import InvalidInputError, ReceivedEvent, unpack

PAID = ReceivedEvent("evt_1", "order.paid", "2026-01-31T09:30:00.123Z", {"n": 1})
SENT = ReceivedEvent("evt_2", "order.sent", "2026-01-31T09:30:01.000Z", [])
JSON = {"Content-Type": "application/json; charset=utf-8"}
STANDARD = b'"type":"order.paid","timestamp":"2026-01-31T09:30:00.123Z","data":{"n":1}}'
OTHER = b'{"id":"evt_2","type":"order.sent","timestamp":"2026-01-31T09:30:01.000Z","data":[]}'
CLOUD = (
    b'{"specversion":"1.0","id":"evt_1","source":"/tenants/a","type":"order.paid",'
    b'"time":"2026-01-31T09:30:00.123Z","datacontenttype":"application/json","data":{"n":1}}'
)


@pytest.mark.parametrize(
    ("headers", "body", "events"),
    [
        (JSON | {"Webhook-Id": "evt_1"}, b"{" + STANDARD, [PAID]),
        (JSON, b'[{"id":"evt_1",' + STANDARD + b"," + OTHER + b"]", [PAID, SENT]),
        (JSON, b" \n[]", []),
        ({"content-type": "application/cloudevents+json"}, CLOUD, [PAID]),
        (
            {"content-type": "Application/CloudEvents-Batch+JSON"},
            b"[" + CLOUD + b"," + CLOUD + b"]",
            [PAID, PAID],
        ),
        (
            JSON
            | {"ce-specversion": "1.0", "ce-id": "evt_1", "CE-type": PAID.type, "ce-time": PAID.timestamp},
            b'{"n":1}',
            [PAID],
        ),
    ],
)
def test_every_form(headers: dict[str, str], body: bytes, events: list[ReceivedEvent]) -> None:
    """Single events and batches, standard and CloudEvents; names of headers in any case."""
    assert unpack(headers, body) == events


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        (JSON, b"{" + STANDARD, "webhook-id: is missing"),
        (JSON, b"[{" + STANDARD + b"]", "body.0.id: is missing"),
        (JSON, b'{"n":1}', "body: is not what its content-type says"),
        (JSON, b"[1]", "body: is not what its content-type says"),
        (JSON, b"[" * 100_000, "body: is not what its content-type says"),
        (JSON, b"", "body: is not what its content-type says"),
        (JSON, b"\xff", "body: is not what its content-type says"),
        (JSON | {"ce-specversion": "1.0"}, b"{}", "ce-id: is missing"),
        ({"content-type": "application/cloudevents+json"}, b"{}", "body: is not what its content-type says"),
    ],
)
def test_what_is_in_no_form_is_refused(headers: dict[str, str], body: bytes, words: str) -> None:
    """With the place, whatever was sent."""
    with pytest.raises(InvalidInputError) as caught:
        unpack(headers, body)
    assert words in str(caught.value)
