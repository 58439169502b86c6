"""The form of filters: JSON that a stranger wrote -> conditions that are known to be good, or every fault, located.

The first of three steps that a subscription's filter takes: here it is read and checked, in ``filtering`` it is
compiled and asked of events, in ``explaining`` it tells why it matched. The meaning of each operator stands in
docs/reference/filters.md.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from ..errors import FieldError, InvalidInputError, LimitExceededError
from ..model.limits import Limits

EVENT_FIELDS: Final = ("data", "tenant", "type")
"""What a filter can look at."""

TESTS: Final = ("$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$startsWith", "$endsWith", "$contains")
"""Operators that say what a value is. On an array, one of its elements suffices."""
WHOLE: Final = ("$neq", "$nin", "$exist")
"""Operators that are asked of the value as a whole, arrays included."""
LOGIC: Final = ("$and", "$or", "$not")

_MAX_FAULTS: Final = 20
_MAX_SHOWN_CHARS: Final = 64
_MAX_SHOWN_PARTS: Final = 30
_MAX_NUMBER_BYTES: Final = 256
MAX_BITS: Final = 4096
"""An integer in a filter has at most so many: about 1,200 digits."""
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")

as_json: Final = msgspec.json.Encoder(decimal_format="number").encode
"""JSON text of values in which decimals are numbers."""


class Test(msgspec.Struct, frozen=True):
    """One operator and what it compares with: text, numbers, true, false, null; for ``$eq`` any JSON value."""

    operator: str
    operand: Any


class Logic(msgspec.Struct, frozen=True):
    """``$and`` and ``$or`` of several conditions, ``$not`` of one."""

    operator: str
    conditions: tuple["Condition", ...]


class Items(msgspec.Struct, frozen=True):
    """An array in a filter: for each of these conditions, the value has an element that fulfils it."""

    conditions: tuple["Condition", ...]


class Group(msgspec.Struct, frozen=True):
    """An object in a filter, or a plain value (which is ``$eq``): all of it is to hold, for one and the same value.

    ``is_object``: the value has to be an object, because its fields are asked for.
    """

    is_object: bool
    fields: tuple[tuple[str, "Condition"], ...]
    tests: tuple[Test, ...]
    whole: tuple[Test | Logic, ...]


Condition = Group | Items
Loc = tuple[str | int, ...]


def read_filter(filter: object) -> Group:
    """The conditions of a filter.

    Raises:
        InvalidInputError: every fault (at most 20), located inside the filter.
    """
    return _Reader(None).read(filter)


def check_filter(filter: object, limits: Limits) -> dict[str, Any]:
    """The filter as plain JSON values, which can be stored and read.

    Args:
        filter: JSON values as Python has them; numbers may be ``Decimal`` too, arrays may be tuples.
        limits: ``filter_bytes`` (of the filter as compact JSON) and ``filter_depth`` (objects and arrays).

    Raises:
        InvalidInputError: every fault (at most 20), located inside the filter.
        LimitExceededError: it is too large or too deep.
    """
    _Reader(limits.filter_depth).read(filter)
    text = as_json(filter)
    if len(text) > limits.filter_bytes:
        msg = f"the filter has {len(text)} bytes as JSON; at most {limits.filter_bytes} are allowed"
        raise LimitExceededError([FieldError((), msg)], limit="filter_bytes", maximum=limits.filter_bytes)
    plain: dict[str, Any] = msgspec.json.decode(text)
    return plain


def shown(value: object) -> str:
    """A value for an error message or a reason: as JSON, not too long; of something large, only what it is."""
    if isinstance(value, str):
        value = value[:_MAX_SHOWN_CHARS]
    elif not _is_small(value):
        return kind(value)
    try:
        text = as_json(value).decode()
    except (TypeError, ValueError, RecursionError):  # it comes from Python and is no JSON
        text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 3] + "..."


def _is_small(value: object) -> bool:
    """Whether a value has few parts. Looks at no more of them than that."""
    parts = [value]
    for part in parts:
        if isinstance(part, Mapping):
            parts += itertools.islice((one for pair in part.items() for one in pair), _MAX_SHOWN_PARTS)
        elif isinstance(part, list | tuple):
            parts += part[:_MAX_SHOWN_PARTS]
        if len(parts) > _MAX_SHOWN_PARTS or (isinstance(part, str) and len(part) > _MAX_SHOWN_CHARS):
            return False
        # A number's memory: to count the digits of a long one would take as long as to write them.
        if isinstance(part, int | Decimal) and part.__sizeof__() > _MAX_NUMBER_BYTES:
            return False
    return True


def kind(value: object) -> str:
    """What a value is called in JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "an array"
        case Mapping():
            return "an object"
    return f"a Python {type(value).__name__}"


class _TooDeepError(Exception):
    """Nested deeper than the limit: nothing below is looked at."""


class _Reader:
    """Reads one filter and gathers its faults."""

    def __init__(self, max_depth: int | None) -> None:
        self._max_depth = max_depth
        self._faults: list[FieldError] = []

    def read(self, filter: object) -> Group:
        if not isinstance(filter, Mapping):
            raise InvalidInputError.at(
                msg=f'expected an object such as {{"data": {{"amount": {{"$gt": 100}}}}}}, got {kind(filter)}'
            )
        try:
            found = self._object(filter, (), on_event=True)
        except _TooDeepError:
            most = self._max_depth or 0
            fault = FieldError((), f"nested too deeply; a filter has at most {most} levels")
            raise LimitExceededError([fault], limit="filter_depth", maximum=most) from None
        if self._faults:
            raise InvalidInputError(self._faults[:_MAX_FAULTS])
        return found

    def _fault(self, loc: Loc, msg: str) -> None:
        self._faults.append(FieldError(tuple(_short(step) for step in loc), msg))

    def _condition(self, value: object, loc: Loc, *, on_event: bool = False) -> Condition:
        match value:
            case Mapping():
                return self._object(value, loc, on_event=on_event)
            case _ if on_event:  # an event is an object: nothing else can be asked of it
                self._fault(loc, f"expected an object with {_listed(EVENT_FIELDS)}, got {kind(value)}")
                return Items(())
            case list() | tuple():
                self._go_down(loc)
                if not value:
                    msg = 'an empty array asks for nothing; for an array without elements write {"$eq": []}'
                    self._fault(loc, msg)
                return Items(tuple(self._condition(one, (*loc, n)) for n, one in enumerate(value)))
        self._check_value(value, loc)
        return Group(False, (), (Test("$eq", value),), ())

    def _object(self, value: Mapping[Any, Any], loc: Loc, *, on_event: bool) -> Group:
        self._go_down(loc)
        fields: list[tuple[str, Condition]] = []
        tests: list[Test] = []
        whole: list[Test | Logic] = []
        for name, inner in value.items():
            at = (*loc, name if isinstance(name, str) else str(name))
            if not isinstance(name, str) or _SURROGATE.search(name):
                self._fault(at, "is no name: a string is expected")
            elif not name.startswith("$"):
                if on_event and name not in EVENT_FIELDS:
                    self._fault(at, _no_field(name))
                fields.append((name, self._condition(inner, at)))
            elif name in LOGIC:
                whole.append(self._logic(name, inner, at, on_event=on_event))
            elif name in _OPERANDS:
                if on_event:
                    self._fault(at, f"compares a value: write it below {_listed(EVENT_FIELDS)}")
                self._check_operand(name, inner, at)
                operand = list(inner) if isinstance(inner, tuple) else inner
                (tests if name in TESTS else whole).append(Test(name, operand))
            else:
                self._fault(at, f"is no operator; there are {', '.join([*TESTS, *WHOLE, *LOGIC])}")
        if fields and (tests or any(isinstance(one, Test) for one in whole)):
            self._fault(loc, "has both operators and fields: put them into two conditions under $and")
        return Group(bool(fields) or not (tests or whole), tuple(fields), tuple(tests), tuple(whole))

    def _logic(self, name: str, inner: object, loc: Loc, *, on_event: bool) -> Logic:
        if name == "$not":
            return Logic(name, (self._condition(inner, loc, on_event=on_event),))
        if not isinstance(inner, list | tuple) or not inner:
            self._fault(loc, f"expected an array of conditions, got {_described(inner)}")
            return Logic(name, ())
        self._go_down(loc)
        conditions = [self._condition(one, (*loc, n), on_event=on_event) for n, one in enumerate(inner)]
        return Logic(name, tuple(conditions))

    def _check_operand(self, operator: str, operand: object, loc: Loc) -> None:
        expected, is_good = _OPERANDS[operator]
        if not is_good(operand):
            self._fault(loc, f"expected {expected}, got {_described(operand)}")
        else:
            self._check_value(operand, loc)

    def _check_value(self, value: object, loc: Loc) -> None:
        """A value to compare with: any JSON, of which Python may hold what JSON cannot."""
        match value:
            case str():
                if _SURROGATE.search(value):
                    self._fault(loc, "has a lone surrogate, which is no character")
            case None | bool():
                pass
            case int():
                if value.bit_length() > MAX_BITS:
                    self._fault(loc, "is too large a number")
            case float() if not math.isfinite(value):
                self._fault(loc, "is no number of JSON")
            case float():
                pass
            case Decimal():
                if not value.is_finite() or Decimal(repr(float(value))) != value:
                    msg = "has more digits than a number with a fraction or exponent can have here (about 15)"
                    self._fault(loc, msg)
            case list() | tuple():
                self._go_down(loc)
                for number, one in enumerate(value):
                    self._check_value(one, (*loc, number))
            case Mapping():
                self._go_down(loc)
                for name, one in value.items():
                    if not isinstance(name, str) or _SURROGATE.search(name):
                        self._fault(loc, f"has the name {name!r}, which is no string of JSON")
                    else:
                        self._check_value(one, (*loc, name))
            case _:
                self._fault(loc, f"expected a JSON value, got {kind(value)}")

    def _go_down(self, loc: Loc) -> None:
        # Every step of the location but the last is one object or array around this one.
        if self._max_depth is not None and len(loc) >= self._max_depth:
            raise _TooDeepError


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bool | int | float | Decimal)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list_of(is_good: Callable[[object], bool], value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(is_good, value))


def _is_ordered(value: object) -> bool:
    return isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return _is_text(value) or _is_list_of(_is_text, value)


def _is_members(value: object) -> bool:
    return _is_text(value) or _is_list_of(_is_scalar, value)


_ORDERED: Final = ("a number or a string", _is_ordered)
_TEXTS: Final = ("a string or an array of strings", _is_texts)
_MEMBERS: Final = ("an array of strings, numbers, booleans or null (or one string)", _is_members)
_OPERANDS: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "$eq": ("a JSON value", lambda _: True),
    "$neq": ("a JSON value", lambda _: True),
    "$gt": _ORDERED,
    "$gte": _ORDERED,
    "$lt": _ORDERED,
    "$lte": _ORDERED,
    "$in": _MEMBERS,
    "$nin": _MEMBERS,
    "$startsWith": _TEXTS,
    "$endsWith": _TEXTS,
    "$contains": ("a string, a number, a boolean or null", _is_scalar),
    "$exist": ("true or false", lambda value: isinstance(value, bool)),
}


def _no_field(name: str) -> str:
    fields = _listed(EVENT_FIELDS)
    first, dot, _ = name.partition(".")
    if dot and first == "data":
        return f"is no field of an event ({fields}); nested fields are nested objects, not dots"
    return f'is no field of an event ({fields}); did you mean {{"data": {{"{_short(name)}": ...}}}}?'


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _described(value: object) -> str:
    if isinstance(value, list | tuple):
        return (
            "an empty array" if not value else f"an array with {', '.join(dict.fromkeys(map(kind, value)))}"
        )
    return kind(value)


def _short(step: str | int) -> str | int:
    return step if isinstance(step, int) or len(step) <= _MAX_SHOWN_CHARS else step[:_MAX_SHOWN_CHARS] + "..."
