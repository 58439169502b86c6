"""Event-type patterns."""

import pytest

from tellwire.errors import InvalidInputError
from tellwire.model.limits import Limits
from tellwire.model.subscription import MAX_PATTERNS
from tellwire.policy.matching import check_patterns, compile_patterns


@pytest.mark.parametrize(
    ("patterns", "type", "expected"),
    [
        (["order.paid"], "order.paid", True),
        (["order.paid"], "order.paid.late", False),
        (["order.paid"], "order", False),
        (["order.*"], "order.paid", True),
        (["order.*"], "order.paid.late", True),
        (["order.*"], "order", False),
        (["order.*"], "orders.paid", False),
        (["*"], "order", True),
        (["*"], "order.paid.late", True),
        (["*.paid"], "order.paid", True),
        (["*.paid"], "shop.order.paid", False),
        (["*.paid"], "paid", False),
        (["*.*"], "order", False),
        (["*.*"], "order.paid", True),
        (["*.*"], "order.paid.late", True),
        (["shop.*.paid"], "shop.order.paid", True),
        (["shop.*.paid"], "shop.order.late.paid", False),
        (["shop.*.*"], "shop.order", False),
        (["shop.*.*"], "shop.order.paid.late", True),
        (["a", "b.*", "*.c"], "x.c", True),
        (["a", "b.*", "*.c"], "x.d", False),
        (["Order"], "order", False),
        ([], "order", False),
    ],
)
def test_patterns_match_by_segment(patterns: list[str], type: str, expected: bool) -> None:
    """A star is one segment, at the end one or more, alone everything; letters count as they are written."""
    assert compile_patterns(patterns).matches(type) is expected


@pytest.mark.parametrize(
    "pattern", ["", ".", "a.", ".a", "a..b", "a*", "*a", "**", "a-b", "ä", "a.*\n", "a" * 129]
)
def test_malformed_patterns_are_refused(pattern: str) -> None:
    """What is no pattern is named with its place, by the check and by the compiler."""
    assert [fault.loc for fault in check_patterns(["a", pattern], Limits())] == [(1,)]
    with pytest.raises(InvalidInputError) as caught:
        compile_patterns(["a", pattern])
    assert caught.value.errors[0].loc == (1,)


def test_a_long_pattern_is_told_its_limit() -> None:
    """The message for a long pattern names both lengths."""
    (fault,) = check_patterns(["abcd"], Limits(pattern_chars=3))
    assert "4 characters" in fault.msg
    assert "at most 3" in fault.msg


def test_a_subscription_needs_patterns_but_not_too_many() -> None:
    """No pattern and too many patterns are one fault each, of the list as a whole."""
    assert [fault.loc for fault in check_patterns([], Limits())] == [()]
    assert [fault.loc for fault in check_patterns(["a"] * (MAX_PATTERNS + 1), Limits())] == [()]
    assert check_patterns(["a"] * MAX_PATTERNS, Limits()) == []


def test_a_hostile_pattern_costs_no_time() -> None:
    """Many stars against a long name that does not match end at once, because nothing backtracks."""
    matcher = compile_patterns([".".join(["*"] * 60 + ["x"])])
    assert not matcher.matches(".".join(["a"] * 64))
