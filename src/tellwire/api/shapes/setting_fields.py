"""An endpoint's settings as fields of its bodies and answers: one for each field of ``model.EndpointSettings``.

They are made from it, so that a setting is written down once. Here only JSON is
asked for; ``manage`` checks and merges.
"""

from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_type_hints

import msgspec
from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, SETTING_RULES, EndpointSettings
from tellwire.publish.strict_json import with_decimals

_NULL: Final = {"type": "null"}
_AROUND: Final = frozenset({"default", "description", "examples"})


def settings_of(model: object) -> dict[str, Any]:
    """The settings among the fields that were given in a body; null is the same as leaving it out."""
    names = getattr(model, "model_fields_set", frozenset[str]())
    given = {name: getattr(model, name) for name in EndpointSettings.__struct_fields__ if name in names}
    return {name: value for name, value in given.items() if value is not None}


def schemas_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of each field, with all that it refers to inside."""
    [reference], components = msgspec.json.schema_components([struct], ref_template="{name}")
    properties: dict[str, Any] = _inlined(components[reference["$ref"]], components)["properties"]
    hints = get_type_hints(struct, include_extras=True)
    return {name: {**_description(hints[name]), **schema} for name, schema in properties.items()}


def given_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The same for a body, in which null is as good as leaving out what need not be there."""
    return {name: _or_null(schema) for name, schema in schemas_of(struct).items()}


def patches_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The same for a merge patch: an object in it is to go together with what is there already, not in itself."""
    return {name: _without_rules(schema) for name, schema in given_of(struct).items()}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an optional field with null, and of the optional fields inside; not of what is in arrays."""
    kinds = schema.get("anyOf") or [{name: schema[name] for name in schema if name not in _AROUND}]
    around = {name: schema[name] for name in schema if name in _AROUND}
    return {**around, "anyOf": [*(_inner(kind) for kind in kinds if kind != _NULL), _NULL]}


def _inner(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return {**schema, "anyOf": [_inner(kind) for kind in schema["anyOf"]]}
    if "properties" not in schema:
        return schema
    fields = {
        name: field if name in schema["required"] else _or_null(field)
        for name, field in schema["properties"].items()
    }
    return {**schema, "properties": fields}


def _description(hint: Any) -> dict[str, Any]:
    """What is said of a field that may be null, which msgspec leaves out where its type is a struct."""
    for one in get_args(hint):
        for meta in getattr(one, "__metadata__", ()):
            return {"description": meta.description}
    return {}


def _without_rules(schema: dict[str, Any]) -> dict[str, Any]:
    of_any = [{name: one[name] for name in one if name != "not"} for one in schema.get("anyOf", ())]
    return {**schema, "anyOf": of_any} if of_any else schema


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"]], components) | _rules(schema["$ref"])
    # A discriminator points to components, which are inlined here.
    inlined = {name: _inlined(value, components) for name, value in schema.items() if name != "discriminator"}
    if isinstance(inlined.get("description"), str):
        inlined["description"] = " ".join(inlined["description"].split())
    return inlined


def _rules(name: str) -> dict[str, Any]:
    return SETTING_RULES.get(name, {})


if TYPE_CHECKING:
    from pydantic import BaseModel

    class GivenSettings(BaseModel):
        """The settings of an endpoint in a body."""

    class PatchedSettings(BaseModel):
        """The settings of an endpoint in a change."""

    class ShownSettings(BaseModel):
        """The settings of an endpoint in an answer."""

else:

    def _given(schemas: dict[str, Any]) -> dict[str, Any]:
        return {
            name: (
                Annotated[Any, BeforeValidator(with_decimals), WithJsonSchema({"default": None, **schema})],
                Field(default=None),
            )
            for name, schema in schemas.items()
        }

    _SHOWN = {
        name: (
            Annotated[Any, WithJsonSchema(schema)],
            Field(default=msgspec.to_builtins(getattr(DEFAULT_SETTINGS, name))),
        )
        for name, schema in schemas_of(EndpointSettings).items()
    }
    GivenSettings = create_model("GivenSettings", **_given(given_of(EndpointSettings)))
    PatchedSettings = create_model("PatchedSettings", **_given(patches_of(EndpointSettings)))
    ShownSettings = create_model("ShownSettings", **_SHOWN)
