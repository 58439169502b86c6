"""Matching agrees with the sentence in the contract, for every pattern and every name."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.model.event import is_type_name
from tellwire.model.limits import Limits
from tellwire.policy.matching import check_patterns, compile_patterns

SEGMENT = st.sampled_from(["a", "b", "ab", "A", "_", "0"])
NAMES = st.lists(SEGMENT, min_size=1, max_size=6).map(".".join)
PATTERNS = st.lists(st.one_of(SEGMENT, st.just("*")), min_size=1, max_size=6).map(".".join)


def matches_by_the_book(pattern: str, name: str) -> bool:
    """The rule word by word: ``*`` as the last segment is one or more segments, elsewhere exactly one."""
    parts, segments = pattern.split("."), name.split(".")
    if parts[-1] == "*":
        if len(segments) < len(parts):
            return False
        parts, segments = parts[:-1], segments[: len(parts) - 1]
    return len(parts) == len(segments) and all(
        part in ("*", segment) for part, segment in zip(parts, segments, strict=True)
    )


@given(st.lists(PATTERNS, max_size=5), NAMES)
def test_any_of_the_patterns_suffices(patterns: list[str], name: str) -> None:
    """A matcher matches exactly where one of its patterns does by the book."""
    expected = any(matches_by_the_book(pattern, name) for pattern in patterns)
    assert compile_patterns(patterns).matches(name) is expected


@given(NAMES)
def test_a_name_is_a_pattern_of_itself(name: str) -> None:
    """Every type name is a pattern, and it matches that name."""
    assert is_type_name(name)
    assert check_patterns([name], Limits()) == []
    assert compile_patterns([name]).matches(name)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_a_fault(text: str) -> None:
    """Whatever was typed is either compiled or named as a fault, never both and never an accident."""
    if not check_patterns([text], Limits()):
        compile_patterns([text]).matches("order.paid")
