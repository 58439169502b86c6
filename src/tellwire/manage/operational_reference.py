"""Writes docs/reference/operational-events.md from the types of operational events."""

import json
from typing import Any, Final

import msgspec

from tellwire.model.operational import OPERATIONAL_TYPES

_HEAD: Final = """\
# Operational events

<!-- Written by `make docs`: change tellwire/model/operational.py, not this page. -->

What happens in Tellwire itself, as events of the tenant `@tellwire`. How to receive them:
[Hear what happens in Tellwire itself](../how-to/operational-events.md). They are delivered like all others, in the
[same envelope](payload.md); this page says what is in `data`. `GET /v1/event-types?operational=true` and
`tellwire event-types list --operational` give the same with JSON Schemas. New fields and types may come; what is there
stays.

No event has a secret in it: no header, no signing secret, no key, and of URLs no query.

| type | when | fields |
|---|---|---|
"""


def render() -> str:
    """The whole page."""
    rows = [
        f"| `{name}` | {type.description} | [{_title(type.schema)}](#{_title(type.schema).lower()}) |"
        for name, type in OPERATIONAL_TYPES.items()
    ]
    schemas = {_title(type.schema): type for type in reversed(list(OPERATIONAL_TYPES.values()))}
    parts = [_HEAD + "\n".join(rows) + "\n"]
    for title in dict.fromkeys(_title(type.schema) for type in OPERATIONAL_TYPES.values()):
        type = schemas[title]
        definition = type.schema["$defs"][title]
        example = json.dumps(msgspec.to_builtins(type.example), indent=2)
        fields = "\n".join(
            f"| `{name}` | {_type(field)} | {field['description']} |"
            for name, field in definition["properties"].items()
        )
        parts.append(
            f"## {title}\n\n{definition['description']}\n\n| field | type | what |\n|---|---|---|\n{fields}\n\n"
            f"```json\n{example}\n```\n"
        )
    return "\n".join(parts)


def _title(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if field["type"] == "array":
        return f"array of {_type(field['items'])}s"
    return str(field["type"])
