"""What is published and what arrives: bodies of an exact size that look like an order."""

import json

from tellwire.model.event import envelope

LANES = 4
"""How many endpoints share the load where nothing else is said: with 16 slots each (the default), 64 deliveries are
in the air at once."""

KEY = "tw_benchmark"
"""The API key that requests carry."""

OCCURRED_AT = "2026-01-01T00:00:00.000Z"
FIRST_NUMBER = 1_000_000_000
"""Events that are to be known again count from here, so that all numbers are of one length."""


def event_type(lane: int) -> str:
    """The event type that only endpoint number ``lane`` subscribes to: one event, one delivery."""
    return f"bench.lane{lane}"


def data_of(size_bytes: int, number: int = 0) -> bytes:
    """A JSON object of exactly ``size_bytes``; the receiver notes ``number`` where it is not 0."""
    order = {
        "bench": number,
        "order_id": "ord_01hv8q7m3k",
        "currency": "EUR",
        "total": 1234.5,
        "paid": True,
        "customer": {"id": "cus_81723", "name": "Ada Lovelace", "country": "GB", "vat_id": None},
        "items": [],
    }
    items: list[dict[str, object]] = []
    item = {"sku": "SKU-000", "name": "Analytical engine, brass", "quantity": 2, "price": 617.25}
    order |= {"items": items, "note": ""}
    room = size_bytes - len(_compact(order))
    items += [item] * (room * 3 // 4 // (len(_compact(item)) + 1))
    order["note"] = "n" * (size_bytes - len(_compact(order)))
    data = _compact(order)
    if len(data) != size_bytes:
        raise ValueError(f"{size_bytes} bytes are too few for an order")
    return data


def delivered(size_bytes: int, lane: int = 0) -> bytes:
    """The body that a receiver gets for an event with ``size_bytes`` of data."""
    return envelope(event_type(lane), OCCURRED_AT, data_of(size_bytes))


def published(size_bytes: int, lane: int, number: int = 0, tenant: str = "default") -> bytes:
    """The body of ``POST /v1/events``."""
    head = f'"type":"{event_type(lane)}"' + ("" if tenant == "default" else f',"tenant":"{tenant}"')
    return b'{%b,"data":%b}' % (head.encode(), data_of(size_bytes, number))


def published_batch(size_bytes: int, events: int) -> bytes:
    """The body of ``POST /v1/events/batch``, its events spread over all lanes."""
    return b'{"events":[%b]}' % b",".join(published(size_bytes, n % LANES) for n in range(events))


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
