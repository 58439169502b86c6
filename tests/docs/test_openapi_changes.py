"""What counts as breaking the clients of the HTTP API."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from docs.openapi_changes import RELEASED, breaking

BODY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "maxLength": 9},
        "kind": {"enum": ["a", "b"], "type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["name"],
}
THING = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["id", "size"],
}
OLD: dict[str, Any] = {
    "paths": {
        "/v1/things": {
            "post": {
                "x-required-scope": "read",
                "parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer"}}],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}
                },
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}
                            }
                        }
                    },
                    "404": {},
                },
            }
        }
    },
    "components": {"schemas": {"Body": BODY, "Thing": THING}},
}


def post(document: dict[str, Any]) -> Any:
    return document["paths"]["/v1/things"]["post"]


def fields(document: dict[str, Any], name: str) -> Any:
    return document["components"]["schemas"][name]["properties"]


BREAKING: dict[str, Callable[[dict[str, Any]], Any]] = {
    "POST /v1/things: is gone": lambda new: new["paths"].pop("/v1/things"),
    "POST /v1/things: asks for the scope admin instead of read": lambda new: post(new).update(
        {"x-required-scope": "admin"}
    ),
    "POST /v1/things: is closed to keys that are bound to a tenant": lambda new: post(new).update(
        {"x-unbound-keys-only": True}
    ),
    "POST /v1/things: takes no query parameter limit any more": lambda new: post(new).pop("parameters"),
    "POST /v1/things: needs the query parameter of": lambda new: post(new)["parameters"].append(
        {"in": "query", "name": "of", "required": True, "schema": {}}
    ),
    "POST /v1/things: needs a body": lambda new: post(new)["requestBody"].update(required=True),
    "POST /v1/things: takes no body any more": lambda new: post(new).pop("requestBody"),
    "POST /v1/things: request.note: is gone": lambda new: fields(new, "Body").pop("note"),
    "POST /v1/things: request.note: takes no null any more": lambda new: fields(new, "Body").update(
        note={"type": "string"}
    ),
    "POST /v1/things: request.kind: takes no b any more": lambda new: fields(new, "Body")["kind"].update(
        enum=["a"]
    ),
    "POST /v1/things: request.name: maxLength is 5 now": lambda new: fields(new, "Body")["name"].update(
        maxLength=5
    ),
    "POST /v1/things: request.name: pattern is another now": lambda new: fields(new, "Body")["name"].update(
        pattern="^a"
    ),
    "POST /v1/things: request: not is another now": lambda new: new["components"]["schemas"]["Body"].update(
        {"not": {"required": ["kind", "note"]}}
    ),
    "POST /v1/things: request.kind: is required": lambda new: new["components"]["schemas"]["Body"][
        "required"
    ].append("kind"),
    "POST /v1/things: answers 200 no more": lambda new: post(new)["responses"].pop("200"),
    "POST /v1/things: answer 200[].size: is gone": lambda new: fields(new, "Thing").pop("size"),
    "POST /v1/things: answer 200[].size: may be null now": lambda new: fields(new, "Thing")["size"].update(
        type=["integer", "null"]
    ),
    "POST /v1/things: answer 200[].size: may be missing now": lambda new: new["components"]["schemas"][
        "Thing"
    ].update(required=["id"]),
}


@pytest.mark.parametrize("sentence", BREAKING)
def test_breaking_change_is_told(sentence: str) -> None:
    """In one sentence that names the route and the place."""
    new = copy.deepcopy(OLD)
    BREAKING[sentence](new)
    assert breaking(OLD, new) == [sentence]


def test_what_clients_need_not_know_breaks_nothing() -> None:
    """New routes, optional fields, parameters and scopes that are wider, values and refusals more."""
    new = copy.deepcopy(OLD)
    new["paths"]["/v1/more"] = {"get": {"responses": {}}}
    post(new)["parameters"].append({"in": "query", "name": "of", "schema": {}})
    post(new)["responses"]["409"] = {}
    fields(new, "Body")["more"] = {"type": "string"}
    fields(new, "Body")["name"].update(maxLength=20)
    fields(new, "Body")["kind"]["enum"] = ["a", "b", "c"]
    fields(new, "Thing")["more"] = {"type": "string"}
    assert breaking(OLD, new) == []


def test_released_document_is_compared() -> None:
    """The committed document of the last release has every publish route, and is itself no break."""
    released = json.loads(RELEASED.read_text(encoding="utf-8"))
    assert "/v1/events" in released["paths"]
    assert breaking(released, released) == []
