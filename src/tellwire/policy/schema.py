"""Schemas of event data: JSON Schema 2020-12, compiled once and asked of data (docs/reference/event-types.md).

Before the life of an event begins, where the catalogue checks its examples; and at fan-out, for those types alone that
ask for it. Nothing is fetched: a schema refers to itself and to the metaschemas only. Patterns are matched in linear
time. Still, a schema can be made to take long: schemas come from whoever administers the server, not from strangers.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tellwire.errors import FieldError, InvalidInputError

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MOST_FAULTS: Final = 10
_MOST_CHARS: Final = 200
_MOST_STEPS: Final = 8


class Schema:
    """A compiled schema."""

    def __init__(self, validator: "Draft202012Validator") -> None:
        """Made by ``compile_schema``."""
        self._validator = validator

    def faults(self, data: Any) -> list[FieldError]:
        """Where ``data`` does not fit, and why: at most ten places; none where it fits."""
        found: list[FieldError] = []
        for error in self._validator.iter_errors(data):
            found.append(FieldError(tuple(error.instance_path[:_MOST_STEPS]), _shortened(error.message)))
            if len(found) == _MOST_FAULTS:
                break
        return found

    def faults_of(self, text: bytes) -> list[FieldError]:
        """The same for data as JSON text, which is sound."""
        return [] if self._validator.is_valid(data := json.loads(text)) else self.faults(data)


def compile_schema(schema: Mapping[str, Any]) -> Schema:
    """Compile a schema.

    Raises:
        InvalidInputError: it is none, it is of another dialect than 2020-12, or refers to something outside.
    """
    # Here, because it takes 50 ms of every start, and many never ask.
    from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

    dialect = schema.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        raise InvalidInputError.at("$schema", msg=f"must be {DIALECT}, or left out")
    try:
        validator = Draft202012Validator(dict(schema), retriever=_refuse, pattern_options=RegexOptions())
    except ValidationError as error:
        place = tuple(error.instance_path[:_MOST_STEPS])
        raise InvalidInputError.at(*place, msg=_shortened(error.message)) from None
    except ValueError as error:
        raise InvalidInputError.at(msg=_shortened(str(error))) from None
    return Schema(validator)


def _refuse(uri: str) -> NoReturn:
    raise ValueError("nothing outside of the schema is fetched")


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."
