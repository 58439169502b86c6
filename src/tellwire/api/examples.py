"""The example of each answer in the OpenAPI document, by the name of its operation.

They tell one story: an order is paid, its event goes to the shop's endpoint, which is down at first. The two publish
routes have theirs in ``openapi_publish``, requests have theirs in ``shapes``.
"""

from typing import Any, Final

from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, shown_settings

from .shapes.event_types import EXAMPLE_DATA, EXAMPLE_SCHEMA

_OCCURRED: Final = "2026-01-31T09:30:00.123Z"
_CREATED: Final = "2026-01-31T09:30:01.004Z"
_BEFORE: Final = "2026-01-30T16:05:12.480Z"
_EVENT_ID: Final = "evt_01k5w3m8qhe5sbd3y0t2vwz9ra"
_ENDPOINT_ID: Final = "ep_01k5w3m8qhe5sbd3y0t2vwz9ra"

_EVENT: Final = {
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
_ENDPOINT: Final[dict[str, Any]] = {
    "id": _ENDPOINT_ID,
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
    "created_at": _BEFORE,
    "updated_at": _BEFORE,
    **shown_settings(DEFAULT_SETTINGS),
}
_CHANGED: Final = {**_ENDPOINT, "updated_at": "2026-01-31T10:12:45.067Z"}
_SECRET: Final = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
_DELIVERY: Final = {
    "id": "dlv_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "event_id": _EVENT_ID,
    "endpoint_id": _ENDPOINT_ID,
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
}
_UNTRIED: Final = {
    **_DELIVERY,
    "state": "pending",
    "attempt_count": 0,
    "due_at": _CREATED,
    "last_status_code": None,
    "finished_at": None,
}
_ATTEMPTS: Final = [
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
_STATS: Final = {
    "tenant": "default",
    "endpoint_id": _ENDPOINT_ID,
    "by": "hour",
    "since": "2026-01-30T10:00:00.000Z",
    "until": "2026-01-31T10:00:00.000Z",
    "total": _COUNTS,
    "data": [{**_COUNTS, "start": "2026-01-31T09:00:00.000Z"}],
}
_REPLAY: Final = {
    "id": "rpl_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "endpoint_id": _ENDPOINT_ID,
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
_REPLAYING: Final = {
    **_REPLAY,
    "progress": 0.25,
    "looked_at": 1250,
    "retried": 430,
    "created": 12,
    "updated_at": "2026-01-31T10:12:48.210Z",
}
_TENANT: Final[dict[str, Any]] = {
    "id": "acme",
    "name": "Acme Inc.",
    "metadata": {"plan": "gold"},
    "limits": {"endpoints": 500, "payload_bytes": None, "publish_per_s": 100},
    "defaults": {"retry": {"delays_s": [5, 300, 3600]}, "envelope": None},
    "state": "active",
    "created_at": _BEFORE,
    "verification": None,
}
_KEY: Final = {
    "id": "key_01k5w3m8qhe5sbd3y0t2vwz9ra",
    "name": "shop",
    "prefix": "tw_live_4fzN8x",
    "scopes": ["publish"],
    "tenant": None,
    "created_at": _BEFORE,
    "expires_at": "2027-01-01T00:00:00.000Z",
    "revoked_at": None,
    "last_used_at": "2026-01-31T09:30:01.004Z",
}

_EVENT_TYPE: Final = {
    "name": "order.paid",
    "description": "An order was paid in full.",
    "schema": EXAMPLE_SCHEMA,
    "version": "2",
    "examples": [EXAMPLE_DATA],
    "deprecated": False,
    "validate": False,
    "created_at": _BEFORE,
    "updated_at": _BEFORE,
}


def _subscribed(*events: str) -> dict[str, Any]:
    return {
        **_CHANGED,
        "events": list(events),
        "subscriptions": [
            {
                "events": list(events),
                "filter": None,
                "envelope": "standard",
                "fields": None,
                "transform": None,
            }
        ],
    }


def _page(item: dict[str, Any]) -> dict[str, Any]:
    return {"data": [item], "next": None}


ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "list_events": _page(_EVENT),
    "get_event": {**_EVENT, "data": {"order_id": "o_1", "amount": 4200}},
    "cancel_event": {**_EVENT, "deliver_at": "2026-02-01T06:00:00.000Z", "cancelled": 2},
    "create_endpoint": {**_ENDPOINT, **_SECRET},
    "list_endpoints": _page(_ENDPOINT),
    "get_endpoint": _ENDPOINT,
    "change_endpoint": {**_CHANGED, "description": "the new shop"},
    "get_secret": _SECRET,
    "rotate_secret": {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
    "enable_endpoint": _CHANGED,
    "disable_endpoint": {**_CHANGED, "state": "disabled", "state_reason": "disabled by hand"},
    "verify_endpoint": _ENDPOINT,
    "pause_endpoint": {**_CHANGED, "state": "paused", "state_reason": "paused by hand"},
    "resume_endpoint": _CHANGED,
    "subscribe": _subscribed("order.*", "invoice.paid"),
    "unsubscribe": _subscribed("order.*"),
    "send_test": _UNTRIED,
    "preview_subscriptions": {
        "data": [
            {
                **{name: _EVENT[name] for name in ("id", "type", "tenant", "occurred_at", "created_at")},
                "matches": True,
                "reasons": [{"subscription": 0, "path": ["data", "amount"], "msg": "4200 is at least 1000"}],
                "request": {
                    "content_type": "application/json",
                    "body": '{"type":"order.paid","timestamp":"2026-01-31T09:30:00.123Z","data":{"amount":4200}}',
                    "size_bytes": 83,
                    "error": None,
                },
            },
            {
                "id": "evt_01k5w3m7zqe5sbd3y0t2vwz9rb",
                "type": "order.paid",
                "tenant": "default",
                "occurred_at": _BEFORE,
                "created_at": _BEFORE,
                "matches": False,
                "reasons": [{"subscription": 0, "path": ["data", "amount"], "msg": "42 is less than 1000"}],
                "request": None,
            },
        ],
        "matched": 1,
    },
    "test_filter": {
        "matches": True,
        "reasons": [
            {
                "path": ["data", "amount"],
                "condition": {"$gte": 1000},
                "matches": True,
                "msg": "4200 is at least 1000",
            }
        ],
    },
    "list_deliveries": _page(_DELIVERY),
    "get_delivery": {**_DELIVERY, "attempts": _ATTEMPTS},
    "retry_delivery": {
        **_DELIVERY,
        "state": "pending",
        "due_at": "2026-01-31T10:12:45.067Z",
        "finished_at": None,
    },
    "cancel_delivery": {
        **_UNTRIED,
        "state": "cancelled",
        "attempt_count": 1,
        "due_at": None,
        "last_status_code": 503,
        "finished_at": "2026-01-31T09:30:04.772Z",
    },
    "get_endpoint_stats": _STATS,
    "get_stats": {**_STATS, "endpoint_id": None},
    "start_replay": _REPLAY,
    "list_replays": _page(_REPLAYING),
    "get_replay": _REPLAYING,
    "cancel_replay": {
        **_REPLAYING,
        "state": "cancelled",
        "reason": "cancelled by hand",
        "finished_at": "2026-01-31T10:12:48.210Z",
    },
    "put_event_type": _EVENT_TYPE,
    "list_event_types": _page(_EVENT_TYPE),
    "get_event_type": _EVENT_TYPE,
    "get_public_keys": {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "use": "sig",
                "alg": "EdDSA",
                "whpk": "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            }
        ]
    },
    "create_tenant": _TENANT,
    "list_tenants": _page(_TENANT),
    "get_tenant": _TENANT,
    "change_tenant": {
        **_TENANT,
        "name": "Acme Corp.",
        "limits": {"endpoints": 500, "payload_bytes": 65_536, "publish_per_s": 100},
        "defaults": {"retry": {"delays_s": [5, 300, 3600]}, "envelope": None},
    },
    "delete_tenant": {**_TENANT, "state": "deleting"},
    "make_portal_token": {
        "token": "tw_pt_AbX0p2...",
        "tenant": "acme",
        "capabilities": ["endpoints:write", "deliveries:read"],
        "subject": "user_123",
        "expires_at": "2026-01-31T11:12:45.067Z",
    },
    "get_token": {
        "access_token": "tw_at_AbX0p2...",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "publish",
    },
    "create_key": {**_KEY, "last_used_at": None, "key": "tw_live_4fzN8x..."},
    "list_keys": _page(_KEY),
    "get_key": _KEY,
    "rotate_key": {
        **_KEY,
        "id": "key_01k5w3mdxye5sbd3y0t2vwz9rb",
        "prefix": "tw_live_9bQ1rT",
        "last_used_at": None,
        "key": "tw_live_9bQ1rT...",
    },
    "list_audit": _page(
        {
            "id": "aud_01k5w3m8qhe5sbd3y0t2vwz9ra",
            "at": "2026-01-31T10:12:45.067Z",
            "action": "endpoint.updated",
            "actor": "key_01k5w3m8qhe5sbd3y0t2vwz9ra",
            "tenant": "default",
            "subject": _ENDPOINT_ID,
            "request_id": "req_01k5w3m8qhe5sbd3y0t2vwz9ra",
            "before": {"description": "the shop"},
            "after": {"description": "the new shop"},
        }
    ),
    "get_health": {"status": "ok"},
    "get_readiness": {"status": "ready"},
}
