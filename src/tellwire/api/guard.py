"""What every route of the control plane asks of a request, in this order: a good key, a known query, a sound body.

The body is read with a limit and parsed by the same strict parser that publishing uses, before FastAPI sees it.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tellwire.errors import (
    FieldError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    UnauthorizedError,
)
from tellwire.hub import Tellwire
from tellwire.manage.audit import ASKER
from tellwire.model.audit import ADMIN, Asker
from tellwire.model.key import Scope
from tellwire.model.limits import KIB, Limits
from tellwire.model.portal import Capability
from tellwire.publish import strict_json

from .auth import Door
from .bodies import check_json, check_plain, read_body
from .gate import Gate
from .once import answer_once
from .versions import expect, has_versions, unless_seen

BODY_BYTES: Final = 64 * KIB
UNBOUND_FIELD: Final = "x-unbound-keys-only"
"""The OpenAPI extension that marks a route which is not for keys that are bound to a tenant."""
PORTAL_FIELD: Final = "x-portal-capability"
"""The OpenAPI extension in which a route names the capability that opens it to portal tokens; no other is for them."""
SCOPE_FIELD: Final = "x-required-scope"
"""The OpenAPI extension in which a route names the scope that it needs; null where it needs none."""

_KINDS: Final = {
    "events": "event",
    "endpoints": "endpoint",
    "deliveries": "delivery",
    "replays": "replay",
    "tenants": "tenant",
    "keys": "key",
}
_LOC_DEPTH: Final = 8
_JSON: Final = (b"application/json",)
_JSON_OR_PATCH: Final = (b"application/json", b"application/merge-patch+json")


class GuardedRoute(APIRoute):
    """A route that asks for its scope first, and reads JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler behind the guard."""
        handle = super().get_route_handler()
        extra = self.openapi_extra or {}
        scope, unbound = Scope(extra[SCOPE_FIELD]), extra.get(UNBOUND_FIELD, False)
        capability = Capability(extra[PORTAL_FIELD]) if PORTAL_FIELD in extra else None
        kind = _kind_of(self.path)
        known = _query_names(self)
        takes_body = self.body_field is not None
        method = next(iter(self.methods or {"GET"}))
        versioned = has_versions(method, self.path)
        once = takes_key(method, scope)
        content_types = _JSON_OR_PATCH if "PATCH" in (self.methods or ()) else _JSON

        async def guarded(request: Request) -> Response:
            tellwire: Tellwire = request.app.state.tellwire
            gate: Gate = request.app.state.gate
            door: Door = request.app.state.door
            try:
                caller = await door.authorize_fresh(_header(request, "authorization"), scope, capability)
            except UnauthorizedError as error:
                raise gate.refuse(error, request.scope.get("client")) from None
            gate.admit(caller)
            if caller.tenant is not None:
                if unbound:
                    raise ForbiddenError(scope, bound_to=caller.tenant)
                if kind is not None:
                    await tellwire.check_owner(caller, kind, request.path_params["id"])
            request.scope["tellwire.caller"] = caller
            ASKER.set(Asker(caller.actor or ADMIN, request.scope["tellwire.request_id"]))
            _check_query(request, known)
            expect(request, versioned=versioned)
            if takes_body:
                request = await _read(request, tellwire.limits, content_types)
            elif request.method not in ("GET", "HEAD"):
                await _refuse_fields(request, tellwire.limits)
            if once:
                body = await request.body() if takes_body else b""
                return await answer_once(request, body, tellwire, caller, handle)
            response = await handle(request)
            return unless_seen(request, response) if method == "GET" else response

        return guarded


def takes_key(method: str, scope: str) -> bool:
    """Whether a request to such a route is done once under an idempotency key: whatever changes something."""
    return method == "POST" and scope != Scope.READ


def _kind_of(path: str) -> str | None:
    """What the id in a path is of: what its owner is asked by. A path with an id of anything else is a mistake."""
    if "{id}" not in path:
        return None
    return _KINDS[path.split("/")[2]]


class _ReadRequest(Request):
    """A request whose body has been read and parsed."""

    def __init__(self, scope: Any, receive: Callable[[], Awaitable[Any]], raw: bytes, parsed: object) -> None:
        super().__init__(scope, receive)
        self._raw = raw
        self._parsed = parsed

    async def body(self) -> bytes:
        """The bytes, as they came."""
        return self._raw

    async def json(self) -> Any:
        """What they say."""
        return self._parsed


async def _read(request: Request, limits: Limits, content_types: tuple[bytes, ...]) -> _ReadRequest:
    content_type = _header(request, "content-type")
    if content_type is not None:
        check_json(content_type, content_types)
    check_plain(_header(request, "content-encoding"))
    raw = await read_body(request.receive, _header(request, "content-length"), BODY_BYTES)
    parsed: object = None
    if raw:
        check_json(content_type, content_types)
        parsed = _parse(raw, limits)
    scope = request.scope
    if content_type is not None and content_type != b"application/json":
        # FastAPI is to take what was parsed for JSON, by whatever name the client called it.
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope = {**scope, "headers": [*others, (b"content-type", b"application/json")]}
    return _ReadRequest(scope, request.receive, raw, parsed)


async def _refuse_fields(request: Request, limits: Limits) -> None:
    """A route that takes no body takes none: fields that nobody would read are refused, not dropped."""
    raw = await read_body(request.receive, _header(request, "content-length"), BODY_BYTES)
    fields = _parse(raw, limits) if raw else None
    if isinstance(fields, dict) and fields:
        names = [strict_json.shorten(name) for name in list(fields)[:10]]
        raise InvalidInputError(
            [FieldError((name,), "is no field here: this takes no body") for name in names]
        )


def _parse(raw: bytes, limits: Limits) -> object:
    parsed = strict_json.parse(raw, limits, loc_depth=_LOC_DEPTH)
    if strict_json.too_deep(raw, parsed, limits.json_depth):
        fault = FieldError((), strict_json.deep_fault(limits))
        raise LimitExceededError([fault], limit="json_depth", maximum=limits.json_depth)
    if not isinstance(parsed, dict):
        raise InvalidInputError.at(msg="expected an object")
    return parsed


def _check_query(request: Request, known: frozenset[str]) -> None:
    seen: set[str] = set()
    faults: list[FieldError] = []
    for name, _ in request.query_params.multi_items():
        shown = strict_json.shorten(name)
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there are none"
            faults.append(FieldError((shown,), f"is no parameter here; {there}"))
        elif name in seen:
            faults.append(FieldError((shown,), "is given twice"))
        seen.add(name)
    if faults:
        raise InvalidInputError(faults[:10])


def _query_names(route: APIRoute) -> frozenset[str]:
    names: set[str] = set()
    for field in route.dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names |= set(model.model_fields)
        else:
            names.add(field.alias)
    return frozenset(names)


def _header(request: Request, name: str) -> bytes | None:
    value = request.headers.get(name)
    return None if value is None else value.encode("latin-1")
