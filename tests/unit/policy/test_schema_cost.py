"""What schemas may cost is known before any data is checked."""

import json
from typing import Any

import pytest

from tellwire.errors import InvalidInputError
from tellwire.policy.schema import check_schema, compile_schema
from tellwire.policy.schema_cost import MOST_STEPS, cost_of

Json = dict[str, Any]


def doubling(times: int) -> Json:
    """Each definition leads to the next one twice."""
    defs: Json = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(times)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{times}": {"type": "object"}}}


def unevaluated(times: int) -> Json:
    schema: Json = {"properties": {"a": True}}
    for _ in range(times):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


def nested(times: int) -> Json:
    schema: Json = {}
    for _ in range(times):
        schema = {"not": schema}
    return schema


TWICE_BELOW = {"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}


@pytest.mark.parametrize(
    ("schema", "loc", "msg"),
    [
        (doubling(300), (), "10000 steps"),
        (TWICE_BELOW, (), "10000 steps"),
        (unevaluated(20), (), "10000 steps"),
        ({"items": {"oneOf": [{"const": n} for n in range(MOST_STEPS)]}}, (), "10000 steps"),
        ({"items": {"enum": [{"n": n} for n in range(MOST_STEPS)]}}, (), "10000 steps"),
        ({"patternProperties": {f"a{n}": True for n in range(MOST_STEPS)}}, (), "10000 steps"),
        ({"allOf": [{"multipleOf": 0.01 * n} for n in range(1, 101)]}, (), "10000 steps"),
        ({"$ref": "#"}, (), "back to itself"),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, (), "back to itself"),
        ({"$ref": "https://example.com/other"}, ("$ref",), "into the schema itself"),
        ({"items": {"$ref": "file:///etc/passwd"}}, ("items", "$ref"), "into the schema itself"),
        ({"$ref": "#/$defs/none"}, ("$ref",), "leads to nothing"),
        ({"$ref": "#/required/0", "required": ["a"]}, ("$ref",), "no schema"),
        ({"$ref": "#none"}, ("$ref",), "an anchor that there is not"),
        ({"$ref": 5}, ("$ref",), "into the schema itself"),
        ({"properties": {"a": {"$id": "https://example.com/"}}}, ("properties", "a", "$id"), "at the top"),
        ({"$ref": "#/$defs/a/items", "$defs": {"a": {"$id": "b", "items": {"$ref": "#"}}}}, ("$ref",), "an $id"),
        ({"items": {"$dynamicRef": "#x"}}, ("items", "$dynamicRef"), "use $ref"),
        (nested(100), (), "more than 64 levels"),
    ],
)  # fmt: skip
def test_what_could_take_for_ever_is_refused(schema: Json, loc: tuple[str, ...], msg: str) -> None:
    """Branches that double, recursion that doubles, circles, and references that lead outside: each by its place."""
    with pytest.raises(InvalidInputError) as refused:
        check_schema(schema)
    (fault,) = refused.value.errors
    assert fault.loc == loc
    assert msg in fault.msg


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        ({}, 1),
        ({"properties": {f"p{n}": {"type": "string"} for n in range(100)}}, 10),
        ({"properties": {"a": {"$ref": "#"}, "b": {"items": {"$ref": "#"}}}}, 2),
        ({"$defs": {"a/b%c": {"$anchor": "x", "items": {"$ref": "#x"}}}, "$ref": "#/$defs/a~1b%25c"}, 2),
        ({"oneOf": [{"$ref": f"#/$defs/m{n}"} for n in range(30)],
          "$defs": {f"m{n}": {"properties": {"kind": {"const": n}}} for n in range(30)}}, 100),
        ({"prefixItems": [{"type": "string"}, {"$ref": "#"}], "items": False}, 3),
        (unevaluated(2), 100),
        (doubling(3), 30),
    ],
)  # fmt: skip
def test_what_people_write_is_taken(schema: Json, most: int) -> None:
    """Wide objects, unions, recursion that does not double: all are far below the limit."""
    check_schema(schema)
    assert cost_of(schema, 64) <= most


def test_recursion_that_doubles_is_taken_for_flat_data() -> None:
    """Where nothing but examples is ever checked, it is their depth that counts."""
    check_schema(TWICE_BELOW, levels=3)


@pytest.mark.parametrize(
    ("schema", "data", "told"),
    [
        ({"additionalProperties": {"items": {"type": "string"}}}, {"a": [1] * 100_000}, "does not fit"),
        ({"additionalProperties": {"items": {"enum": list(range(10, 5_000))}}}, {"a": [1] * 2_000}, "does not fit"),
        ({"additionalProperties": {"items": {"oneOf": [{"const": n} for n in range(500)]}}},
         {"a": [1] * 100_000}, "has more in it"),
        ({"additionalProperties": {"items": {"multipleOf": 0.01}}}, {"a": [1e308] * 50_000}, "has more in it"),
    ],
)  # fmt: skip
def test_data_that_takes_long_is_not_looked_through(schema: Json, data: Json, told: str) -> None:
    """Faults without number are not collected, and what would take too many steps is not begun: one fault says so."""
    check_schema(schema)
    (fault,) = compile_schema(schema).faults_of(json.dumps(data).encode())
    assert fault.loc == ()
    assert told in fault.msg


def test_a_schema_from_before_the_limit_is_bounded_too() -> None:
    """It is compiled, so that nothing stops, but no large data is checked by it."""
    schema = compile_schema(doubling(300))
    (fault,) = schema.faults_of(json.dumps({"a": [1] * 1_000}).encode())
    assert "has more in it" in fault.msg


def test_a_pattern_has_a_size() -> None:
    """What compiles to much is slow on every character, though linear: refused at its place."""
    with pytest.raises(InvalidInputError) as refused:
        compile_schema({"properties": {"a": {"pattern": "(?:a{0,1000}){0,50}$"}}})
    assert refused.value.errors[0].loc == ("properties", "a", "pattern")
    compile_schema({"pattern": r"^[\w.+-]+@[\w-]+\.[\w.]+$"})
