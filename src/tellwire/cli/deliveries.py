"""``tellwire deliveries``: events on their way to endpoints, with the evidence of every attempt."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ..model.attempt import Attempt
from ..model.delivery import Delivery, State
from .given import Cursor, DeliveryId, Limit, Since, Tenant, Type, Until
from .groups import group
from .local import on_database
from .nouns import attempt_fields
from .safe import printable, readable
from .show import Shown, cell, grid, listed, one, plain

if TYPE_CHECKING:
    from ..hub import Tellwire

deliveries = group("deliveries", "Events on their way to endpoints, and what became of them.")
OfEndpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="ENDPOINT_ID", help="To this endpoint only.")
]
OfEvent = Annotated[str | None, typer.Option("--event", metavar="EVENT_ID", help="Of this event only.")]
InState = Annotated[
    State | None, typer.Option("--state", metavar="STATE", help=f"In this state only: {', '.join(State)}.")
]


async def list_(
    tellwire: "Tellwire",
    tenant: Tenant = None,
    endpoint: OfEndpoint = None,
    event: OfEvent = None,
    type: Type = None,
    state: InState = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Shown:
    """List deliveries, newest first."""
    page = await tellwire.deliveries.list(
        tenant=tenant, endpoint=endpoint, event=event, type=type, state=state, since=since, until=until,
        limit=limit, cursor=cursor,
    )  # fmt: skip
    columns = ("id", "state", "attempts", "last", "type", "endpoint", "due_at", "waiting_for", "created_at")
    return listed(page, columns, _row)


async def get(tellwire: "Tellwire", id: DeliveryId) -> Shown:
    """Show one delivery with its attempts: status, duration, error, response."""
    delivery, attempts = await tellwire.deliveries.get(id)

    def render() -> RenderableType:
        shown = [_attempt(attempt) for attempt in attempts] or [Text("no attempts yet", style="dim")]
        return Group(grid(plain(delivery)), *(part for it in shown for part in (Text(), it)))

    return Shown({**plain(delivery), "attempts": [attempt_fields(attempt) for attempt in attempts]}, render)


async def retry(tellwire: "Tellwire", id: DeliveryId) -> Shown:
    """Send a delivery again now, with a whole schedule of retries before it."""
    return one(await tellwire.deliveries.retry(id))


async def cancel(tellwire: "Tellwire", id: DeliveryId) -> Shown:
    """End a pending delivery: it is not sent any more; or give up one that is exhausted, so that it blocks nothing."""
    return one(await tellwire.deliveries.cancel(id))


def _row(it: Delivery) -> tuple[object, ...]:
    last = it.last_status_code if it.last_error is None else it.last_error
    return (
        it.id,
        it.state,
        it.attempt_count,
        last,
        it.type,
        it.endpoint_id,
        it.due_at,
        it.waiting_for,
        it.created_at,
    )


def _attempt(attempt: Attempt) -> RenderableType:
    head = Text.assemble(f"attempt {attempt.number}  ", cell(attempt.outcome))
    facts: dict[str, object] = {
        "id": attempt.id,
        "started_at": attempt.started_at,
        "duration": f"{attempt.duration_ms} ms",
        "trigger": attempt.trigger,
        "status": attempt.status_code,
    }
    if attempt.error is not None:
        facts["error"] = attempt.error if attempt.detail is None else f"{attempt.error}: {attempt.detail}"
    parts: list[RenderableType] = [head, Padding(grid(facts), (0, 0, 0, 2), expand=False)]
    if attempt.response_headers:
        lines = [f"{printable(name)}: {printable(value)}" for name, value in attempt.response_headers]
        parts += [Text("  response headers", style="dim"), _indented("\n".join(lines))]
    if attempt.response_body:
        size = f"  response body ({len(attempt.response_body)} bytes kept)"
        parts += [Text(size, style="dim"), _indented(readable(attempt.response_body))]
    return Group(*parts)


def _indented(text: str) -> RenderableType:
    return Padding(Text(text.rstrip("\n"), overflow="fold"), (0, 0, 0, 4), expand=False)


deliveries.command("list")(on_database(list_))
deliveries.command("get")(on_database(get))
deliveries.command("retry")(on_database(retry))
deliveries.command("cancel")(on_database(cancel))
