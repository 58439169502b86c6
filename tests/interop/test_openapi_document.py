"""The OpenAPI document that is committed is the one that the code makes, and it is OpenAPI 3.1."""

import json

from jsonschema_rs import Draft202012Validator

from docs import generate, openapi_changes


def test_committed_document_is_current() -> None:
    """``make docs`` would change nothing."""
    assert generate.DOCUMENT.read_text(encoding="utf-8") == openapi_changes.render()


def test_schemas_are_schemas() -> None:
    """Each schema of the document is JSON Schema 2020-12, as OpenAPI 3.1 has it, and leads nowhere but into it."""
    document = json.loads(openapi_changes.render())
    assert document["openapi"].startswith("3.1.")
    for name in document["components"]["schemas"]:
        root = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(root)


def test_examples_fit_their_schemas() -> None:
    """What the document shows is what it allows, in requests, answers and problems."""
    document = json.loads(openapi_changes.render())
    seen = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in bodies:
                for kind, content in body.get("content", {}).items():
                    if "example" not in content or not kind.endswith("json"):
                        continue
                    root = {**content["schema"], "components": document["components"]}
                    found = Draft202012Validator(root).iter_errors(content["example"])
                    assert [error.message for error in found] == [], (method, path)
                    seen += 1
    assert seen > 30
