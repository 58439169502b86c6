"""Which fields go together, as pieces of a JSON Schema: for documents. The hub checks the same, in better words.

A rule says what must not be; null is the same as not given. ``refused`` makes one keyword ``not`` of them, which those
who make code from a schema can pass over.
"""

from typing import Any, Final

Rule = dict[str, Any]
"""A JSON Schema of what is refused."""

_NULL: Final = {"type": "null"}
_GIVEN: Final = {"not": _NULL}


def refused(*rules: Rule) -> dict[str, Any]:
    """The part of a schema that refuses what one of these rules describes."""
    return {"not": rules[0] if len(rules) == 1 else {"anyOf": list(rules)}}


def together(*names: str, **values: Rule) -> Rule:
    """These fields are all given; of those with a schema of values, only such values count."""
    given = {**dict.fromkeys(names, _GIVEN), **values}
    return {"required": list(given), "properties": given}


def none_of(*names: str) -> Rule:
    """None of these fields is given."""
    return {"properties": dict.fromkeys(names, _NULL)}


def without(other: str, name: str) -> Rule:
    """The field ``name`` is given, and ``other``, which goes with it, is not."""
    return {"required": [name], "properties": {name: _GIVEN, other: _NULL}}
