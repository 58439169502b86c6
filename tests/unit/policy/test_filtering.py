"""Filters: what each operator means, and that no data can make one raise or last."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tellwire.policy.filtering import FEW_STEPS, STEPS, allowance, any_matches, compile_filter, event_of


def passes(filter: dict[str, Any], data: str, type: str = "order.paid", tenant: str = "default") -> bool:
    """Whether an event with this data passes."""
    return compile_filter(filter).matches(event_of(type, tenant, data.encode()), allowance())


def holds(condition: Any, value: str) -> bool:
    """Whether a condition holds for the field ``x``; an empty ``value`` is no field at all."""
    return passes({"data": {"x": condition}}, f'{{"x":{value}}}' if value else "{}")


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        ("a", ['"a"'], ['"A"', '"ab"', '""', "1", "null", "{}", ""]),
        (1, ["1", "1.0", "10e-1"], ["2", '"1"', "true", "1.0000000000000000000000001", ""]),
        (0, ["0", "-0", "-0.0", "0e9"], ["false", '""', "null", "[]", ""]),
        (0.1, ["0.1", "0.10", "1e-1"], ["0.1000000000000000055511151231257827", "0.1000000000000000000001"]),
        (2**64 + 1, ["18446744073709551617"], ["18446744073709551616", "18446744073709551617.5"]),
        (1e300, ["1e300", "1" + "0" * 300], ["1e301", "1" + "0" * 299 + "1"]),
        (True, ["true"], ["1", "false", '"true"', ""]),
        (False, ["false"], ["0", "null", ""]),
        (None, ["null"], ["0", "false", '""', "[]", "{}", ""]),
        ({"$eq": "a"}, ['"a"', '["b","a"]'], ['"b"', "[]"]),
        ({"$eq": []}, ["[]", "[[]]"], ["[1]", "{}", "null", ""]),
        ({"$eq": [1, {"a": True}]}, ['[1,{"a":true}]'], ["[1]", '[1,{"a":1}]', '[{"a":true},1]']),
        ({"$eq": {"a": 1}}, ['{"a":1.0}', '[{"a":1}]'], ['{"a":1,"b":2}', "{}", '{"b":1}']),
        ({"$neq": "a"}, ['"b"', "1", "null", '["b"]', "[]"], ['"a"', '["b","a"]', ""]),
        ({"$gt": 5}, ["5.000000000000000000000000000001", "6", "1e400", "[1,6]"],
         ["5", "5.0", "-6", '"6"', "true", "null", ""]),
        ({"$gt": 4.5}, ["5", "4.6"], ["4", "4.5"]),
        ({"$gt": -4.5}, ["-4", "-4.4"], ["-5", "-4.5"]),
        ({"$gte": 5}, ["5", "5.0", "7"], ["4", "4.99999999999999999999999", ""]),
        ({"$gte": 4.5}, ["5", "4.5"], ["4", "4.4"]),
        ({"$lt": 5}, ["4", "-1e400", "4.99999999999999999999999"], ["5", "5.0", "6", ""]),
        ({"$lt": 4.5}, ["4", "4.4"], ["5", "4.5"]),
        ({"$lte": 5}, ["5", "5.0", "4"], ["5.000000000000000000001", "6", ""]),
        ({"$lte": 4.5}, ["4", "4.5"], ["5", "4.6"]),
        ({"$gte": "2026-01-01", "$lt": "2026-02-01"}, ['"2026-01-31"'], ['"2026-02-01"', "2026", '"2025"']),
        ({"$gt": 1, "$lt": 5}, ["3", "[9,3]", "[[3]]"], ["[0,9]", "5"]),
        ({"$and": [{"$gt": 1}, {"$lt": 5}]}, ["3", "[0,9]"], ["9", "[5]"]),
        ({"$in": ["a", 1, None, True]}, ['"a"', "1.0", "null", "true", '["b",1]'], ['"b"', "2", "false", "[]", ""]),
        ({"$in": "bc"}, ['"abcd"', '["bc"]'], ['"b"', "1", ""]),
        ({"$nin": ["a", 1]}, ['"b"', "2", "true", "[]", '["b"]'], ['"a"', "1", '["b","a"]', ""]),
        ({"$nin": "bc"}, ['"b"', "1"], ['"abcd"', ""]),
        ({"$startsWith": "ab"}, ['"ab"', '"abc"', '["x","abc"]'], ['"cab"', '"a"', "1", ""]),
        ({"$startsWith": ["x", "ab"]}, ['"abc"', '"x"'], ['"b"', "null"]),
        ({"$endsWith": "ab"}, ['"ab"', '"cab"', '["cab"]'], ['"abc"', "1", ""]),
        ({"$endsWith": ["x", "ab"]}, ['"cab"', '"x"'], ['"b"']),
        ({"$contains": "b"}, ['"abc"', '["abc"]', '["b"]'], ['"a"', "1", '{"b":1}', ""]),
        ({"$contains": 1}, ["[2,1]", "1"], ['"1"', "[2]", "[true]", ""]),
        ({"$exist": True}, ["null", "0", "[]", "{}"], [""]),
        ({"$exist": False}, [""], ["null", "0", "[]"]),
        ({"$not": "a"}, ['"b"', "", "[]", '["b"]'], ['"a"', '["b","a"]']),
        ({"$not": {"$not": "a"}}, ['"a"', '["a"]'], ['"b"', ""]),
        ({"$gt": 1, "$not": {"$in": [2, 3]}}, ["4", "[2,5]"], ["2", "[2,3]", "1"]),
        ({"$or": ["a", {"$gt": 5}]}, ['"a"', "6", "[1,6]"], ['"b"', "5", ""]),
        ({"$or": ["a", {"$exist": False}]}, ['"a"', ""], ['"b"']),
        (["a"], ['["a"]', '["b","a"]', '[["a"]]'], ['"a"', "[]", ""]),
        (["a", {"$gt": 5}], ['["a",6]', '[6,"a"]'], ['["a"]', "[6]", '["b",6]']),
        ({}, ["{}", '{"a":1}', "[{}]"], ["1", "[]", "null", ""]),
        ({"a": 1}, ['{"a":1,"b":2}', '[{"a":2},{"a":1}]', '{"a":[1]}'], ['{"a":2}', "{}", "1", "[1]", ""]),
        ({"a": {"b": "c"}}, ['{"a":{"b":"c"}}', '[{"a":[{"b":"c"}]}]'], ['{"a.b":"c"}', '{"a":"c"}']),
        ({"a": 1, "b": 2}, ['{"a":1,"b":2}', '[{"a":1,"b":2}]'], ['[{"a":1},{"b":2}]', '{"a":1}']),
        ({"a": {"$exist": False}}, ["{}", '[{"a":1},{}]'], ['{"a":null}', "1", ""]),
        ({"a": {"$neq": 1}}, ['{"a":2}'], ['{"a":1}', "{}"]),
        ({"a": 1, "$not": {"b": 2}}, ['{"a":1}', '[{"a":1,"b":2},{"a":1}]'], ['{"a":1,"b":2}', "{}"]),
        ({"$or": [{"a": 1}, {"b": 2}]}, ['{"b":2}', '[{"b":2}]'], ['{"a":2}', "1"]),
    ],
)  # fmt: skip
def test_condition_holds_as_the_reference_says(condition: Any, yes: list[str], no: list[str]) -> None:
    """Each condition holds for these values of a field and not for those; nothing stands for no field."""
    assert [value for value in yes if not holds(condition, value)] == []
    assert [value for value in no if holds(condition, value)] == []


def test_type_and_tenant_are_looked_at_too() -> None:
    """A filter sees the type, the tenant and the data; all of it has to hold."""
    filter = {"type": {"$startsWith": "order."}, "tenant": "acme", "data": {"n": 1}}
    assert passes(filter, '{"n":1}', tenant="acme")
    assert not passes(filter, '{"n":2}', tenant="acme")
    assert not passes(filter, '{"n":1}', tenant="other")
    assert not passes(filter, '{"n":1}', type="invoice.paid", tenant="acme")
    assert passes({}, "{}")
    assert passes({"$or": [{"tenant": "a"}, {"data": {"n": 1}}]}, '{"n":1}')


@pytest.mark.parametrize(
    ("number", "greater", "zero"),
    [
        ("1e99999999999999999999", True, False),
        ("-1e99999999999999999999", False, False),
        ("1e-99999999999999999999", False, True),
        ("0e99999999999999999999", False, True),
        ("1e999999999999", True, False),
        ("9" * 4300, True, False),
    ],
)
def test_extreme_numbers_have_their_place(number: str, greater: bool, zero: bool) -> None:
    """Numbers that no machine computes with are still compared: as infinite, or as zero."""
    assert holds({"$gt": 5}, number) is greater
    assert holds({"$gte": 5.5}, number) is greater
    assert holds({"$in": [0, 5]}, number) is zero


def test_more_than_the_allowance_is_a_match() -> None:
    """An array of more elements than there are steps ends the filter: the event passes, whatever is in it."""
    few, many = (json.dumps([0] * length + [1]) for length in (STEPS - 10, STEPS + 10))
    for condition in (2, {"$not": 1}, [2], {"a": 1}, {"$nin": [1]}, {"$neq": 1}):
        assert not holds(condition, few)
        assert holds(condition, many)


def test_the_allowance_is_shared_by_the_filters_of_an_endpoint() -> None:
    """Filters that each stay within the allowance, but not together, are taken to match."""
    filters = [compile_filter({"data": {"x": n}}) for n in range(1, 6)]
    event = event_of("a", "b", json.dumps({"x": [0] * (STEPS // 4)}).encode())
    assert not any_matches(filters[:3], event)
    assert any_matches(filters, event)


def test_long_texts_cost_steps() -> None:
    """Text that is searched counts by its length."""
    text = json.dumps("a" * 100_000)
    assert not holds({"$contains": "b"}, text)
    assert passes({"data": {"$or": [{"x": {"$contains": "b"}}] * 20}}, f'{{"x":{text}}}')


def test_nested_arrays_and_negations_do_not_multiply() -> None:
    """Negation inside negation over arrays inside arrays is asked of each element once, within the allowance."""
    condition: Any = {"$gt": 0, "$lt": 1}
    for _ in range(5):
        condition = {"$gt": 0, "$not": condition}
    value = "[" * 60 + "0" + "]" * 60
    meter = allowance()
    filter = compile_filter({"data": {"x": condition}})
    assert not filter.matches(event_of("a", "b", f'{{"x":{value}}}'.encode()), meter)
    assert meter[0] > STEPS - 1000


def test_numbers_of_the_event_keep_their_digits() -> None:
    """Integers stay integers, all other numbers become decimals."""
    assert event_of("a", "b", b'{"x":[18446744073709551617,0.10]}')["data"] == {
        "x": [18446744073709551617, Decimal("0.10")]
    }


@pytest.mark.parametrize(
    ("condition", "value", "steps"),
    [
        ({"$eq": [0] * 100}, [[0] * 99 + [1]] * 10, 1000),
        ({"$eq": {f"x{n}": 0 for n in range(100)}}, [{f"x{n}": 1 for n in range(100)}] * 10, 1000),
        ({"$startsWith": ["a"] * 160}, ["b"] * 10, 100),
        ({"$endsWith": ["a"] * 160}, ["b"] * 10, 100),
        ({"$contains": "a"}, "b" * 32_000, 1000),
        ({"$or": [1, 2, 3]}, [0] * 100, 300),
    ],
)
def test_what_takes_longer_costs_more_steps(condition: Any, value: Any, steps: int) -> None:
    """Long operands and long values count by their length, so that a step takes about the same time everywhere."""
    meter = allowance()
    filter = compile_filter({"data": {"x": condition}})
    assert not filter.matches(event_of("a", "b", json.dumps({"x": value}).encode()), meter)
    assert steps <= STEPS - meter[0] <= 2.2 * steps + 20


def test_long_numbers_are_told_apart() -> None:
    """Numbers of thousands of digits are compared like any others, alone and in a list."""
    digits = "1" * 1000
    for condition in (int(digits), {"$in": [0, int(digits)]}, {"$not": {"$neq": int(digits)}}):
        assert holds(condition, digits)
        assert holds(condition, f"{digits}.0")
        assert not holds(condition, f"{digits}1")
        assert not holds(condition, f"{digits}.{digits}")
        assert not holds(condition, "1" * 4000)


def test_a_pool_that_is_spent_leaves_enough_for_ordinary_filters() -> None:
    """What filters take goes off the pool; after that, costly ones count as passed and ordinary ones decide."""
    costly, ordinary = (
        compile_filter({"data": {"x": {"$eq": 1}}}),
        compile_filter({"data": {"y": {"$gt": 2}}}),
    )
    event = event_of("a", "b", json.dumps({"x": [0] * 4 * FEW_STEPS, "y": 1}).encode())
    pool = [4 * FEW_STEPS]
    assert not any_matches([costly], event, pool)
    assert pool[0] <= 0
    assert any_matches([costly], event, pool)
    assert not any_matches([ordinary], event, pool)
