"""What it may cost to check data by a schema, found out before any is: what could take for ever is refused.

Asked when a schema is put into the catalogue, and again when it is compiled for publishing. The validator goes through
a schema once for each place in the data, and again for each branch that leads to the same place; branches that double,
and recursion that does, would make that grow without end, and nobody could publish meanwhile. So it is counted here how
many steps there can be at one place of the data, at most (``cost_of``), whatever the data is.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from tellwire.errors import InvalidInputError

MOST_STEPS: Final = 10_000
"""That many at one place of the data, at most."""

_BRANCHES: Final = ("allOf", "anyOf", "oneOf")
_SAME: Final = ("not", "if", "then", "else")
_MEMBERS: Final = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ITEMS: Final = ("items", "contains", "unevaluatedItems")
_UNEVALUATED: Final = ("unevaluatedProperties", "unevaluatedItems")
_AGAIN: Final = 5
"""What stands beside an ``unevaluated...`` is gone through so many times (measured with jsonschema-rs 0.60)."""
_REMAINDER: Final = 100
_REFUSED: Final = ("$dynamicRef", "$recursiveRef")
_Loc = tuple[str | int, ...]


def cost_of(schema: Mapping[str, Any], depth: int) -> int:
    """How many steps at one place of the data may be needed, at most, where the data has so many levels.

    Raises:
        InvalidInputError: more than ``MOST_STEPS``; or the schema refers to something outside of itself, to nothing, or
            back to itself without going into the data.
    """
    nodes = _Nodes(schema)
    at_place = [0] * len(nodes.found)
    most = 0
    for level in range(depth + 1):
        below, at_place = at_place, [0] * len(nodes.found)
        for node in nodes.in_order:
            steps = node.weight if level == 0 else max(sum(below[to] for to in one) for one in node.inside)
            if level == 1:
                steps += node.each
            steps += node.again * sum(at_place[to] for to in node.same)
            at_place[node.number] = min(steps, MOST_STEPS + 1)
        most = max(most, at_place[0])
        if most > MOST_STEPS:
            raise InvalidInputError.at(
                msg=f"has branches or recursion that can take more than {MOST_STEPS} steps at one place of the data"
            )
        if at_place == below:
            break
    return most


class _Node:
    """A part of a schema that is a schema itself, and by their numbers those that it leads to.

    ``same`` are asked of the same place in the data. Of the groups of ``inside``, one alone is asked of each place
    right below. ``weight`` are its own steps, ``each`` those for each of these places.
    """

    def __init__(self, number: int, loc: _Loc, schema: Mapping[str, Any]) -> None:
        self.number = number
        self.loc = loc
        self.weight = _weight(schema)
        patterns = schema.get("patternProperties")
        self.each = 4 * len(patterns) if isinstance(patterns, Mapping) else 0
        self.again = _AGAIN if any(name in schema for name in _UNEVALUATED) else 1
        self.same: list[int] = []
        self.inside: list[list[int]] = []


class _Nodes:
    """All of a schema that can be reached from its root."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._anchors: dict[str, _Loc] = {}
        self._numbers: dict[_Loc, int] = {}
        self.found: list[_Node] = []
        self._open: list[tuple[_Node, Mapping[str, Any]]] = []
        self._find_anchors(root)
        self._number((), root)
        while self._open:
            self._link(*self._open.pop())
        self.in_order = self._leaves_first()

    def _number(self, loc: _Loc, schema: Any) -> int:
        if loc not in self._numbers:
            whole = schema if isinstance(schema, Mapping) else {}
            node = _Node(len(self.found), loc, whole)
            self._numbers[loc] = node.number
            self.found.append(node)
            self._open.append((node, whole))
        return self._numbers[loc]

    def _link(self, node: _Node, schema: Mapping[str, Any]) -> None:
        for name in _REFUSED:
            if name in schema:
                raise InvalidInputError.at(*node.loc, name, msg="is not taken here; use $ref")
        if node.loc and "$id" in schema:
            raise InvalidInputError.at(*node.loc, "$id", msg="is taken at the top of a schema only")
        if "$ref" in schema:
            node.same.append(self._number(*self._resolved(node.loc, schema["$ref"])))
        for name in _BRANCHES:
            node.same += self._list(node.loc, schema, name)
        node.same += [self._number((*node.loc, name), schema[name]) for name in _SAME if name in schema]
        node.same += self._map(node.loc, schema, "dependentSchemas").values()
        self._link_members(node, schema)
        self._link_items(node, schema)

    def _link_members(self, node: _Node, schema: Mapping[str, Any]) -> None:
        patterns = list(self._map(node.loc, schema, "patternProperties").values())
        patterns += [self._number((*node.loc, name), schema[name]) for name in _MEMBERS if name in schema]
        named = self._map(node.loc, schema, "properties").values()
        node.inside += [patterns, *([one, *patterns] for one in named)]

    def _link_items(self, node: _Node, schema: Mapping[str, Any]) -> None:
        every = [self._number((*node.loc, name), schema[name]) for name in _ITEMS if name in schema]
        node.inside += [every, *([one, *every] for one in self._list(node.loc, schema, "prefixItems"))]

    def _list(self, loc: _Loc, schema: Mapping[str, Any], name: str) -> list[int]:
        given = schema.get(name)
        found = enumerate(given) if isinstance(given, list) else ()
        return [self._number((*loc, name, index), one) for index, one in found]

    def _map(self, loc: _Loc, schema: Mapping[str, Any], name: str) -> dict[str, int]:
        given = schema.get(name)
        found = given.items() if isinstance(given, Mapping) else ()
        return {key: self._number((*loc, name, key), one) for key, one in found}

    def _find_anchors(self, root: Mapping[str, Any]) -> None:
        waiting: list[tuple[_Loc, Any]] = [((), root)]
        while waiting:
            loc, part = waiting.pop()
            if isinstance(part, Mapping):
                if isinstance(part.get("$anchor"), str):
                    self._anchors[part["$anchor"]] = loc
                waiting += [((*loc, name), inner) for name, inner in part.items()]
            elif isinstance(part, list):
                waiting += [((*loc, index), inner) for index, inner in enumerate(part)]

    def _resolved(self, loc: _Loc, ref: Any) -> tuple[_Loc, Any]:
        """Where a reference leads (RFC 6901 section 6)."""
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise InvalidInputError.at(
                *loc, "$ref", msg="must lead into the schema itself, such as #/$defs/name"
            )
        pointer = unquote(ref[1:])
        target: _Loc = ()
        if pointer and not pointer.startswith("/"):
            if pointer not in self._anchors:
                raise InvalidInputError.at(*loc, "$ref", msg="leads to an anchor that there is not")
            target = self._anchors[pointer]
        else:
            target = tuple(_steps(self._root, pointer))
        part: Any = self._root
        for step in target:
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                raise InvalidInputError.at(*loc, "$ref", msg="leads to nothing") from None
            if isinstance(part, Mapping) and isinstance(part.get("$id"), str):  # a schema of its own
                raise InvalidInputError.at(*loc, "$ref", msg="leads through a schema that has an $id")
        if not isinstance(part, Mapping | bool):
            raise InvalidInputError.at(*loc, "$ref", msg="leads to something that is no schema")
        return target, part

    def _leaves_first(self) -> list[_Node]:
        """So that what a node leads to at the same place comes before it. Raises InvalidInputError for circles."""
        order: list[_Node] = []
        begun: set[int] = set()
        done: set[int] = set()
        for root in self.found:
            way = [] if root.number in begun else [(root, iter(root.same))]
            begun.add(root.number)
            while way:
                node, ahead = way[-1]
                to = next(ahead, None)
                if to is None:
                    way.pop()
                    done.add(node.number)
                    order.append(node)
                elif to not in begun:
                    begun.add(to)
                    way.append((self.found[to], iter(self.found[to].same)))
                elif to not in done:
                    loc = self.found[to].loc
                    raise InvalidInputError.at(*loc, msg="leads back to itself without going into the data")
        return order


def _weight(schema: Mapping[str, Any]) -> int:
    """The steps that the keywords of a schema take by themselves."""
    weight = 1
    given = schema.get("enum")
    for choice in given if isinstance(given, list) else ():
        if isinstance(choice, list | Mapping):
            weight += 2
    for name in ("properties", "dependentSchemas", "enum"):
        if isinstance(schema.get(name), list | Mapping):
            weight += len(schema[name]) // 16
    for name in ("required", "dependentRequired"):  # each of them may be a fault of its own
        if isinstance(schema.get(name), list | Mapping):
            weight += len(schema[name]) // 2
    if "const" in schema:
        weight += len(json.dumps(schema["const"])) // 32
    if "multipleOf" in schema:
        weight += _REMAINDER
    if "pattern" in schema:
        weight += 4
    return weight


def _steps(root: Any, pointer: str) -> Iterator[str | int]:
    part = root
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        step = int(name) if isinstance(part, list) and name.isdecimal() and name.isascii() else name
        yield step
        try:
            part = part[step]
        except (KeyError, IndexError, TypeError):
            part = None
