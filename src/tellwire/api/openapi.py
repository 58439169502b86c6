"""The OpenAPI 3.1 document: FastAPI's account of its routes, completed by what FastAPI cannot know.

Added are the two publish routes, the problems that each route answers, examples, and the API key. Names of
schemas lose the suffixes that they have in our modules.
"""

import json
import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from . import openapi_publish, problems
from .examples import ANSWERS
from .guard import SCOPE_FIELD, takes_key
from .once import KEY_SCHEMA
from .openapi_links import add_links
from .problems import Kind
from .shapes.problems import FaultOutput, ProblemOutput
from .versions import TAGS_FORM, has_versions

_DESCRIPTION: Final = """
Publish events, and Tellwire delivers them as signed webhooks (Standard Webhooks), retried until they arrive.

Every request but to `/healthz`, `/readyz` and the public keys shows an API key: `Authorization: Bearer tw_...`. A key
has scopes:
`publish` publishes and nothing else; `read` reads events, deliveries, endpoints and tenants; `manage` changes
endpoints and deliveries, sees signing secrets, and reads too; `admin` makes keys and tenants, and may do all the rest.
A key that is bound to a tenant sees that tenant and nothing else; routes with `x-unbound-keys-only` are not for it.
Portal tokens (`POST /v1/tenants/{id}/portal-token`) open the routes whose `x-portal-capability` they have, no others.

Times are RFC 3339 in UTC with milliseconds. Lists take `limit` and `cursor`, and answer `next`, the cursor of the page
that follows. Fields and parameters that are not listed here are refused. Errors are problem documents (RFC 9457); every
answer has the header `X-Request-Id`.
"""
_EXAMPLE_REQUEST_ID: Final = "req_01k5w3m8qhe5sbd3y0t2vwz9ra"
_SCHEMES: Final = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token: of `/oauth/token`, of an issuer that the settings name, or a portal "
        "token.",
    },
    "oauth2": {
        "type": "oauth2",
        "description": "API keys are exchanged for access tokens: the client's id is the id of the key.",
        "flows": {
            "clientCredentials": {
                "tokenUrl": "/oauth/token",
                "scopes": {
                    "publish": "Publish events.",
                    "read": "Read events, deliveries, endpoints and tenants.",
                    "manage": "Change endpoints and deliveries, see signing secrets; read.",
                    "admin": "Make keys and tenants; everything else.",
                },
            },
        },
    },
    "client": {"type": "http", "scheme": "basic", "description": "The id of an API key, and the key."},
}
_DETAILS: Final = {
    problems.MALFORMED: "the bytes that came are no HTTP/1.1 request",
    problems.UNAUTHORIZED: "an API key is required: send the header Authorization: Bearer tw_...",
    problems.FORBIDDEN: "this API key or token lacks the scope 'manage'",
    problems.NOT_FOUND: "there is no endpoint 'ep_01k5w3m8qhe5sbd3y0t2vwz9ra'",
    problems.METHOD_NOT_ALLOWED: "allowed here: GET, HEAD",
    problems.SLOW_REQUEST: "the request body did not arrive in time",
    problems.CONFLICT: "the idempotency key was used before, with other content",
    problems.CHANGED: "it has been changed since you have seen it: get it again, and change that",
    problems.TOO_LARGE: "the request body is larger than 65536 bytes",
    problems.WRONG_MEDIA_TYPE: "send JSON with the header Content-Type: application/json",
    problems.INVALID: "url: is missing",
    problems.TOO_MANY: "this API key may make 50 requests a second; try again in 1 s",
    problems.HEAD_TOO_LARGE: "target and headers have more than 65536 bytes together",
    problems.INTERNAL: "this is our fault; the request id helps to find it",
    problems.UNAVAILABLE: "the database cannot be used right now; nothing was stored, try again",
}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, as ``/openapi.json`` serves it."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary="The event layer of an API.",
        description=_DESCRIPTION.strip(),
        routes=app.routes,
        tags=_tags(),
    )
    for path, item in made["paths"].items():
        for method, operation in item.items():
            _complete(path, operation)
            _tell_versions(method, path, operation)
            _tell_key(method, operation)
            _exemplify(operation)
            _without_null(operation)
        if "patch" in item:
            content = item["patch"]["requestBody"]["content"]
            content["application/merge-patch+json"] = content["application/json"]
    paths: dict[str, Any] = {}
    for path, item in [*openapi_publish.PATHS.items(), *made["paths"].items()]:
        paths[path] = {**paths.get(path, {}), **item}
    for path in openapi_publish.PATHS:
        _complete(path, paths[path]["post"])
    made["paths"] = paths
    add_links(paths)
    schemas = made["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _, ours = models_json_schema(
        [(ProblemOutput, "serialization"), (FaultOutput, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas |= {**openapi_publish.SCHEMAS, **ours["$defs"]}
    made["components"] |= {
        "responses": {_response_name(kind): _response(kind) for kind in problems.KINDS},
        "securitySchemes": _SCHEMES,
    }
    return _renamed(made)


def _tags() -> list[dict[str, str]]:
    words = {
        "events": "What happened: published, and looked at.",
        "endpoints": "Where your tenants receive.",
        "subscriptions": "What endpoints want, previewed.",
        "filters": "Conditions on events, tried out.",
        "deliveries": "Events on their way to endpoints.",
        "replays": "Jobs that send to an endpoint again.",
        "stats": "What became of deliveries, counted.",
        "event-types": "The catalogue: what your events are called, and what is in them.",
        "tenants": "Your customers.",
        "keys": "API keys.",
        "audit": "Who changed what.",
        "oauth": "Access tokens for API keys.",
        "metrics": "For Prometheus.",
        "health": "For load balancers; open to everybody.",
    }
    return [{"name": name, "description": description} for name, description in words.items()]


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Add to one operation its security and the problems that it may answer."""
    responses = operation["responses"]
    responses.pop("422", None)
    kinds = [problems.CONFLICT] if "409" in responses else []
    kinds += [problems.NOT_FOUND] if "404" in responses else []
    if operation.get(SCOPE_FIELD):
        scope = operation[SCOPE_FIELD]
        operation["security"] = [{"api_key": [scope]}, {"oauth2": [scope]}]
        kinds += [problems.UNAUTHORIZED, problems.FORBIDDEN, problems.TOO_MANY]
    if "{id}" in path or ("{name}" in path and "requestBody" not in operation):
        kinds.append(problems.NOT_FOUND)
    if "requestBody" in operation:
        kinds += [problems.SLOW_REQUEST, problems.TOO_LARGE, problems.WRONG_MEDIA_TYPE]
    if operation.get(SCOPE_FIELD):
        kinds.append(problems.INVALID)  # unknown query parameters, if nothing else
    kinds += [problems.INTERNAL] if path == "/healthz" else [problems.INTERNAL, problems.UNAVAILABLE]
    for kind in kinds:
        responses[str(kind.status)] = {"$ref": f"#/components/responses/{_response_name(kind)}"}
    operation["responses"] = dict(sorted(responses.items()))


def _tell_versions(method: str, path: str, operation: dict[str, Any]) -> None:
    """Add to the operations on one thing that has versions what they do about them."""
    tags = {"type": "string", "pattern": TAGS_FORM, "examples": ['"3q2-7wAAAABkZXNpZ24g"']}
    if has_versions("PATCH", path) and method == "get":
        operation["responses"]["304"] = {"description": "It is as `If-None-Match` knows it."}
        name, words = "If-None-Match", "Versions that are known already: of these, the answer is 304."
    elif has_versions(method.upper(), path):
        kind = problems.CHANGED
        operation["responses"]["412"] = {"$ref": f"#/components/responses/{_response_name(kind)}"}
        name, words = (
            "If-Match",
            "The version to be changed, as `ETag` named it: of another, the answer is 412.",
        )
    else:
        return
    header = {"name": name, "in": "header", "required": False, "schema": tags, "description": words}
    operation["parameters"] = [*operation.get("parameters", []), header]
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _tell_key(method: str, operation: dict[str, Any]) -> None:
    """Add to the operations that are done once under an idempotency key its header."""
    scope = operation.get(SCOPE_FIELD)
    if scope is None or not takes_key(method.upper(), scope):
        return
    words = "The same request under the same key is done once, and answered with the first answer for a day."
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": KEY_SCHEMA,
        "description": words,
    }
    operation["parameters"] = [*operation.get("parameters", []), header]
    name = _response_name(problems.CONFLICT)
    operation["responses"]["409"] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _exemplify(operation: dict[str, Any]) -> None:
    """Give the answer of one operation its example."""
    for status, response in operation["responses"].items():
        if status.startswith("2") and "application/json" in response.get("content", {}):
            response["content"]["application/json"]["example"] = ANSWERS[operation["operationId"]]


def _without_null(operation: dict[str, Any]) -> None:
    """An optional body is there or is not: FastAPI takes null for one that is not, our guard asks for an object."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        given = [one for one in content["schema"].get("anyOf", ()) if one.get("type") != "null"]
        if len(given) == 1:
            content["schema"] = given[0]


def _response_name(kind: Kind) -> str:
    return "".join(word.capitalize() for word in kind.name.split("-"))


def _response(kind: Kind) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": f"{problems.DOCS}/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": _DETAILS[kind],
        "request_id": _EXAMPLE_REQUEST_ID,
    }
    if kind is problems.INVALID:
        example["errors"] = [{"loc": ["url"], "msg": "is missing"}]
    return {
        "description": kind.title,
        "content": {
            problems.CONTENT_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemOutput"},
                "example": example,
            }
        },
    }


def _renamed(made: dict[str, Any]) -> dict[str, Any]:
    """The document with the names of its schemas as clients are to know them: ``Event``, ``EventList``."""
    text = json.dumps(made, ensure_ascii=False)
    text = re.sub(r"\bListOutput[_\[](\w+?)Output[_\]]", r"\1List", text)
    text = re.sub(r"\b([A-Z][A-Za-z]+)Output\b", r"\1", text)
    renamed: dict[str, Any] = json.loads(text, parse_float=_number)
    return renamed


def _number(text: str) -> float:
    """``maximum: 250``, where FastAPI has made ``250.0`` of it."""
    number = float(text)
    return int(number) if number.is_integer() else number
