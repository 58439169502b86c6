"""What the OpenAPI document says of the two publish routes, by hand: FastAPI does not serve them (see ``publish``)."""

from typing import Any, Final

from tellwire.model.event import MAX_TYPE_CHARS, TYPE_FORM
from tellwire.model.key import Scope
from tellwire.model.limits import Limits
from tellwire.model.order import MAX_ORDERING_KEY_CHARS
from tellwire.model.tenant import TENANT_ID_FORM

from .guard import SCOPE_FIELD
from .once import KEY_SCHEMA
from .shapes.saying import NO_TENANT_ID

_LIMITS: Final = Limits()
_TIME: Final = {"type": "string", "format": "date-time"}
_EVENT: Final = {
    "type": "order.paid",
    "data": {"order_id": "o_1", "amount": 4200},
    "idempotency_key": "o_1-paid",
    "occurred_at": "2026-01-31T09:30:00.123Z",
    "ordering_key": "o_1",
}
_LATER_EVENT: Final = {
    "type": "order.sent",
    "data": {},
    "deliver_at": "2026-02-01T06:00:00Z",
    "expires_at": "2099-02-02T06:00:00Z",
}
_RECEIPT: Final = {
    "id": "evt_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "type": "order.paid",
    "tenant": "default",
    "occurred_at": "2026-01-31T09:30:00.123Z",
    "created_at": "2026-01-31T09:30:01.004Z",
    "deliveries": 2,
    "duplicate": False,
}
_SENT_RECEIPT: Final = {
    **_RECEIPT,
    "id": "evt_01k5w3m8qhe5sbd3y0t2vwz9rb",
    "type": "order.sent",
    "occurred_at": "2026-01-31T09:30:01.004Z",
}

SCHEMAS: Final[dict[str, Any]] = {
    "EventBody": {
        "title": "EventBody",
        "type": "object",
        "description": "An event to publish.",
        "properties": {
            "type": {
                "type": "string",
                "description": "Dot-separated segments of `A-Z a-z 0-9 _`.",
                "maxLength": MAX_TYPE_CHARS,
                "pattern": TYPE_FORM,
            },
            "data": {
                "type": "object",
                "description": f"Delivered byte for byte as it was sent; at most {_LIMITS.payload_bytes} bytes "
                f"unless set otherwise, at most {_LIMITS.json_depth} levels deep.",
            },
            "tenant": {
                "type": ["string", "null"],
                "description": "`default` if not given.",
                "pattern": TENANT_ID_FORM,
                "not": NO_TENANT_ID,
            },
            "idempotency_key": {
                "type": ["string", "null"],
                "description": "The same key and content again answers with the first event.",
                "minLength": 1,
                "maxLength": _LIMITS.idempotency_key_chars,
            },
            "occurred_at": {**_TIME, "type": ["string", "null"], "description": "Now if not given."},
            "deliver_at": {
                **_TIME,
                "type": ["string", "null"],
                "description": "Not to be delivered before; up to 30 days ahead. At once if not given.",
            },
            "expires_at": {
                **_TIME,
                "type": ["string", "null"],
                "description": "Not worth delivering from then on: a delivery that is still pending ends as exhausted, "
                "with `expired` as its last error.",
            },
            "ordering_key": {
                "type": ["string", "null"],
                "description": "Endpoints whose `order` is `key` get events with the same one in order.",
                "minLength": 1,
                "maxLength": MAX_ORDERING_KEY_CHARS,
            },
        },
        "required": ["type", "data"],
        "additionalProperties": False,
        "examples": [_EVENT],
    },
    "BatchBody": {
        "title": "BatchBody",
        "type": "object",
        "description": "Events to publish: all of them, or none.",
        "properties": {
            "events": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/EventBody"},
                "minItems": 1,
                "maxItems": _LIMITS.batch_events,
            }
        },
        "required": ["events"],
        "additionalProperties": False,
    },
    "Receipt": {
        "title": "Receipt",
        "type": "object",
        "description": "The event and its deliveries are durable.",
        "properties": {
            "id": {"type": "string"},
            "type": {"type": "string"},
            "tenant": {"type": "string"},
            "occurred_at": _TIME,
            "created_at": _TIME,
            "deliveries": {"type": "integer", "description": "To how many endpoints it goes."},
            "duplicate": {
                "type": "boolean",
                "description": "Whether this is an earlier event with the same idempotency key.",
            },
        },
        "required": list(_RECEIPT),
        "examples": [_RECEIPT],
    },
    "ReceiptBatch": {
        "title": "ReceiptBatch",
        "type": "object",
        "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/Receipt"}}},
        "required": ["data"],
    },
}


def _content(schema: str, example: object) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}}


PATHS: Final[dict[str, Any]] = {
    "/v1/events": {
        "post": {
            "tags": ["events"],
            "summary": "Publish an event",
            "description": "Answered when the event and its deliveries are durable. "
            "A key that was used before with other content is a conflict.",
            "operationId": "publish_event",
            SCOPE_FIELD: Scope.PUBLISH,
            "parameters": [
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "description": "The same as the field `idempotency_key`.",
                    "schema": KEY_SCHEMA,
                }
            ],
            "requestBody": {"required": True, "content": _content("EventBody", _EVENT)},
            "responses": {
                "200": {
                    "description": "It was published before: the first event answers",
                    "content": _content("Receipt", {**_RECEIPT, "duplicate": True}),
                },
                "202": {"description": "Published", "content": _content("Receipt", _RECEIPT)},
                "409": {},
            },
        }
    },
    "/v1/events/batch": {
        "post": {
            "tags": ["events"],
            "summary": "Publish several events",
            "description": "All or nothing; receipts come in the order of the events. "
            "A refusal names the index of each bad one.",
            "operationId": "publish_batch",
            SCOPE_FIELD: Scope.PUBLISH,
            "parameters": [
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "description": "The same batch under the same key is published once, and answered with the first "
                    "answer for a day.",
                    "schema": KEY_SCHEMA,
                }
            ],
            "requestBody": {
                "required": True,
                "content": _content("BatchBody", {"events": [_EVENT, _LATER_EVENT]}),
            },
            "responses": {
                "202": {
                    "description": "All of them are published",
                    "content": _content("ReceiptBatch", {"data": [_RECEIPT, _SENT_RECEIPT]}),
                },
                "409": {},
            },
        }
    },
}
