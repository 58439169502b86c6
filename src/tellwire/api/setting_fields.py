"""An endpoint's settings as fields of its bodies and answers: one for each field of ``model.EndpointSettings``.

They are made from it, so that a setting is written down once. Here only JSON is
asked for; ``manage`` checks and merges.
"""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, EndpointSettings
from tellwire.publish.strict_json import with_decimals


def settings_of(model: object) -> dict[str, Any]:
    """The settings among the fields that were given in a body; null is the same as leaving it out."""
    names = getattr(model, "model_fields_set", frozenset[str]())
    given = {name: getattr(model, name) for name in EndpointSettings.__struct_fields__ if name in names}
    return {name: value for name, value in given.items() if value is not None}


def schemas_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of each field, with all that it refers to inside."""
    [reference], components = msgspec.json.schema_components([struct], ref_template="{name}")
    properties: dict[str, Any] = _inlined(components[reference["$ref"]], components)["properties"]
    return properties


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"]], components)
    # A discriminator points to components, which are inlined here.
    return {name: _inlined(value, components) for name, value in schema.items() if name != "discriminator"}


if TYPE_CHECKING:
    from pydantic import BaseModel

    class GivenSettings(BaseModel):
        """The settings of an endpoint in a body."""

    class ShownSettings(BaseModel):
        """The settings of an endpoint in an answer."""

else:
    _GIVEN = {
        name: (
            Annotated[Any, BeforeValidator(with_decimals), WithJsonSchema({"default": None, **schema})],
            Field(default=None),
        )
        for name, schema in schemas_of(EndpointSettings).items()
    }
    _SHOWN = {
        name: (
            Annotated[Any, WithJsonSchema(schema)],
            Field(default=msgspec.to_builtins(getattr(DEFAULT_SETTINGS, name))),
        )
        for name, schema in schemas_of(EndpointSettings).items()
    }
    GivenSettings = create_model("GivenSettings", **_GIVEN)
    ShownSettings = create_model("ShownSettings", **_SHOWN)
