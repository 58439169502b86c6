"""The types of operational events: their schemas hold, their names are publishable, their pages are whole."""

import msgspec
import pytest

from tellwire.manage.operational_reference import render
from tellwire.model.event import is_type_name
from tellwire.model.operational import OPERATIONAL_TYPES
from tellwire.model.tenant import OPERATIONAL_TENANT, is_tenant_id
from tellwire.policy.schema import compile_schema


def test_nobody_can_have_the_id() -> None:
    """It is outside of what ids of tenants can be, so that no tenant of before can have it."""
    assert not is_tenant_id(OPERATIONAL_TENANT)


@pytest.mark.parametrize("name", sorted(OPERATIONAL_TYPES))
def test_type_is_sound(name: str) -> None:
    """Its example fits its schema, every field is described, and other data does not fit."""
    type = OPERATIONAL_TYPES[name]
    assert is_type_name(name)
    schema = compile_schema(type.schema)
    assert schema.faults_of(msgspec.json.encode(type.example)) == []
    assert schema.faults({}) != []
    (definition,) = type.schema["$defs"].values()
    assert all(field["description"] for field in definition["properties"].values())
    assert f"| `{name}` |" in render()
