"""What all answers share: they show nouns, field for field as API.md lists them.

Times are RFC 3339 in UTC with milliseconds. Every field is always there; null says that there is nothing.
"""

from datetime import datetime
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from tellwire.clock import rfc3339, to_ms

T = TypeVar("T")


ShownTime = Annotated[
    datetime,
    PlainSerializer(lambda at: rfc3339(to_ms(at)), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:30:00.123Z"]}),
]


class Output(BaseModel):
    """Reads its fields off a noun of ``model``."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    @classmethod
    def of(cls, noun: object) -> Self:
        """The answer that shows ``noun``."""
        return cls.model_validate(noun)


class ListOutput(Output, Generic[T]):
    """One page of a list. `next` is the `cursor` of the page that follows, or null at the end."""

    data: list[T]
    next: str | None
