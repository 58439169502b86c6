"""The table of contents of the HTTP API: every route, who may use it, and the function that answers.

Only the two publish routes are not here: they stand in front, in ``publish``. A function's docstring is what the
OpenAPI document says of its route, its return type is the shape of the answer.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.routing import BaseRoute

from tellwire.model.key import Scope
from tellwire.model.portal import Capability

from . import (
    audit,
    deliveries,
    endpoints,
    event_types,
    events,
    filters,
    health,
    keys,
    metrics,
    oauth,
    public_keys,
    replays,
    stats,
    tenants,
)
from .guard import PORTAL_FIELD, SCOPE_FIELD, UNBOUND_FIELD, GuardedRoute
from .shapes.event_types import EventTypeOutput
from .shapes.events import WholeEventOutput
from .shapes.keys import TokenOutput

READ: Final = Scope.READ
MANAGE: Final = Scope.MANAGE
ADMIN: Final = Scope.ADMIN


class Route(NamedTuple):
    """One route; ``refusals`` are statuses of problems that others of its kind do not answer; ``text``: not JSON.
    ``creates``: the shape of the answer 201, where that is one of two.

    ``scope`` is what a key needs; None asks for no key. A key that is bound to a tenant gets at what is that tenant's,
    and not at all where a route is ``unbound``: there the whole server is concerned.
    """

    method: str
    path: str
    scope: Scope | None
    answer: Callable[..., Any]
    status: int = 200
    refusals: tuple[int, ...] = ()
    shape: Any = None
    text: bool = False
    unbound: bool = False
    creates: Any = None


ROUTES: Final = (
    Route("GET", "/v1/events", READ, events.list_events),
    Route("GET", "/v1/events/{id}", READ, events.get_event, shape=WholeEventOutput),
    Route("POST", "/v1/events/{id}/cancel", MANAGE, events.cancel_event, refusals=(409,)),
    Route("POST", "/v1/endpoints", MANAGE, endpoints.create_endpoint, 201),
    Route("GET", "/v1/endpoints", READ, endpoints.list_endpoints),
    Route("GET", "/v1/endpoints/{id}", READ, endpoints.get_endpoint),
    Route("PATCH", "/v1/endpoints/{id}", MANAGE, endpoints.change_endpoint),
    Route("DELETE", "/v1/endpoints/{id}", MANAGE, endpoints.delete_endpoint, 204),
    Route("GET", "/v1/endpoints/{id}/secret", MANAGE, endpoints.get_secret),
    Route("POST", "/v1/endpoints/{id}/secret/rotate", MANAGE, endpoints.rotate_secret),
    Route("POST", "/v1/endpoints/{id}/enable", MANAGE, endpoints.enable_endpoint),
    Route("POST", "/v1/endpoints/{id}/disable", MANAGE, endpoints.disable_endpoint),
    Route("POST", "/v1/endpoints/{id}/pause", MANAGE, endpoints.pause_endpoint),
    Route("POST", "/v1/endpoints/{id}/resume", MANAGE, endpoints.resume_endpoint, refusals=(409,)),
    Route("POST", "/v1/endpoints/{id}/verify", MANAGE, endpoints.verify_endpoint, refusals=(409,)),
    Route("POST", "/v1/endpoints/{id}/subscribe", MANAGE, endpoints.subscribe),
    Route("POST", "/v1/endpoints/{id}/unsubscribe", MANAGE, endpoints.unsubscribe),
    Route("POST", "/v1/endpoints/{id}/test", MANAGE, endpoints.send_test, 202),
    Route("POST", "/v1/endpoints/{id}/replay", MANAGE, replays.start_replay, 202),
    Route("GET", "/v1/endpoints/{id}/stats", READ, stats.get_endpoint_stats),
    Route("GET", "/v1/stats", READ, stats.get_stats),
    Route("GET", "/v1/replays", READ, replays.list_replays, refusals=(404,)),
    Route("GET", "/v1/replays/{id}", READ, replays.get_replay),
    Route("POST", "/v1/replays/{id}/cancel", MANAGE, replays.cancel_replay, refusals=(409,)),
    Route("POST", "/v1/subscriptions/preview", READ, filters.preview_subscriptions, refusals=(404,)),
    Route("POST", "/v1/filters/test", READ, filters.test_filter, refusals=(404,)),
    Route("GET", "/v1/deliveries", READ, deliveries.list_deliveries, refusals=(404,)),
    Route("GET", "/v1/deliveries/{id}", READ, deliveries.get_delivery),
    Route("POST", "/v1/deliveries/{id}/retry", MANAGE, deliveries.retry_delivery, refusals=(409,)),
    Route("POST", "/v1/deliveries/{id}/cancel", MANAGE, deliveries.cancel_delivery, refusals=(409,)),
    Route(
        "PUT",
        "/v1/event-types/{name}",
        ADMIN,
        event_types.put_event_type,
        unbound=True,
        creates=EventTypeOutput,
    ),
    Route("GET", "/v1/event-types", READ, event_types.list_event_types),
    Route("GET", "/v1/event-types/{name}", READ, event_types.get_event_type),
    Route("DELETE", "/v1/event-types/{name}", ADMIN, event_types.delete_event_type, 204, unbound=True),
    Route("POST", "/v1/tenants", ADMIN, tenants.create_tenant, 201, refusals=(409,), unbound=True),
    Route("GET", "/v1/tenants", READ, tenants.list_tenants),
    Route("GET", "/v1/tenants/{id}", READ, tenants.get_tenant),
    Route("PATCH", "/v1/tenants/{id}", ADMIN, tenants.change_tenant, refusals=(409,), unbound=True),
    Route("DELETE", "/v1/tenants/{id}", ADMIN, tenants.delete_tenant, 202, refusals=(409,), unbound=True),
    Route("POST", "/v1/tenants/{id}/portal-token", MANAGE, tenants.make_portal_token, 201, refusals=(409,)),
    Route("POST", "/v1/keys", ADMIN, keys.create_key, 201),
    Route("GET", "/v1/keys", ADMIN, keys.list_keys),
    Route("GET", "/v1/keys/{id}", ADMIN, keys.get_key),
    Route("POST", "/v1/keys/{id}/rotate", ADMIN, keys.rotate_key, 201, refusals=(409,)),
    Route("DELETE", "/v1/keys/{id}", ADMIN, keys.revoke_key, 204),
    Route("GET", "/v1/audit", ADMIN, audit.list_audit),
    Route("POST", "/oauth/token", None, oauth.get_token, shape=TokenOutput),
    Route("GET", "/.well-known/tellwire-keys.json", None, public_keys.get_public_keys),
    Route("GET", "/healthz", None, health.get_health),
    Route("GET", "/readyz", None, health.get_readiness),
    Route("GET", metrics.METRICS, READ, metrics.get_metrics, text=True, unbound=True),
)


PORTAL: Final[dict[Callable[..., Any], Capability]] = {
    events.list_events: Capability.EVENTS_READ,
    events.get_event: Capability.EVENTS_READ,
    endpoints.create_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.list_endpoints: Capability.ENDPOINTS_READ,
    endpoints.get_endpoint: Capability.ENDPOINTS_READ,
    event_types.list_event_types: Capability.ENDPOINTS_READ,
    event_types.get_event_type: Capability.ENDPOINTS_READ,
    endpoints.change_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.delete_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.get_secret: Capability.SECRETS_READ,
    endpoints.rotate_secret: Capability.SECRETS_ROTATE,
    endpoints.enable_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.disable_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.pause_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.verify_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.resume_endpoint: Capability.ENDPOINTS_WRITE,
    endpoints.subscribe: Capability.ENDPOINTS_WRITE,
    endpoints.unsubscribe: Capability.ENDPOINTS_WRITE,
    endpoints.send_test: Capability.ENDPOINTS_WRITE,
    replays.start_replay: Capability.DELIVERIES_RETRY,
    replays.list_replays: Capability.DELIVERIES_READ,
    replays.get_replay: Capability.DELIVERIES_READ,
    replays.cancel_replay: Capability.DELIVERIES_RETRY,
    filters.preview_subscriptions: Capability.EVENTS_READ,
    filters.test_filter: Capability.EVENTS_READ,
    stats.get_endpoint_stats: Capability.DELIVERIES_READ,
    stats.get_stats: Capability.DELIVERIES_READ,
    deliveries.list_deliveries: Capability.DELIVERIES_READ,
    deliveries.get_delivery: Capability.DELIVERIES_READ,
    deliveries.retry_delivery: Capability.DELIVERIES_RETRY,
    deliveries.cancel_delivery: Capability.DELIVERIES_RETRY,
}
"""What opens a route to portal tokens: for them there are no others."""


def add_routes(
    app: FastAPI, *, without: frozenset[str] = frozenset(), unguarded: frozenset[str] = frozenset()
) -> None:
    """Give ``app`` every route of the table, but those to the paths ``without``; ``unguarded`` ones need no key."""
    app.router.routes.extend(_routes(without, unguarded))


@cache  # they know no app, and take a tenth of a second to make
def _routes(without: frozenset[str], unguarded: frozenset[str]) -> tuple[BaseRoute, ...]:
    router = APIRouter()
    for route in ROUTES:
        if route.path in without:
            continue
        scope = None if route.path in unguarded else route.scope
        summary, _, rest = (route.answer.__doc__ or "").strip().partition("\n")
        router.add_api_route(
            route.path,
            route.answer,
            route_class_override=None if scope is None else GuardedRoute,
            methods=[route.method],
            status_code=route.status,
            summary=summary,
            description=" ".join(rest.split()),
            operation_id=route.answer.__name__,
            tags=[_tag(route)],
            responses=_responses(route),
            openapi_extra=_rule(scope, route),
            **_form(route),
        )
    return tuple(router.routes)


def _tag(route: Route) -> str:
    first = route.path.removeprefix("/v1").split("/")[1]
    if first == ".well-known":
        return "keys"
    return first if route.scope or first == "oauth" else "health"


def _rule(scope: Scope | None, route: Route) -> dict[str, Any] | None:
    """Who may use a route, as the OpenAPI document says it and the guard reads it."""
    if route.answer is oauth.get_token:
        return oauth.EXTRA
    if scope is None:
        return None
    capability = PORTAL.get(route.answer)
    portal = {} if capability is None else {PORTAL_FIELD: capability}
    return {SCOPE_FIELD: scope, **portal, **({UNBOUND_FIELD: True} if route.unbound else {})}


def _responses(route: Route) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {status: {} for status in route.refusals}
    if route.creates is not None:
        found[201] = {"model": route.creates, "description": "Created"}
    return found


def _form(route: Route) -> dict[str, Any]:
    form: dict[str, Any] = {"response_model": route.shape} if route.shape else {}
    return form | ({"response_class": PlainTextResponse} if route.text else {})
