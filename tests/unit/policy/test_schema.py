"""Schemas of event data: refused where they are none, asked of data of any kind, never leaving the process."""

from typing import Any

import pytest

from tellwire.errors import InvalidInputError
from tellwire.policy.schema import DIALECT, compile_schema

ORDER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["id"]}


def test_faults_name_the_place() -> None:
    """Each place where data does not fit is told, down to a bounded depth and number."""
    schema = compile_schema(ORDER)
    assert schema.faults({"id": 1, "n": 2}) == []
    assert {fault.loc for fault in schema.faults({"n": "x"})} == {("n",), ()}
    many = compile_schema({"additionalProperties": {"type": "string"}})
    assert len(many.faults({str(n): n for n in range(50)})) == 10
    (fault,) = many.faults({"a": ["x" * 10_000]})
    assert (fault.loc, len(fault.msg)) == (("a",), 203)


def test_faults_of_text() -> None:
    """Data is taken as the JSON text that is published, numbers of any size included."""
    schema = compile_schema(ORDER)
    assert schema.faults_of(b'{"id": 1, "n": %d}' % 10**300) == []
    (fault,) = schema.faults_of(b'{"id": 1, "n": 1.5}')
    assert fault.loc == ("n",)


@pytest.mark.parametrize(
    ("schema", "loc"),
    [
        ({"type": "objekt"}, ("type",)),
        ({"properties": {"a": {"pattern": "("}}}, ("properties", "a", "pattern")),
        ({"pattern": "(?=a)b"}, ("pattern",)),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ("$schema",)),
        ({"$schema": 5}, ("$schema",)),
        ({"$ref": "https://example.com/other"}, ()),
        ({"$ref": "file:///etc/passwd"}, ()),
        ({"$id": "https://example.com/a", "$ref": "b"}, ()),
        ({"$ref": "#/$defs/none"}, ()),
    ],
)
def test_bad_schema_is_refused(schema: dict[str, Any], loc: tuple[str, ...]) -> None:
    """What is no schema of 2020-12 is refused at its place, and so is one that leads outside: nothing is fetched."""
    with pytest.raises(InvalidInputError) as refused:
        compile_schema(schema)
    assert [fault.loc for fault in refused.value.errors] == [loc]


def test_dialect_may_be_named() -> None:
    """The dialect that is spoken can be said, and recursion within a schema is sound."""
    tree = compile_schema({"$schema": DIALECT, "additionalProperties": {"$ref": "#"}, "type": "object"})
    assert tree.faults({"a": {"b": {}}}) == []
    assert [fault.loc for fault in tree.faults({"a": {"b": 1}})] == [("a", "b")]
    assert compile_schema({"$ref": "#"}).faults({}) == []
