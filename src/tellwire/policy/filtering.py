"""Filters: whether an event is what a subscription asks for. Asked at fan-out, once per filter and event.

A filter is compiled when its subscription is read, into closures, and asked in microseconds. It is total: whatever the
data holds, it answers and never raises. It is bounded too: no regular expressions, no condition asked twice of the same
element, and an allowance of steps for each event and endpoint (`STEPS`), which is small once a tenant has used up its
pool for a transaction (`POOL_STEPS`). A filter that would need more is taken to match, for an event too many harms less
than one that never came. What operators mean: docs/reference/filters.md.

Numbers are compared by their exact values: integers as they are, all others as decimals, never as binary fractions.
"""

import math
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from .filter_syntax import MAX_BITS, Condition, Group, Items, Logic, Test, read_filter

STEPS: Final = 20_000
"""The allowance: one step for each condition that is asked of the event, or of an element of an array in it."""

POOL_STEPS: Final = 1_000_000
"""What all filters of one tenant may spend in one publish transaction (some 0.2 s) before their allowances shrink."""
FEW_STEPS: Final = 100
"""The allowance after that: enough for the filters that people write."""

_LARGE_BYTES: Final = 8 * 1024
"""From here on, to skip what is not asked for is cheaper than to parse it."""
_CHARS_PER_STEP: Final = 32
_PREFIXES_PER_STEP: Final = 16

Meter = list[int]
"""Steps that are left, in a list of one, so that all conditions count down the same number."""
Ask = Callable[[Any, Meter], bool]


class _Missing:
    """What a field is that is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()


class SpentError(Exception):
    """The allowance is used up."""


class Filter(msgspec.Struct, frozen=True, eq=False):
    """A compiled filter; made by `compile_filter`.

    ``size`` is the number of its conditions; ``names`` are the fields of the data that it asks for, or None where it
    asks for the data as a whole.
    """

    condition: Group
    size: int
    ask: Ask
    names: frozenset[str] | None

    def matches(self, event: dict[str, Any], meter: Meter) -> bool:
        """Whether the event (from `event_of`) passes. Never raises; true where ``meter`` runs out."""
        meter[0] -= self.size
        if meter[0] < 0:
            return True
        try:
            return self.ask(event, meter)
        except SpentError:
            return True


def compile_filter(filter: object) -> Filter:
    """Compile a filter.

    Raises:
        InvalidInputError: it is malformed; every fault is located inside the filter.
    """
    condition = read_filter(filter)
    return Filter(condition, _size(condition), compiled(condition), _names(condition))


def allowance() -> Meter:
    """What one endpoint may spend on one event."""
    return [STEPS]


def new_pool() -> Meter:
    """What one tenant may spend in one publish transaction."""
    return [POOL_STEPS]


def any_matches(filters: Iterable[Filter], event: dict[str, Any], pool: Meter | None = None) -> bool:
    """Whether one of an endpoint's filters lets the event pass; what that took goes off ``pool``."""
    steps = STEPS if pool is None or pool[0] > 0 else FEW_STEPS
    meter = [steps]
    matches = any(filter.matches(event, meter) for filter in filters)
    if pool is not None:
        pool[0] -= steps - meter[0]
    return matches


def event_of(type: str, tenant: str, data: bytes, filters: Iterable[Filter] | None = None) -> dict[str, Any]:
    """An event as filters see it. ``data`` is JSON text; its numbers keep all their digits.

    Where the ``filters`` are given that it will be asked by, large data is parsed only as far as they look.
    """
    if filters is None or len(data) < _LARGE_BYTES:
        return {"type": type, "tenant": tenant, "data": _value(data)}
    names: set[str] = set()
    for filter in filters:
        if filter.names is None:
            return {"type": type, "tenant": tenant, "data": _value(data)}
        names |= filter.names
    asked = {name: _value(value) for name, value in _decode_fields(data).items() if name in names}
    return {"type": type, "tenant": tenant, "data": asked}


def _value(text: bytes | msgspec.Raw) -> Any:
    try:
        return _decode(text)
    except InvalidOperation:
        return _decode_extreme(text)


def decimal_of(text: str) -> Decimal:
    """A number, however large or small: an exponent beyond that of any decimal makes it infinite, or zero."""
    try:
        return Decimal(text)
    except InvalidOperation:
        digits, _, exponent = text.lower().partition("e")
        if exponent.startswith("-") or not Decimal(digits):
            return Decimal(0)
        return Decimal("-Infinity" if digits.startswith("-") else "Infinity")


_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_extreme: Final = msgspec.json.Decoder(float_hook=decimal_of).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _names(condition: Condition, *, in_data: bool = False) -> frozenset[str] | None:
    """The fields of the data that a condition asks for, of an event or (``in_data``) of its data; None: all of it."""
    if isinstance(condition, Items):
        return None
    whole = [one for one in condition.whole if isinstance(one, Logic)]
    if condition.tests or len(whole) < len(condition.whole):
        return None
    asked: list[frozenset[str] | None] = [
        _names(inner, in_data=in_data) for logic in whole for inner in logic.conditions
    ]
    if in_data:
        asked.append(frozenset(name for name, _ in condition.fields))
    else:
        asked += [_names(inner, in_data=True) for name, inner in condition.fields if name == "data"]
    if any(one is None for one in asked):
        return None
    return frozenset[str]().union(*(one for one in asked if one is not None))


def _size(condition: Condition | Test | Logic) -> int:
    """How many steps it is, asked of one value."""
    match condition:
        case Test():
            texts = condition.operator in ("$startsWith", "$endsWith") and isinstance(condition.operand, list)
            return 1 + (len(condition.operand) // _PREFIXES_PER_STEP if texts else 0)
        case Items() | Logic():
            return 1 + sum(map(_size, condition.conditions))
        case Group():
            below = sum(_size(inner) for _, inner in condition.fields)
            return max(1, below + sum(map(_size, (*condition.tests, *condition.whole))))


def compiled(condition: Condition) -> Ask:
    """The closure that asks a value whether the condition holds for it. Raises SpentError where its meter runs out."""
    return _items(condition) if isinstance(condition, Items) else _group(condition)


def _group(group: Group) -> Ask:
    """All members hold for the value itself; or for one element of an array, if they say what a value is."""
    asked = [*map(compiled_test, group.tests), *map(_whole, group.whole)]
    if group.is_object:
        # Its fields come first: then nothing but an object is looked at any further.
        asked.insert(0, _object([(name, compiled(inner)) for name, inner in group.fields]))
    own = asked[0] if len(asked) == 1 else _all(asked)
    return _or_element(own, _size(group)) if group.is_object or group.tests else own


def _all(asked: list[Ask]) -> Ask:
    def holds(value: Any, meter: Meter) -> bool:
        for one in asked:  # noqa: SIM110 - a generator would double the cost
            if not one(value, meter):
                return False
        return True

    return holds


def _or_element(own: Ask, size: int) -> Ask:
    def holds(value: Any, meter: Meter) -> bool:
        if own(value, meter):
            return True
        if type(value) is list:
            for element in value:
                meter[0] -= size
                if meter[0] < 0:
                    raise SpentError
                if holds(element, meter):
                    return True
        return False

    return holds


def _object(fields: list[tuple[str, Ask]]) -> Ask:
    if len(fields) == 1:
        ((only, ask),) = fields
        return lambda value, meter: type(value) is dict and ask(value.get(only, MISSING), meter)

    def holds(value: Any, meter: Meter) -> bool:
        if type(value) is not dict:
            return False
        for name, one in fields:  # noqa: SIM110 - a generator would double the cost
            if not one(value.get(name, MISSING), meter):
                return False
        return True

    return holds


def _items(items: Items) -> Ask:
    asked = [(compiled(one), _size(one)) for one in items.conditions]

    def has(one: Ask, size: int, value: list[Any], meter: Meter) -> bool:
        for element in value:
            meter[0] -= size
            if meter[0] < 0:
                raise SpentError
            if one(element, meter):
                return True
        return False

    return lambda value, meter: type(value) is list and all(has(*one, value, meter) for one in asked)


def _whole(one: Test | Logic) -> Ask:
    if isinstance(one, Logic):
        asked = [compiled(inner) for inner in one.conditions]
        if one.operator == "$not":
            (inner,) = asked
            return lambda value, meter: not inner(value, meter)
        if one.operator == "$and":
            return _all(asked)
        return lambda value, meter: any(inner(value, meter) for inner in asked)
    if one.operator == "$exist":
        wanted: bool = one.operand
        return lambda value, _: (value is not MISSING) is wanted
    positive = Test("$eq" if one.operator == "$neq" else "$in", one.operand)
    opposite = _or_element(compiled_test(positive), _size(positive))
    return lambda value, meter: value is not MISSING and not opposite(value, meter)


def compiled_test(test: Test) -> Ask:
    """The same for one operator, asked of the value itself and not of its elements."""
    operand = test.operand
    match test.operator:
        case "$eq":
            return _equal(operand)
        case "$in":
            return _contains(operand) if isinstance(operand, str) else _member(operand)
        case "$contains":
            return _contains(operand)
        case "$startsWith":
            starts = tuple(operand) if isinstance(operand, list) else operand
            return lambda value, _: type(value) is str and value.startswith(starts)
        case "$endsWith":
            ends = tuple(operand) if isinstance(operand, list) else operand
            return lambda value, _: type(value) is str and value.endswith(ends)
    return _ordered(test.operator, operand)


def exact(number: float | Decimal) -> Decimal:
    """A number of a filter that is written with a fraction or an exponent, as it is written."""
    return Decimal(repr(number)) if isinstance(number, float) else number


def _equal(operand: Any) -> Ask:
    match operand:
        case None | bool():
            return lambda value, _: value is operand
        case str():
            return lambda value, _: bool(value == operand)
        case list() | tuple():
            elements = list(map(_equal, operand))
            return lambda value, meter: (
                type(value) is list
                and len(value) == len(elements)
                and _spend(meter, len(elements))
                and all(one(element, meter) for one, element in zip(elements, value, strict=True))
            )
        case dict():
            fields = {name: _equal(inner) for name, inner in operand.items()}
            return lambda value, meter: (
                type(value) is dict
                and len(value) == len(fields)
                and _spend(meter, len(fields))
                and all(one(value.get(name, MISSING), meter) for name, one in fields.items())
            )
    return _member([operand])


def _spend(meter: Meter, steps: int) -> bool:
    meter[0] -= steps
    if meter[0] < 0:
        raise SpentError
    return True


def _member(operands: Iterable[Any]) -> Ask:
    """Is it one of these? Each type for itself: true is no 1, and an int need not be made a decimal.

    Numbers of thousands of digits are not hashed, for that would take longer than a step: no integer of a filter is
    that long, and decimals are looked up in order.
    """
    members: dict[type, set[Any]] = {}
    numbers: set[Decimal] = set()
    for one in operands:
        if isinstance(one, int | float | Decimal) and not isinstance(one, bool):
            number = Decimal(one) if isinstance(one, int) else exact(one)
            numbers.add(number)
            if number == number.to_integral_value():
                members.setdefault(int, set()).add(int(number))
        else:
            members.setdefault(type(one), set()).add(one)
    ordered = sorted(numbers)

    def holds(value: Any, _: Meter) -> bool:
        kind = type(value)
        if kind is Decimal:
            at = bisect_left(ordered, value)
            return at < len(ordered) and ordered[at] == value
        return not (kind is int and value.bit_length() > MAX_BITS) and value in members.get(kind, ())

    return holds


def _contains(operand: Any) -> Ask:
    if not isinstance(operand, str):
        return _equal(operand)

    def holds(value: Any, meter: Meter) -> bool:
        if type(value) is not str:
            return False
        if len(value) > _CHARS_PER_STEP:
            meter[0] -= len(value) // _CHARS_PER_STEP
            if meter[0] < 0:
                raise SpentError
        return operand in value

    return holds


_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _ordered(name: str, operand: Any) -> Ask:
    compare = _COMPARE[name]
    if isinstance(operand, str):
        return lambda value, _: type(value) is str and compare(value, operand)
    number = Decimal(operand) if isinstance(operand, int) else exact(operand)
    # For an integer, a fraction is as good as the integer beside it; and comparing an integer of thousands of digits
    # with a decimal would be slow.
    whole = math.floor(number) if name in ("$gt", "$lte") else math.ceil(number)

    def holds(value: Any, _: Meter) -> bool:
        if type(value) is int:
            return compare(value, whole)
        return type(value) is Decimal and compare(value, number)

    return holds
