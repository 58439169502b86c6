"""Replays: what is to be sent again, and how far that is."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from tellwire.model.replay import Again, ReplayState
from tellwire.model.rules import none_of, together

from .given import Body, GivenTime, TenantPageQuery, Text
from .saying import Patterns, refusing, says
from .shown import Output, ShownTime


class ReplayQuery(TenantPageQuery):
    """Which replays."""

    endpoint: Text | None = Field(default=None, description="Only replays to this endpoint.")
    state: ReplayState | None = None


class ReplayBody(Body):
    """What is to be sent to an endpoint again: a range of time, or one event."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            none_of("since", "event"),
            *(together("event", name) for name in ("since", "until", "types", "states")),
            examples=[
                {
                    "since": "2026-01-27T00:00:00Z",
                    "types": ["order.*"],
                    "states": ["exhausted"],
                    "dry_run": True,
                },
                {"event": "evt_01k5w3m8qhe5sbd3y0t2vwz9ra"},
            ],
        )
    )

    since: GivenTime | None = Field(default=None, description="Published at this time or later.")
    until: GivenTime | None = Field(default=None, description="Published before this time; now if not given.")
    types: Patterns | None = Field(default=None, description="Event types and patterns; all if not given.")
    states: Annotated[list[Annotated[Again, Field(strict=False)]], says(minItems=1)] | None = Field(
        default=None,
        description="What has become of an event at this endpoint; `missing`: it has no delivery to it, but the "
        "endpoint's present subscriptions want it. `exhausted` and `missing` if not given.",
    )
    event: str | None = Field(
        default=None, description="This event alone, whatever became of it, instead of a range of time."
    )
    dry_run: bool = Field(default=False, description="Only count.")


class ReplayOutput(Output):
    """A job that sends to an endpoint again."""

    id: str = Field(examples=["rpl_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    endpoint_id: str = Field(examples=["ep_01k5w3m8qhe5sbd3y0t2vwz9ra"])
    tenant: str = Field(examples=["default"])
    state: ReplayState
    reason: str | None = Field(description="Why it was cancelled.")
    waiting_for: Literal["paused", "disabled", "unverified"] | None = Field(
        description="The state of its endpoint that must end before it goes on."
    )
    dry_run: bool = Field(description="Whether it only counts.")
    since: ShownTime | None
    until: ShownTime | None
    types: list[str]
    states: list[Again]
    event_id: str | None
    progress: float = Field(description="How much of the range has been looked at, from 0 to 1.")
    looked_at: int = Field(description="Events of the tenant that were looked at.")
    retried: int = Field(description="Deliveries that were made pending again, or would be.")
    created: int = Field(description="New deliveries of events that had none, or how many there would be.")
    expired: int = Field(
        description="Events that fit but have lost their data, or are about to; they were passed over."
    )
    created_at: ShownTime
    updated_at: ShownTime
    finished_at: ShownTime | None
