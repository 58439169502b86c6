"""What all requests share: query strings and bodies, strictly typed. Unknown fields are refused, never dropped.

Bodies come from the strict JSON parser (see ``guard``), so that ``"1"`` is no number and ``1`` no string. What a
field's value may be is the hub's to decide; only its type is checked here.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from jiter import LosslessFloat
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from tellwire.clock import to_datetime
from tellwire.manage.endpoints import MAX_OVERLAP_S
from tellwire.model.key import Caller
from tellwire.policy.filter_syntax import EVENT_FIELDS, LOGIC
from tellwire.publish.occurred import occurred_ms
from tellwire.publish.strict_json import with_decimals

from .saying import says

DAY_S: Final = 86_400


def _time(value: object) -> datetime:
    return to_datetime(occurred_ms(value))


def _digits(value: object) -> int:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) < 10):
        raise ValueError("expected a whole number")
    return int(value)


def _whole(value: object) -> object:
    """What is written as 30.0 or 3e1 is an integer too (JSON Schema, section 4.2.3 of its core)."""
    if isinstance(value, LosslessFloat) and float(value).is_integer():
        return int(float(value))
    return value


def _yes_or_no(value: object) -> bool:
    if value not in ("true", "false"):
        raise ValueError("expected true or false")
    return value == "true"


GivenTime = Annotated[
    datetime,
    BeforeValidator(_time),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:30:00.123Z"]}),
]
"""RFC 3339 with a zone."""

JsonObject = Annotated[dict[str, Any], BeforeValidator(with_decimals)]
"""Any JSON object; its numbers keep all their digits."""

FilterObject = Annotated[JsonObject, says(propertyNames={"enum": [*EVENT_FIELDS, *LOGIC]})]
"""A filter (docs/reference/filters.md); below these names it is a language of its own."""

Limit = Annotated[
    int,
    BeforeValidator(_digits),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 250, "default": 50}),
]
Whole = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, StringConstraints(min_length=1)]
Overlap = Annotated[Whole, says(minimum=0, maximum=MAX_OVERLAP_S)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no), WithJsonSchema({"type": "boolean", "default": False})]


class Query(BaseModel):
    """A query string; an empty value is refused like an unknown name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Which page of a list."""

    limit: Limit = Field(default=50, description="Items on a page.")
    cursor: Text | None = Field(default=None, description="The `next` of the page before.")


class TenantPageQuery(PageQuery):
    """Which page of a list that belongs to a tenant."""

    tenant: Text | None = Field(default=None, description="Only what is this tenant's.")

    def seen_by(self, caller: Caller) -> dict[str, Any]:
        """The query, narrowed to what ``caller`` may see."""
        return dict(self) | {"tenant": caller.sees(self.tenant)}


class Body(BaseModel):
    """A JSON body. Null in an optional field is the same as leaving it out, unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
