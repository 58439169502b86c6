"""The form of filters: what is accepted becomes plain JSON, every fault is named at its place."""

import math
from decimal import Decimal
from typing import Any

import pytest

from tellwire.errors import InvalidInputError, LimitExceededError
from tellwire.model.limits import Limits
from tellwire.policy.filter_syntax import check_filter

LIMITS = Limits()


def faults(filter: object, limits: Limits = LIMITS) -> list[tuple[str | int, ...]]:
    """Where the faults of a filter are."""
    with pytest.raises(InvalidInputError) as caught:
        check_filter(filter, limits)
    return [fault.loc for fault in caught.value.errors]


@pytest.mark.parametrize(
    ("filter", "loc"),
    [
        (None, ()),
        ([], ()),
        ("a", ()),
        ({"amount": 1}, ("amount",)),
        ({"data.amount": 1}, ("data.amount",)),
        ({"$gt": 1}, ("$gt",)),
        ({"$not": 5}, ("$not",)),
        ({"$not": {"amount": 1}}, ("$not", "amount")),
        ({"$or": [{"data": 1}, 5]}, ("$or", 1)),
        ({"$or": [{"amount": 1}]}, ("$or", 0, "amount")),
        ({"$or": []}, ("$or",)),
        ({"$and": {"data": 1}}, ("$and",)),
        ({"data": {"x": []}}, ("data", "x")),
        ({"data": {"x": {"$greater": 1}}}, ("data", "x", "$greater")),
        ({"data": {"x": {"$ref": "y"}}}, ("data", "x", "$ref")),
        ({"data": {"x": {"$gt": 1, "a": 1}}}, ("data", "x")),
        ({"data": {"x": {"$exist": True, "a": 1}}}, ("data", "x")),
        *[
            ({"data": {"x": {operator: operand}}}, ("data", "x", operator))
            for operator, operands in {
                "$gt": (None, True, [1], {"a": 1}),
                "$gte": (None,),
                "$lt": (False,),
                "$lte": ([],),
                "$in": (1, [], [[1]], [{}], {}, None),
                "$nin": (1, []),
                "$startsWith": (1, [], [1], ["a", 1], None),
                "$endsWith": (1, []),
                "$contains": (["a"], {}),
                "$exist": (1, "true", None),
                "$and": ([], "a", {}),
                "$or": ([], "a", None),
                "$eq": (math.nan, math.inf, b"x", object(), "\ud800", 1 << 5000, {1: 1}, Decimal("nan")),
            }.items()
            for operand in operands
        ],
        ({"data": {"x": Decimal("0.10000000000000000001")}}, ("data", "x")),
        ({"data": {"x": Decimal("1e999999")}}, ("data", "x")),
        ({"data": {"x": {"$eq": [1, {"a": b""}]}}}, ("data", "x", "$eq", 1, "a")),
        ({"data": {1: 1}}, ("data", "1")),
        ({"data": {"x" * 100: {"$gt": None}}}, ("data", "x" * 64 + "...", "$gt")),
    ],
)
def test_fault_is_named_at_its_place(filter: object, loc: tuple[str | int, ...]) -> None:
    """What is no filter is refused, with the one place where it is wrong."""
    assert faults(filter) == [loc]


def test_every_fault_is_named_up_to_a_bound() -> None:
    """All faults come at once, but no more than twenty."""
    assert faults({"amount": 1, "data": {"a": {"$gt": None}, "b": {"$x": 1}}}) == [
        ("amount",),
        ("data", "a", "$gt"),
        ("data", "b", "$x"),
    ]
    assert len(faults({"data": {f"x{n}": {"$gt": None} for n in range(100)}})) == 20


def test_hints_help() -> None:
    """Who forgets ``data``, or writes dots, is told how it is written."""
    with pytest.raises(InvalidInputError, match=r'did you mean \{"data": \{"amount": \.\.\.\}\}'):
        check_filter({"amount": 1}, LIMITS)
    with pytest.raises(InvalidInputError, match="nested fields are nested objects, not dots"):
        check_filter({"data.amount": 1}, LIMITS)


def test_what_is_accepted_is_plain_json() -> None:
    """Tuples become arrays, decimals numbers; everything else stays as it is."""
    filter = {"data": {"x": {"$in": ("a", 2**70, Decimal("0.1"), Decimal(5), None)}, "y": {"$eq": (1,)}}}
    assert check_filter(filter, LIMITS) == {
        "data": {"x": {"$in": ["a", 2**70, 0.1, 5, None]}, "y": {"$eq": [1]}}
    }


@pytest.mark.parametrize(
    ("filter", "depth"),
    [
        ({}, 1),
        ({"data": {"amount": {"$gt": 1}}}, 3),
        ({"$or": [{"data": {"x": 1}}]}, 4),
        ({"data": {"$not": {"a": 1}}}, 3),
        ({"data": {"x": [[1]]}}, 4),
        ({"data": {"x": {"$eq": {"a": [1]}}}}, 5),
        ({"data": {"x": {"$in": [1]}}}, 4),
    ],
)
def test_depth_counts_objects_and_arrays(filter: dict[str, Any], depth: int) -> None:
    """As deep as the limit is accepted, one level more is not."""
    check_filter(filter, Limits(filter_depth=depth))
    if depth > 1:
        with pytest.raises(LimitExceededError) as caught:
            check_filter(filter, Limits(filter_depth=depth - 1))
        assert (caught.value.limit, caught.value.maximum) == ("filter_depth", depth - 1)


def test_size_counts_bytes_of_compact_json() -> None:
    """As large as the limit is accepted, one byte more is not."""
    filter = {"data": {"x": "ä" * 100}}
    size = len('{"data":{"x":""}}') + 200
    check_filter(filter, Limits(filter_bytes=size))
    with pytest.raises(LimitExceededError) as caught:
        check_filter(filter, Limits(filter_bytes=size - 1))
    assert (caught.value.limit, caught.value.maximum) == ("filter_bytes", size - 1)


def test_a_filter_without_end_is_refused() -> None:
    """Python values that contain themselves are too deep, like all others."""
    filter: dict[str, Any] = {}
    filter["data"] = filter
    with pytest.raises(LimitExceededError):
        check_filter({"data": filter}, LIMITS)
