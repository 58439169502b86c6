"""Examples in the OpenAPI document: every request and every answer in JSON has one, and it fits."""

import inspect
from typing import Any

import pytest
from pydantic import TypeAdapter

from tellwire import Tellwire
from tellwire.api.app import build_api
from tellwire.api.auth import Door
from tellwire.api.examples import ANSWERS
from tellwire.api.gate import Gate, Rates
from tellwire.api.routes import ROUTES, Route
from tellwire.api.shapes.given import Body
from tellwire.clock import SystemClock

TELLWIRE = Tellwire("sqlite:///never-opened.db")
GATE = Gate(TELLWIRE, Rates(), SystemClock())
API = build_api(TELLWIRE, lambda: "req_1", Door(TELLWIRE), GATE, None, metrics_open=False)
DOCUMENT: dict[str, Any] = API.openapi()
OPERATIONS = {
    operation["operationId"]: operation for item in DOCUMENT["paths"].values() for operation in item.values()
}
ANSWERING = [route for route in ROUTES if route.status != 204 and not route.text]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference leads to; of an optional body the one that is not null."""
    if "$ref" in schema:
        found: Any = DOCUMENT
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return resolved(found)
    given = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    return resolved(given[0]) if len(given) == 1 else schema


def examples(content: dict[str, Any]) -> list[Any]:
    """All examples of one body: those beside its schema, and those at the top of it."""
    places: tuple[dict[str, Any], ...] = (content, resolved(content["schema"]))
    found = [place["example"] for place in places if "example" in place]
    for place in places:
        more = place.get("examples", [])
        found += [one["value"] for one in more.values()] if isinstance(more, dict) else more
    return found


def models(of: type[Body] = Body) -> dict[str, type[Body]]:
    """Every model of a request's body, by name."""
    own = of.__subclasses__()
    return {name: model for one in own for name, model in {one.__name__: one, **models(one)}.items()}


MODELS = models()


def bodies(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The request body and the answers of success of one operation, by media type."""
    parts = {"request": operation.get("requestBody", {})}
    parts |= {status: one for status, one in operation["responses"].items() if status.startswith("2")}
    return {
        f"{part} {media_type}": content
        for part, body in parts.items()
        for media_type, content in body.get("content", {}).items()
        if media_type.endswith("json")
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_body_has_an_example(name: str) -> None:
    """No request and no answer leaves its reader to guess."""
    found = bodies(OPERATIONS[name])
    assert found or name in {"delete_endpoint", "delete_event_type", "revoke_key"}
    assert [body for body, content in found.items() if not examples(content)] == []


@pytest.mark.parametrize("route", ANSWERING, ids=lambda route: route.answer.__name__)
def test_answer_is_what_its_model_would_write(route: Route) -> None:
    """Read by the model of the answer and written again, an example is the same to the letter, times included."""
    shape = route.shape or inspect.signature(route.answer).return_annotation
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    found = examples(
        OPERATIONS[route.answer.__name__]["responses"][str(route.status)]["content"]["application/json"]
    )
    assert found
    for example in found:
        assert adapter.dump_python(adapter.validate_python(example), mode="json", by_alias=True) == example


def test_every_answer_is_of_an_operation() -> None:
    """No example is left over."""
    assert ANSWERS.keys() == {route.answer.__name__ for route in ANSWERING}


@pytest.mark.parametrize("name", OPERATIONS)
def test_request_fits_its_model(name: str) -> None:
    """An example of a request is taken by the model that reads it; the publish routes have none."""
    for body, content in bodies(OPERATIONS[name]).items():
        if not body.startswith("request"):
            continue
        schema = resolved(content["schema"])
        model = MODELS.get(schema["title"])
        for example in examples(content):
            if model is not None:
                model.model_validate(example)
            assert set(schema.get("required", ())) <= example.keys()
            assert example.keys() <= schema["properties"].keys()


def test_receipts_have_every_field() -> None:
    """Examples of receipts hold what their schema requires, and nothing else."""
    fields = set(DOCUMENT["components"]["schemas"]["Receipt"]["required"])
    receipts = [
        receipt
        for name in ("publish_event", "publish_batch")
        for body, content in bodies(OPERATIONS[name]).items()
        if not body.startswith("request")
        for example in examples(content)
        for receipt in example.get("data", [example])
    ]
    assert len(receipts) >= 4
    assert all(receipt.keys() == fields for receipt in receipts)
