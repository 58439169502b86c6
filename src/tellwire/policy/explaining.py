"""Why a filter matches an event, or why not: for people who write filters, never on the way of an event.

Goes through the same conditions as ``filtering`` does, step by step instead of compiled, and says of each what was
found.
"""

from typing import Any, Final

import msgspec

from .filter_syntax import Condition, Group, Items, Logic, Test, kind, shown
from .filtering import MISSING, STEPS, Ask, Filter, Meter, SpentError, allowance, compiled, compiled_test

MAX_REASONS: Final = 50

_WORDS: Final = {
    "$eq": ("is", "is not"),
    "$neq": ("is not", "is"),
    "$gt": ("is greater than", "is not greater than"),
    "$gte": ("is at least", "is less than"),
    "$lt": ("is less than", "is not less than"),
    "$lte": ("is at most", "is greater than"),
    "$in": ("is one of", "is none of"),
    "$nin": ("is none of", "is one of"),
    "$startsWith": ("starts with", "does not start with"),
    "$endsWith": ("ends with", "does not end with"),
    "$contains": ("contains", "does not contain"),
}
_ORDERED: Final = ("$gt", "$gte", "$lt", "$lte")


class Reason(msgspec.Struct, frozen=True):
    """One condition, asked of the value at ``path`` in the event, and what came of it."""

    path: tuple[str | int, ...]
    condition: Any
    matches: bool
    msg: str


class Explanation(msgspec.Struct, frozen=True):
    """Whether a filter matches, and as ``reasons`` what was asked to find out (at most 50)."""

    matches: bool
    reasons: tuple[Reason, ...]


Path = tuple[str | int, ...]
Found = tuple[bool, list[Reason]]


def explain(filter: Filter, event: dict[str, Any]) -> Explanation:
    """Why this filter matches the event (from ``filtering.event_of``), or why not. Never raises."""
    meter = allowance()
    matches = filter.matches(event, meter)
    if meter[0] < 0:
        msg = f"takes more than {STEPS:,} steps: the event is taken to match"
        return Explanation(True, (Reason((), _json(filter.condition), True, msg),))
    return Explanation(matches, tuple(_Walk().walk(filter.condition, event, ())[1][:MAX_REASONS]))


class _Walk:
    """One explanation; counts its steps, so that it ends in time where the filter itself had stopped early."""

    def __init__(self) -> None:
        self._meter: Meter = allowance()

    def walk(self, condition: Condition, value: Any, path: Path) -> Found:
        """Whether the condition holds for the value, and why."""
        try:
            return (
                self._items(condition, value, path)
                if isinstance(condition, Items)
                else self._group(condition, value, path)
            )
        except SpentError:
            return False, [Reason(path, _json(condition), False, "was not asked: it would take too long")]

    def _group(self, group: Group, value: Any, path: Path) -> Found:
        lifts = isinstance(value, list) and (group.is_object or bool(group.tests))
        if lifts and not self._holds_itself(group, value):
            return self._elements(group, value, path)
        if group.is_object and not isinstance(value, dict):
            return False, [Reason(path, _json(group), False, f"{_found(value)} is no object")]
        found = [self._test(test, value, path) for test in group.tests]
        found += [self.walk(inner, value.get(name, MISSING), (*path, name)) for name, inner in group.fields]
        for one in group.whole:
            found.append(
                self._logic(one, value, path) if isinstance(one, Logic) else self._whole(one, value, path)
            )
        if not found:
            found = [(True, [Reason(path, _json(group), True, "is an object")])]
        return all(ok for ok, _ in found), [reason for _, reasons in found for reason in reasons]

    def _holds_itself(self, group: Group, value: list[Any]) -> bool:
        # No array is an object, so there are only operators to be asked.
        whole = compiled(Group(False, (), (), group.whole))
        return (
            not group.is_object
            and all(compiled_test(test)(value, self._meter) for test in group.tests)
            and whole(value, self._meter)
        )

    def _elements(self, group: Group, value: list[Any], path: Path) -> Found:
        ask = compiled(group)
        index = 0 if len(value) == 1 else self._first(ask, value)
        if index is not None:
            return self.walk(group, value[index], (*path, index))
        return False, [Reason(path, _json(group), False, f"none of the {len(value)} elements is so")]

    def _items(self, items: Items, value: Any, path: Path) -> Found:
        if not isinstance(value, list):
            return False, [Reason(path, _json(items), False, f"{_found(value)} is no array")]
        reasons: list[Reason] = []
        for condition in items.conditions:
            index = self._first(compiled(condition), value)
            at = path if index is None else (*path, index)
            msg = f"none of the {len(value)} elements is so" if index is None else "is so"
            reasons.append(Reason(at, _json(condition), index is not None, msg))
        return all(reason.matches for reason in reasons), reasons

    def _first(self, ask: Ask, value: list[Any]) -> int | None:
        for index, element in enumerate(value):
            self._meter[0] -= 1
            if self._meter[0] < 0:
                raise SpentError
            if ask(element, self._meter):
                return index
        return None

    def _test(self, test: Test, value: Any, path: Path) -> Found:
        ok = compiled_test(test)(value, self._meter)
        return ok, [_reason(test, value, path, ok)]

    def _whole(self, test: Test, value: Any, path: Path) -> Found:
        ok = compiled(Group(False, (), (), (test,)))(value, self._meter)
        if test.operator == "$exist":
            msg = "is not there" if value is MISSING else "is there"
            return ok, [Reason(path, _json(test), ok, msg)]
        return ok, [_reason(test, value, path, ok)]

    def _logic(self, logic: Logic, value: Any, path: Path) -> Found:
        if logic.operator == "$not":
            holds = compiled(logic.conditions[0])(value, self._meter)
            msg = "what must not be so is so" if holds else "what must not be so is not so"
            return not holds, [Reason(path, _json(logic), not holds, msg)]
        found = [self.walk(inner, value, path) for inner in logic.conditions]
        if logic.operator == "$or":
            for ok, reasons in found:
                if ok:
                    return True, reasons
        return all(ok for ok, _ in found), [reason for _, reasons in found for reason in reasons]


def _reason(test: Test, value: Any, path: Path, ok: bool) -> Reason:
    if value is MISSING:
        return Reason(path, _json(test), ok, "is not there")
    yes, no = _WORDS[test.operator]
    word = yes if ok else no
    if test.operator in _ORDERED and not ok and kind(value) != kind(test.operand):
        # Not less than a number, and not greater either.
        word = f"is {kind(value)}, which is never compared with"
    return Reason(path, _json(test), ok, f"{_found(value)} {word} {shown(test.operand)}")


def _found(value: Any) -> str:
    return "what is not there" if value is MISSING else shown(value)


def _json(condition: Condition | Test | Logic) -> Any:
    """A condition as it was written, or as it might have been."""
    match condition:
        case Items():
            return [_json(inner) for inner in condition.conditions]
        case Test():
            return {condition.operator: condition.operand}
        case Logic():
            inner = [_json(one) for one in condition.conditions]
            return {condition.operator: inner[0] if condition.operator == "$not" else inner}
    if len(condition.tests) == 1 and condition.tests[0].operator == "$eq" and not condition.whole:
        return condition.tests[0].operand
    made: dict[str, Any] = {name: _json(inner) for name, inner in condition.fields}
    for one in (*condition.tests, *condition.whole):
        made |= _json(one)
    return made
