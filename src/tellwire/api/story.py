"""What the examples in the OpenAPI document tell of: the things in their story, as answers show them.

An order is paid, its event goes to the shop's endpoint, which is down at first.
"""

from typing import Any, Final

from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, shown_settings

from .shapes.event_types import EXAMPLE_DATA, EXAMPLE_SCHEMA

_OCCURRED: Final = "2026-01-31T09:30:00.123Z"
_CREATED: Final = "2026-01-31T09:30:01.004Z"
BEFORE: Final = "2026-01-30T16:05:12.480Z"
_EVENT_ID: Final = "evt_01k5w3m8qhe5sbd3y0t2vwz9ra"
ENDPOINT_ID: Final = "ep_01k5w3m8qhe5sbd3y0t2vwz9ra"

EVENT: Final = {
    "id": _EVENT_ID,
    "type": "order.paid",
    "tenant": "default",
    "occurred_at": _OCCURRED,
    "created_at": _CREATED,
    "idempotency_key": "o_1-paid",
    "deliveries": 2,
    "fanned_out": 2,
    "data_expired": False,
    "deliver_at": None,
    "expires_at": None,
    "ordering_key": "o_1",
}
ENDPOINT: Final[dict[str, Any]] = {
    "id": ENDPOINT_ID,
    "tenant": "default",
    "url": "https://example.com/hook",
    "description": "the shop",
    "events": ["order.*"],
    "subscriptions": [
        {"events": ["order.*"], "filter": None, "envelope": "standard", "fields": None, "transform": None}
    ],
    "headers": {},
    "metadata": {},
    "state": "enabled",
    "state_reason": None,
    "created_at": BEFORE,
    "updated_at": BEFORE,
    **shown_settings(DEFAULT_SETTINGS),
}
CHANGED: Final = {**ENDPOINT, "updated_at": "2026-01-31T10:12:45.067Z"}
SECRET: Final = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
DELIVERY: Final = {
    "id": "dlv_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "event_id": _EVENT_ID,
    "endpoint_id": ENDPOINT_ID,
    "tenant": "default",
    "type": "order.paid",
    "state": "succeeded",
    "attempt_count": 2,
    "due_at": None,
    "last_status_code": 204,
    "last_error": None,
    "created_at": _CREATED,
    "finished_at": "2026-01-31T09:30:06.318Z",
    "waiting_for": None,
    "batch_id": None,
    "waiting_until": None,
}
UNTRIED: Final = {
    **DELIVERY,
    "state": "pending",
    "attempt_count": 0,
    "due_at": _CREATED,
    "last_status_code": None,
    "finished_at": None,
}
ATTEMPTS: Final = [
    {
        "id": "att_01k5w3m8qhe5sbd3y0t2vwz9ra",
        "number": 1,
        "started_at": "2026-01-31T09:30:01.019Z",
        "duration_ms": 87,
        "outcome": "failed",
        "status_code": 503,
        "error": None,
        "response_headers": {"content-type": "text/plain"},
        "response_body": "down for maintenance",
        "trigger": "schedule",
    },
    {
        "id": "att_01k5w3mdxye5sbd3y0t2vwz9rb",
        "number": 2,
        "started_at": "2026-01-31T09:30:06.254Z",
        "duration_ms": 64,
        "outcome": "succeeded",
        "status_code": 204,
        "error": None,
        "response_headers": {"server": "nginx"},
        "response_body": "",
        "trigger": "schedule",
    },
]
_COUNTS: Final = {
    "succeeded": 1180,
    "exhausted": 20,
    "cancelled": 0,
    "success_rate": 0.9833,
    "attempts_succeeded": 1180,
    "attempts_failed": 214,
    "attempt_ms": {"p50": 47, "p90": 103, "p95": 159, "p99": 1023},
    "delivery_ms": {"p50": 51, "p90": 143, "p95": 5631, "p99": 5887},
}
STATS: Final = {
    "tenant": "default",
    "endpoint_id": ENDPOINT_ID,
    "by": "hour",
    "since": "2026-01-30T10:00:00.000Z",
    "until": "2026-01-31T10:00:00.000Z",
    "total": _COUNTS,
    "data": [{**_COUNTS, "start": "2026-01-31T09:00:00.000Z"}],
}
REPLAY: Final = {
    "id": "rpl_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "endpoint_id": ENDPOINT_ID,
    "tenant": "default",
    "state": "running",
    "reason": None,
    "waiting_for": None,
    "dry_run": False,
    "since": "2026-01-27T00:00:00.000Z",
    "until": "2026-01-31T10:12:45.067Z",
    "types": ["order.*"],
    "states": ["exhausted", "missing"],
    "event_id": None,
    "progress": 0.0,
    "looked_at": 0,
    "retried": 0,
    "created": 0,
    "expired": 0,
    "created_at": "2026-01-31T10:12:45.067Z",
    "updated_at": "2026-01-31T10:12:45.067Z",
    "finished_at": None,
}
REPLAYING: Final = {
    **REPLAY,
    "progress": 0.25,
    "looked_at": 1250,
    "retried": 430,
    "created": 12,
    "updated_at": "2026-01-31T10:12:48.210Z",
}
TENANT: Final[dict[str, Any]] = {
    "id": "acme",
    "name": "Acme Inc.",
    "metadata": {"plan": "gold"},
    "limits": {"endpoints": 500, "payload_bytes": None, "publish_per_s": 100},
    "defaults": {"retry": {"delays_s": [5, 300, 3600]}, "envelope": None},
    "state": "active",
    "created_at": BEFORE,
    "verification": None,
}
KEY: Final = {
    "id": "key_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "name": "shop",
    "prefix": "tw_live_4fzN8x",
    "scopes": ["publish"],
    "tenant": None,
    "created_at": BEFORE,
    "expires_at": "2027-01-01T00:00:00.000Z",
    "revoked_at": None,
    "last_used_at": "2026-01-31T09:30:01.004Z",
}

EVENT_TYPE: Final = {
    "name": "order.paid",
    "description": "An order was paid in full.",
    "schema": EXAMPLE_SCHEMA,
    "version": "2",
    "examples": [EXAMPLE_DATA],
    "deprecated": False,
    "validate": False,
    "created_at": BEFORE,
    "updated_at": BEFORE,
}
