"""Which event types a subscription wants: asked at fan-out, once per endpoint of the tenant for every event.

A matcher is compiled when a subscription is read and asked very often, so the common patterns cost one
look-up (exact names) or one prefix comparison (``order.*``); only a ``*`` before the end needs a regular
expression. All of them take time linear in the name, whatever a stranger's pattern looks like.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import FieldError, InvalidInputError
from ..model.limits import Limits
from ..model.subscription import MAX_PATTERNS, is_pattern

_RULE: Final = "dot-separated segments of A-Z a-z 0-9 _, each of which may be * instead"


@dataclass(frozen=True, slots=True)
class Matcher:
    """Compiled patterns; made by `compile_patterns`."""

    everything: bool
    exact: frozenset[str]
    prefixes: tuple[str, ...]
    regex: re.Pattern[str] | None

    def matches(self, type: str) -> bool:
        """Whether any of the patterns matches this event type (which is taken to be a legal name)."""
        return (
            self.everything
            or type in self.exact
            or type.startswith(self.prefixes)
            or (self.regex is not None and self.regex.fullmatch(type) is not None)
        )


def compile_patterns(patterns: Iterable[str]) -> Matcher:
    """One matcher for all of these patterns; without any pattern it matches nothing.

    ``*`` as the last segment matches one or more segments, elsewhere exactly one; ``*`` alone is everything
    (docs/reference/glossary.md).

    Raises:
        InvalidInputError: a pattern is malformed; its place in ``patterns`` is the location.
    """
    everything = False
    exact: set[str] = set()
    prefixes: set[str] = set()
    others: set[str] = set()
    for index, pattern in enumerate(patterns):
        if not is_pattern(pattern):
            raise InvalidInputError.at(index, msg=_fault(pattern, Limits().pattern_chars))
        if "*" not in pattern:
            exact.add(pattern)
        elif pattern == "*":
            everything = True
        elif pattern.index("*") == len(pattern) - 1:
            prefixes.add(pattern[:-1])
        else:
            others.add(_expression(pattern))
    regex = re.compile("|".join(sorted(others))) if others else None
    return Matcher(everything, frozenset(exact), tuple(sorted(prefixes)), regex)


def check_patterns(patterns: Sequence[str], limits: Limits) -> list[FieldError]:
    """Every fault in a subscription's patterns, located by index; an empty list means that they are good."""
    if not patterns:
        return [FieldError((), "name at least one event type or pattern (* alone is everything)")]
    if len(patterns) > MAX_PATTERNS:
        return [FieldError((), f"{len(patterns)} patterns; a subscription has at most {MAX_PATTERNS}")]
    return [
        FieldError((index,), _fault(pattern, limits.pattern_chars))
        for index, pattern in enumerate(patterns)
        if not is_pattern(pattern, limits.pattern_chars)
    ]


def _expression(pattern: str) -> str:
    # Neighbouring pieces never match the same character (a segment has no dot), so nothing can backtrack.
    *segments, last = pattern.split(".")
    pieces = ["[^.]+" if segment == "*" else segment for segment in segments]
    return r"\.".join([*pieces, ".+" if last == "*" else last])


def _fault(pattern: str, max_chars: int) -> str:
    if len(pattern) > max_chars:
        return f"the pattern has {len(pattern)} characters; at most {max_chars} are allowed"
    return f"{pattern!r} is no event-type pattern: {_RULE}"
