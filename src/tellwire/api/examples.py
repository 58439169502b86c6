"""The example of each answer in the OpenAPI document, by the name of its operation.

They tell one story (``story``). The two publish routes have theirs in ``openapi_publish``, requests have theirs in
``shapes``.
"""

from typing import Any, Final

from .story import (
    ATTEMPTS,
    BEFORE,
    CHANGED,
    DELIVERY,
    ENDPOINT,
    ENDPOINT_ID,
    EVENT,
    EVENT_TYPE,
    KEY,
    REPLAY,
    REPLAYING,
    SECRET,
    STATS,
    TENANT,
    UNTRIED,
)


def _subscribed(*events: str) -> dict[str, Any]:
    return {
        **CHANGED,
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
    "list_events": _page(EVENT),
    "get_event": {**EVENT, "data": {"order_id": "o_1", "amount": 4200}},
    "cancel_event": {**EVENT, "deliver_at": "2026-02-01T06:00:00.000Z", "cancelled": 2},
    "create_endpoint": {**ENDPOINT, **SECRET},
    "list_endpoints": _page(ENDPOINT),
    "get_endpoint": ENDPOINT,
    "change_endpoint": {**CHANGED, "description": "the new shop"},
    "get_secret": SECRET,
    "rotate_secret": {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
    "enable_endpoint": CHANGED,
    "disable_endpoint": {**CHANGED, "state": "disabled", "state_reason": "disabled by hand"},
    "verify_endpoint": ENDPOINT,
    "pause_endpoint": {**CHANGED, "state": "paused", "state_reason": "paused by hand"},
    "resume_endpoint": CHANGED,
    "subscribe": _subscribed("order.*", "invoice.paid"),
    "unsubscribe": _subscribed("order.*"),
    "send_test": UNTRIED,
    "preview_subscriptions": {
        "data": [
            {
                **{name: EVENT[name] for name in ("id", "type", "tenant", "occurred_at", "created_at")},
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
                "occurred_at": BEFORE,
                "created_at": BEFORE,
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
    "list_deliveries": _page(DELIVERY),
    "get_delivery": {**DELIVERY, "attempts": ATTEMPTS},
    "retry_delivery": {
        **DELIVERY,
        "state": "pending",
        "due_at": "2026-01-31T10:12:45.067Z",
        "finished_at": None,
    },
    "cancel_delivery": {
        **UNTRIED,
        "state": "cancelled",
        "attempt_count": 1,
        "due_at": None,
        "last_status_code": 503,
        "finished_at": "2026-01-31T09:30:04.772Z",
    },
    "get_endpoint_stats": STATS,
    "get_stats": {**STATS, "endpoint_id": None},
    "start_replay": REPLAY,
    "list_replays": _page(REPLAYING),
    "get_replay": REPLAYING,
    "cancel_replay": {
        **REPLAYING,
        "state": "cancelled",
        "reason": "cancelled by hand",
        "finished_at": "2026-01-31T10:12:48.210Z",
    },
    "put_event_type": EVENT_TYPE,
    "list_event_types": _page(EVENT_TYPE),
    "get_event_type": EVENT_TYPE,
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
    "create_tenant": TENANT,
    "list_tenants": _page(TENANT),
    "get_tenant": TENANT,
    "change_tenant": {
        **TENANT,
        "name": "Acme Corp.",
        "limits": {"endpoints": 500, "payload_bytes": 65_536, "publish_per_s": 100},
        "defaults": {"retry": {"delays_s": [5, 300, 3600]}, "envelope": None},
    },
    "delete_tenant": {**TENANT, "state": "deleting"},
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
    "create_key": {**KEY, "last_used_at": None, "key": "tw_live_4fzN8x..."},
    "list_keys": _page(KEY),
    "get_key": KEY,
    "rotate_key": {
        **KEY,
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
            "subject": ENDPOINT_ID,
            "request_id": "req_01k5w3m8qhe5sbd3y0t2vwz9ra",
            "before": {"description": "the shop"},
            "after": {"description": "the new shop"},
        }
    ),
    "get_health": {"status": "ok"},
    "get_readiness": {"status": "ready"},
}
