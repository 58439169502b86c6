"""Why a filter matches, or why not."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tellwire.policy.explaining import MAX_REASONS, explain
from tellwire.policy.filter_syntax import shown
from tellwire.policy.filtering import STEPS, compile_filter, event_of


def told(condition: Any, data: Any) -> tuple[bool, list[tuple[str, bool]]]:
    """Whether a condition on the data matches, and the reasons: where, and whether it is fulfilled."""
    event = event_of("order.paid", "default", json.dumps(data).encode())
    found = explain(compile_filter({"data": condition}), event)
    return found.matches, [(".".join(map(str, one.path)), one.matches) for one in found.reasons]


def test_every_condition_is_told_where_all_must_hold() -> None:
    """Of conditions that stand beside each other, those that are fulfilled are told as well as those that are not."""
    assert told({"a": 1, "b": 2}, {"a": 1}) == (False, [("data.a", True), ("data.b", False)])


def test_the_alternative_that_holds_is_told_alone() -> None:
    """Where one of several suffices, the first that holds is the reason; where none does, all of them are."""
    condition = {"$or": [{"a": 1}, {"b": 2}]}
    assert told(condition, {"b": 2}) == (True, [("data.b", True)])
    assert told(condition, {"b": 3}) == (False, [("data.a", False), ("data.b", False)])


def test_the_element_that_decides_is_told() -> None:
    """In an array, the path leads to the element that fulfils the condition, or to the only one there is."""
    condition = {"items": {"sku": "b", "n": {"$gt": 1}}}
    items = [{"sku": "a", "n": 5}, {"sku": "b", "n": 2}]
    assert told(condition, {"items": items}) == (True, [("data.items.1.sku", True), ("data.items.1.n", True)])
    assert told(condition, {"items": items[:1]}) == (
        False,
        [("data.items.0.sku", False), ("data.items.0.n", True)],
    )
    assert told(condition, {"items": [*items[:1], {}]}) == (False, [("data.items", False)])
    assert told({"tags": ["a", "b"]}, {"tags": ["b", "c"]}) == (
        False,
        [("data.tags", False), ("data.tags.0", True)],
    )


def test_reasons_are_bounded() -> None:
    """However many conditions there are, the reasons are few; and using up the allowance is one."""
    assert len(told({f"x{n}": 1 for n in range(100)}, {})[1]) == MAX_REASONS
    assert told({"x": 2}, {"x": [1] * (STEPS + 1)}) == (True, [("", True)])


def test_an_explanation_ends_in_time() -> None:
    """It asks more than the filter did, which stopped at the first fault; what would take too long is left out."""
    event = event_of("order.paid", "default", json.dumps({"x": [[1] * 50] * (STEPS // 2)}).encode())
    found = explain(compile_filter({"data": {"y": 1, "x": {"$or": [2, 3, 4]}}}), event)
    assert found.matches is False
    assert [reason.msg for reason in found.reasons] == [
        "is not there",
        *["was not asked: it would take too long"] * 3,
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, {"a": "b"}], '[1,{"a":"b"}]'),
        ([[1] * 100] * 2, "an array"),
        ({"a": "y" * 1000}, "an object"),
        ("y" * 1000, '"' + "y" * 60 + "..."),
        (int("9" * 4000), "a number"),
        (Decimal("1." + "1" * 4000), "a number"),
        (Decimal("0.10"), "0.10"),
        (object(), "<object"),
    ],
)
def test_large_values_are_not_written_out(value: object, text: str) -> None:
    """Small values are shown as JSON, of large ones only what they are."""
    assert shown(value).startswith(text)
    assert len(shown(value)) <= 64
