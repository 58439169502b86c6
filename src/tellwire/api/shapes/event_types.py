"""What requests and answers about event types hold.

A field of a pydantic model cannot be called ``schema`` or ``validate``: here they have other names, and these aliases.
"""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from tellwire.model.event_type import MAX_EXAMPLES, MAX_VERSION_CHARS
from tellwire.model.rules import Rule

from .given import Body, JsonObject, PageQuery, YesOrNo
from .saying import Description, refusing, says
from .shown import Output, ShownTime

_NO_SCHEMA: Final[Rule] = {
    "required": ["validate"],
    "properties": {"validate": {"const": True}, "schema": {"type": "null"}},
}

EXAMPLE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "integer", "minimum": 0}},
    "required": ["order_id", "amount"],
}
EXAMPLE_DATA: Final[dict[str, Any]] = {"order_id": "o_1", "amount": 4200}


class EventTypeQuery(PageQuery):
    """Which page of the event types."""

    operational: YesOrNo = Field(
        default=False, description="Those of operational events, instead of the catalogue's."
    )


class EventTypeBody(Body):
    """What the catalogue is to say of an event type."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            _NO_SCHEMA,
            examples=[
                {
                    "description": "An order was paid in full.",
                    "schema": EXAMPLE_SCHEMA,
                    "version": "2",
                    "examples": [EXAMPLE_DATA],
                },
                {"description": "Use order.paid.", "deprecated": True},
            ],
        )
    )

    description: Annotated[Description, says(pattern=r"^[^\x00]*$")] | None = Field(
        default=None, description="For people."
    )
    data_schema: JsonObject | None = Field(
        default=None, alias="schema", description="Of the data of its events: JSON Schema 2020-12."
    )
    version: Annotated[str, says(minLength=1, maxLength=MAX_VERSION_CHARS)] | None = Field(
        default=None, description="Your own count or name; `1` if not given."
    )
    examples: Annotated[list[JsonObject], says(maxItems=MAX_EXAMPLES)] | None = Field(
        default=None, description="Of the data; each fits the schema."
    )
    deprecated: bool = Field(default=False, description="Whether subscribers are to leave it.")
    validated: bool = Field(
        default=False,
        alias="validate",
        description="Whether events whose data does not fit the schema are refused when they are published.",
    )

    def fields(self) -> dict[str, Any]:
        """What was given, by the names of ``EventTypes.put``."""
        given = self.model_dump(by_alias=True)
        return {name: value for name, value in given.items() if value is not None}


class EventTypeOutput(Output):
    """What the catalogue says of an event type."""

    name: str = Field(examples=["order.paid"])
    description: str
    data_schema: dict[str, Any] | None = Field(alias="schema", examples=[EXAMPLE_SCHEMA])
    version: str = Field(examples=["2"])
    examples: list[dict[str, Any]] = Field(examples=[[EXAMPLE_DATA]])
    deprecated: bool
    validated: bool = Field(alias="validate")
    created_at: ShownTime
    updated_at: ShownTime
