"""Filters agree with a slow reading of the reference, for every filter and every event; and none ever raises."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tellwire.errors import InvalidInputError
from tellwire.model.limits import Limits
from tellwire.policy.explaining import explain
from tellwire.policy.filter_syntax import check_filter
from tellwire.policy.filtering import allowance, compile_filter, event_of

LIMITS = Limits(filter_bytes=100_000, filter_depth=32)
NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "a", "b", "ab", "ba", "aba", "B", "\U0001f600", "é"])
NUMBERS = st.one_of(
    st.integers(-2, 2), st.sampled_from([0.5, -0.5, 1.0, 1.5, 2e0, 1e22, 10**22, 2**64, 2**64 + 1, 1e-300])
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)
ORDERED = st.one_of(NUMBERS, TEXTS)
SOME_TEXTS = st.one_of(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
MEMBERS = st.one_of(TEXTS, st.lists(SCALARS, min_size=1, max_size=3))
OPERATORS: dict[str, st.SearchStrategy[Any]] = {
    "$eq": VALUES, "$neq": VALUES, "$gt": ORDERED, "$gte": ORDERED, "$lt": ORDERED, "$lte": ORDERED,
    "$in": MEMBERS, "$nin": MEMBERS, "$startsWith": SOME_TEXTS, "$endsWith": SOME_TEXTS, "$contains": SCALARS,
    "$exist": st.booleans(),
}  # fmt: skip


def _conditions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    logic = st.fixed_dictionaries({}, optional={"$and": several, "$or": several, "$not": inner})
    fields = st.dictionaries(NAMES, inner, max_size=3)
    operators = st.fixed_dictionaries({}, optional=OPERATORS)
    return st.one_of(
        several,
        st.tuples(fields, logic).map(lambda pair: pair[0] | pair[1]),
        st.tuples(operators, logic).map(lambda pair: pair[0] | pair[1]),
    )


CONDITIONS = st.recursive(
    st.one_of(SCALARS, st.fixed_dictionaries({}, optional=OPERATORS)), _conditions, max_leaves=8
)
FILTERS = st.recursive(
    st.fixed_dictionaries({}, optional={"type": CONDITIONS, "tenant": CONDITIONS, "data": CONDITIONS}),
    lambda inner: st.fixed_dictionaries(
        {"data": CONDITIONS},
        optional={"$and": st.lists(inner, min_size=1, max_size=2), "$or": st.lists(inner, min_size=1, max_size=2),
                  "$not": inner},
    ),
    max_leaves=4,
)  # fmt: skip
DATA = st.dictionaries(NAMES, VALUES, max_size=3)

NOTHING = object()


# The reference: the sentences of docs/reference/filters.md one after the other, without a thought for speed. Values are
# told apart by kind and compared as fractions.


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "number"
    return type(value).__name__


def amount(number: Any) -> Fraction:
    return Fraction(Decimal(repr(number)) if isinstance(number, float) else number)


def equal(one: Any, other: Any) -> bool:
    if kind(one) != kind(other):
        return False
    if kind(one) == "number":
        return amount(one) == amount(other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return bool(one == other)


def below(one: Any, other: Any) -> bool:
    if kind(one) != kind(other) or kind(one) not in ("number", "str"):
        return False
    return bool(amount(one) < amount(other) if kind(one) == "number" else one < other)


def one_operator(operator: str, operand: Any, value: Any) -> bool:
    """What an operator says of a value that is there, itself and not of its elements."""
    texts = operand if isinstance(operand, list) else [operand]
    match operator:
        case "$eq":
            return equal(value, operand)
        case "$gt":
            return below(operand, value)
        case "$gte":
            return below(operand, value) or (kind(operand) == kind(value) and equal(value, operand))
        case "$lt":
            return below(value, operand)
        case "$lte":
            return below(value, operand) or equal(value, operand)
        case "$in" if isinstance(operand, list):
            return any(equal(value, one) for one in operand)
        case "$in" | "$contains":
            return equal(value, operand) or (
                isinstance(value, str) and isinstance(operand, str) and operand in value
            )
        case "$startsWith":
            return isinstance(value, str) and any(value[: len(one)] == one for one in texts)
        case "$endsWith":
            return isinstance(value, str) and any(value[::-1][: len(one)] == one[::-1] for one in texts)
    raise AssertionError(operator)


def of_element(operator: str) -> bool:
    return operator not in ("$neq", "$nin", "$exist", "$and", "$or", "$not")


def holds(condition: Any, value: Any) -> bool:
    if isinstance(condition, list):
        return isinstance(value, list) and all(
            any(holds(one, element) for element in value) for one in condition
        )
    if not isinstance(condition, dict):
        return holds({"$eq": condition}, value)
    if itself(condition, value):
        return True
    says_what = not condition or any(of_element(name) for name in condition)
    return says_what and isinstance(value, list) and any(holds(condition, element) for element in value)


def itself(condition: dict[str, Any], value: Any) -> bool:
    asks_fields = not condition or any(not name.startswith("$") for name in condition)
    if asks_fields and not isinstance(value, dict):
        return False
    return all(member(name, inner, value) for name, inner in condition.items())


def member(name: str, inner: Any, value: Any) -> bool:
    match name:
        case "$and":
            return all(holds(one, value) for one in inner)
        case "$or":
            return any(holds(one, value) for one in inner)
        case "$not":
            return not holds(inner, value)
        case "$exist":
            return (value is not NOTHING) is bool(inner)
        case "$neq":
            return value is not NOTHING and not holds({"$eq": inner}, value)
        case "$nin":
            return value is not NOTHING and not holds({"$in": inner}, value)
    if name.startswith("$"):
        return value is not NOTHING and one_operator(name, inner, value)
    return holds(inner, value.get(name, NOTHING))


@given(FILTERS, DATA, st.sampled_from(["a", "a.b", "b"]), st.sampled_from(["a", "b"]))
def test_agrees_with_the_reference(
    filter: dict[str, Any], data: dict[str, Any], type: str, tenant: str
) -> None:
    """Compiled, explained and read slowly, a filter says the same; and the same again when it is compiled again."""
    plain = check_filter(filter, LIMITS)
    assert check_filter(plain, LIMITS) == plain
    expected = holds(filter, {"type": type, "tenant": tenant, "data": data})
    event = event_of(type, tenant, json.dumps(data).encode())
    compiled, again = compile_filter(plain), compile_filter(plain)
    assert compiled.matches(event, allowance()) is expected
    assert again.matches(event, allowance()) is expected
    assert (compiled.condition, compiled.size) == (again.condition, again.size)
    explanation = explain(compiled, event)
    assert explanation.matches is expected
    assert all(reason.msg for reason in explanation.reasons)
    if not expected:
        assert any(not reason.matches for reason in explanation.reasons)


ANY_NAMES = st.one_of(st.sampled_from([*OPERATORS, "$and", "$or", "$not", "a"]), st.text())
ANY_JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(ANY_NAMES, inner, max_size=4),
    ),
    max_leaves=30,
)


@given(ANY_JSON, st.dictionaries(st.text(), ANY_JSON, max_size=4))
def test_any_json_is_a_filter_or_a_fault(anything: Any, data: dict[str, Any]) -> None:
    """Whatever was sent is refused or can be asked of any event, as a whole filter and as a condition on the data."""
    event = event_of("a.b", "default", json.dumps(data).encode())
    for filter in (anything, {"data": anything}, {"data": {"a": anything}}):
        try:
            plain = check_filter(filter, Limits())
        except InvalidInputError:
            continue
        compiled = compile_filter(plain)
        assert explain(compiled, event).matches is compiled.matches(event, allowance())


@given(filters=st.lists(FILTERS, min_size=1, max_size=3), data=DATA, first=st.booleans())
def test_large_data_is_read_only_where_filters_look(
    filters: list[dict[str, Any]], data: dict[str, Any], first: bool
) -> None:
    """What is skipped changes nothing."""
    compiled = []
    for filter in filters:
        try:
            compiled.append(compile_filter(check_filter(filter, LIMITS)))
        except InvalidInputError:
            continue
    rest = {"rest": "x" * 9_000}
    text = json.dumps(rest | data if first else data | rest).encode()
    whole, read = event_of("a", "b", text), event_of("a", "b", text, compiled)
    assert [one.matches(read, allowance()) for one in compiled] == [
        one.matches(whole, allowance()) for one in compiled
    ]
