"""Schemas of event data: JSON Schema 2020-12, compiled once and asked of data (docs/reference/event-types.md).

Before the life of an event begins, where the catalogue checks its examples; and at fan-out, for those types alone that
ask for it. Nothing is fetched: a schema refers to itself only. Patterns are matched in linear time. What a schema may
cost is bounded before it is stored (``schema_cost``), and what data may cost by a schema before it is checked: while
one event is checked, nothing else is done in this process.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tellwire.errors import FieldError, InvalidInputError

from .schema_cost import MOST_STEPS, cost_of

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MOST_LEVELS: Final = 64
"""Of the data that a schema may be asked of, and of a schema itself."""
_MOST_FAULTS: Final = 10
_MOST_CHARS: Final = 200
_MOST_STEPS: Final = 8
_ALL_TOLD: Final = 20_000
"""Up to so many steps all faults are looked for: each takes some 30 us, and there may be one for each step."""
ALLOWED: Final = 2_000_000
"""Up to so many steps data is checked at all: each takes less than a microsecond. Beyond, it is refused at once."""
ALLOWED_TOGETHER: Final = 8_000_000
"""And so are the events of one request."""
_PATTERN_BYTES: Final = 256 * 1024
"""A compiled pattern; the larger it is, the longer each character of the data may take."""


class Schema:
    """A compiled schema."""

    def __init__(self, validator: "Draft202012Validator", cost: int) -> None:
        """Made by ``compile_schema``."""
        self._validator = validator
        self._cost = cost

    def faults(self, data: Any) -> list[FieldError]:
        """Where ``data`` does not fit, and why: at most ten places; none where it fits."""
        return self.faults_of(json.dumps(data, ensure_ascii=False).encode())

    def steps(self, text: bytes) -> int:
        """How many steps it may take to check data, as JSON text."""
        return self._cost * _size(text)

    def faults_of(self, text: bytes, steps: int | None = None) -> list[FieldError]:
        """The same for data as JSON text, which is sound; ``steps`` where they have been counted.

        Of data that would take long to look through, one fault is told, without its place.
        """
        if steps is None:
            steps = self.steps(text)
        if steps > ALLOWED:
            return [FieldError((), "has more in it than can be checked by the schema of its type")]
        data = json.loads(text)
        if self._validator.is_valid(data):
            return []
        if steps > _ALL_TOLD:
            return [FieldError((), "does not fit the schema of its type (it is too large to say where)")]
        found: list[FieldError] = []
        for error in self._validator.iter_errors(data):
            found.append(FieldError(tuple(error.instance_path[:_MOST_STEPS]), _shortened(error.message)))
            if len(found) == _MOST_FAULTS:
                break
        return found


def check_schema(schema: Mapping[str, Any], levels: int = MOST_LEVELS) -> None:
    """Refuse a schema that can take for ever on data of so many ``levels``. Raises InvalidInputError."""
    if levels_of(schema) > MOST_LEVELS:
        raise InvalidInputError.at(msg=f"has more than {MOST_LEVELS} levels")
    cost_of(schema, levels)


def compile_schema(schema: Mapping[str, Any]) -> Schema:
    """Compile a schema that has been checked, be it by an earlier version.

    Raises:
        InvalidInputError: it is none, it is of another dialect than 2020-12, or refers to something outside.
    """
    # Here, because it takes 50 ms of every start, and many never ask.
    from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

    dialect = schema.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        raise InvalidInputError.at("$schema", msg=f"must be {DIALECT}, or left out")
    try:
        validator = Draft202012Validator(
            dict(schema), retriever=_refuse, pattern_options=RegexOptions(size_limit=_PATTERN_BYTES)
        )
    except ValidationError as error:
        place = tuple(error.instance_path[:_MOST_STEPS])
        raise InvalidInputError.at(*place, msg=_shortened(error.message)) from None
    except ValueError as error:
        raise InvalidInputError.at(msg=_shortened(str(error))) from None
    return Schema(validator, _cost(schema))


def _cost(schema: Mapping[str, Any]) -> int:
    try:
        return cost_of(schema, MOST_LEVELS)
    except InvalidInputError:  # from before there was a limit
        return MOST_STEPS


def _size(text: bytes) -> int:
    """How many places there are in JSON text, or more; long strings count as several."""
    return 1 + text.count(b",") + text.count(b"{") + text.count(b"[") + len(text) // 32


def levels_of(part: Any) -> int:
    """How deep JSON is nested; 1 where it is not."""
    deepest, waiting = 0, [(part, 1)]
    while waiting:
        one, level = waiting.pop()
        inner = one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
        deepest = max(deepest, level)
        waiting += [(each, level + 1) for each in inner]
    return deepest


def _refuse(uri: str) -> NoReturn:
    raise ValueError("nothing outside of the schema is fetched")


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."
