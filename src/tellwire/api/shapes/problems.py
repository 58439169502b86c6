"""Errors, as answers show them (RFC 9457)."""

from pydantic import Field

from .shown import Output


class FaultOutput(Output):
    """One fault: where it is, and what is wrong."""

    loc: list[str | int] = Field(examples=[["subscriptions", 0, "events", 1]])
    msg: str


class ProblemOutput(Output):
    """An error (RFC 9457). What stands below `request_id` is there where it says something."""

    type: str = Field(description="Leads to an explanation.")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="The same as the header X-Request-Id; name it when you ask for help.")
    errors: list[FaultOutput] = Field(default=[], description="Every fault that was found, by field.")
    limit: str = Field(default="", description="The limit that was exceeded.")
    maximum: int = Field(default=0, description="What it allows.")
    scope: str = Field(default="", description="The scope that this needs, and the API key or token lacks.")
    bound_to: str = Field(default="", description="The tenant that the API key or token is bound to.")
    capability: str | None = Field(
        default=None, description="What a portal token would have to be able to do; null: none may do this."
    )
    index: int = Field(default=0, description="The place in the batch of the event that is in conflict.")
    stored: bool | None = Field(
        default=False,
        description="Of a 503: false, nothing was stored; null, that is not known, because the connection to the "
        "database was lost at the very commit.",
    )
