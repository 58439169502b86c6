"""What of the HTTP API would break its clients: the document of the last release against the code as it is.

``make check`` runs it. What counts as breaking: routes, fields, parameters or media types that go, requests that must
say more or may say less, answers that say less, and routes that ask for another scope. New routes, new optional fields
and new values in answers do not count: clients have to pass over what they do not know.

``python -m docs.openapi_changes --release`` makes the present document the one to be compared with: at a release, or
together with a line under "Changed" or "Removed" in CHANGELOG.md; or where the document first says what has always
been refused (``tests/interop/test_schemathesis.py`` tries both sides of what it says).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tellwire import Tellwire
from tellwire.api.app import build_api
from tellwire.api.auth import Door
from tellwire.api.gate import Gate, Rates
from tellwire.clock import SystemClock

RELEASED = Path(__file__).parent / "reference" / "openapi-released.json"
_SCOPE = "x-required-scope"
_UNBOUND = "x-unbound-keys-only"
_MAXIMA = ("maximum", "maxLength", "maxItems", "exclusiveMaximum", "maxProperties")
_MINIMA = ("minimum", "minLength", "minItems", "exclusiveMinimum", "minProperties")
_FORMS = ("pattern", "format", "not", "propertyNames", "uniqueItems")


def render() -> str:
    """The document of the code, as it is committed: indented, so that changes can be read."""
    tellwire = Tellwire("sqlite:///never-opened.db")
    gate = Gate(tellwire, Rates(), SystemClock())
    api = build_api(tellwire, lambda: "req_1", Door(tellwire), gate, _no_metrics, metrics_open=False)
    return json.dumps(api.openapi(), indent=1, ensure_ascii=False) + "\n"


async def _no_metrics(accept: str) -> tuple[str, bytes]:
    return "text/plain", b""


def breaking(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A sentence for each change that would break a client of ``old``."""
    return sorted(set(_Comparison(old, new).faults()))


class _Comparison:
    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._old = old
        self._new = new

    def faults(self) -> Iterator[str]:
        for path, item in self._old["paths"].items():
            for method, before in item.items():
                after = self._new["paths"].get(path, {}).get(method)
                name = f"{method.upper()} {path}"
                if after is None:
                    yield f"{name}: is gone"
                else:
                    yield from (f"{name}: {fault}" for fault in self._operation(before, after))

    def _operation(self, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if new.get(_SCOPE) != old.get(_SCOPE):
            yield f"asks for the scope {new.get(_SCOPE)} instead of {old.get(_SCOPE)}"
        if new.get(_UNBOUND) and not old.get(_UNBOUND):
            yield "is closed to keys that are bound to a tenant"
        yield from self._parameters(old, new)
        yield from self._request(old.get("requestBody"), new.get("requestBody"))
        for status, response in old["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in new["responses"]:
                yield f"answers {status} no more"
                continue
            for kind, content in response.get("content", {}).items():
                after = new["responses"][status].get("content", {}).get(kind)
                if after is None:
                    yield f"answers {status} without {kind}"
                else:
                    yield from self._answer(content["schema"], after["schema"], f"answer {status}", ())

    def _parameters(self, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        before = {(one["in"], one["name"]): one for one in old.get("parameters", ())}
        after = {(one["in"], one["name"]): one for one in new.get("parameters", ())}
        for key, one in before.items():
            if key not in after:
                yield f"takes no {key[0]} parameter {key[1]} any more"
            else:
                yield from self._taken(one["schema"], after[key]["schema"], f"parameter {key[1]}", ())
        for key, one in after.items():
            if one.get("required") and not before.get(key, {}).get("required"):
                yield f"needs the {key[0]} parameter {key[1]}"

    def _request(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield "needs a body"
            return
        if new is None:
            yield "takes no body any more"
            return
        if new.get("required") and not old.get("required"):
            yield "needs a body"
        for kind, content in old["content"].items():
            if kind not in new["content"]:
                yield f"takes no {kind} any more"
            else:
                yield from self._taken(content["schema"], new["content"][kind]["schema"], "request", ())

    def _taken(self, old: Any, new: Any, at: str, seen: tuple[Any, ...]) -> Iterator[str]:
        """What a request may say no more, or must say now."""
        if (old.get("$ref"), new.get("$ref")) in seen:
            return
        seen = (*seen, (old.get("$ref"), new.get("$ref"))) if "$ref" in old else seen
        before, after = self._shape(old, self._old), self._shape(new, self._new)
        if after["types"] and not before["types"] <= after["types"]:
            yield f"{at}: takes no {', '.join(sorted(before['types'] - after['types'])) or 'other type'} any more"
        gone = (before["enum"] or set()) - after["enum"] if after["enum"] is not None else set()
        if gone:
            yield f"{at}: takes no {', '.join(sorted(map(str, gone)))} any more"
        for limit in (*_MAXIMA, *_MINIMA):
            was, now = before["limits"].get(limit), after["limits"].get(limit)
            if now is not None and (was is None or (now < was if limit in _MAXIMA else now > was)):
                yield f"{at}: {limit} is {now} now"
        for form in _FORMS:
            if form in after["limits"] and after["limits"][form] != before["limits"].get(form):
                yield f"{at}: {form} is another now"
        for name in after["required"] - before["required"]:
            yield f"{at}.{name}: is required"
        for name, inner in before["properties"].items():
            if name in after["properties"]:
                yield from self._taken(inner, after["properties"][name], f"{at}.{name}", seen)
            elif not after["open"]:
                yield f"{at}.{name}: is gone"
        if before["items"] is not None and after["items"] is not None:
            yield from self._taken(before["items"], after["items"], f"{at}[]", seen)

    def _answer(self, old: Any, new: Any, at: str, seen: tuple[Any, ...]) -> Iterator[str]:
        """What an answer says no more."""
        if (old.get("$ref"), new.get("$ref")) in seen:
            return
        seen = (*seen, (old.get("$ref"), new.get("$ref"))) if "$ref" in old else seen
        before, after = self._shape(old, self._old), self._shape(new, self._new)
        if before["types"] and not after["types"] <= before["types"]:
            yield f"{at}: may be {', '.join(sorted(after['types'] - before['types']))} now"
        for name, inner in before["properties"].items():
            if name not in after["properties"]:
                yield f"{at}.{name}: is gone"
                continue
            if name in before["required"] and name not in after["required"]:
                yield f"{at}.{name}: may be missing now"
            yield from self._answer(inner, after["properties"][name], f"{at}.{name}", seen)
        if before["items"] is not None and after["items"] is not None:
            yield from self._answer(before["items"], after["items"], f"{at}[]", seen)

    def _shape(self, schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        """A schema without references and alternatives: what any of them may be."""
        alternatives = list(self._alternatives(schema, document))
        types: set[str] = set()
        properties: dict[str, Any] = {}
        enum: set[Any] = set()
        for one in alternatives:
            given = one.get("type", [])
            types |= {given} if isinstance(given, str) else set(given)
            properties |= one.get("properties", {})
            enum |= set(one.get("enum", ())) | ({one["const"]} if "const" in one else set())
        plain = [one for one in alternatives if one.get("type") != "null"]
        required = [set(one.get("required", ())) for one in plain]
        return {
            "types": types | ({"integer"} if "number" in types else set()),
            "properties": properties,
            "required": set.intersection(*required) if required else set(),
            "enum": enum if enum and all("enum" in one or "const" in one for one in plain) else None,
            "limits": plain[0] if len(plain) == 1 else {},
            "items": next((one["items"] for one in plain if "items" in one), None),
            "open": any(one.get("additionalProperties", True) is not False for one in plain),
        }

    def _alternatives(self, schema: dict[str, Any], document: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "$ref" in schema:
            found: Any = document
            for step in schema["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            yield from self._alternatives(found, document)
        elif "anyOf" in schema or "oneOf" in schema:
            for one in schema.get("anyOf", schema.get("oneOf", ())):
                yield from self._alternatives(one, document)
        else:
            yield schema


def main(arguments: list[str]) -> int:
    """Compare, or with ``--release`` write the document to be compared with."""
    if arguments == ["--release"]:
        RELEASED.write_text(render(), encoding="utf-8")
        return 0
    faults = breaking(json.loads(RELEASED.read_text(encoding="utf-8")), json.loads(render()))
    for fault in faults:
        sys.stderr.write(f"the HTTP API breaks its clients: {fault}\n")
    if faults:
        sys.stderr.write("if that is meant: CHANGELOG.md, then `python -m docs.openapi_changes --release`\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
