"""``tellwire replays``: jobs that send to an endpoint again."""

from typing import TYPE_CHECKING, Annotated

import typer

from ..model.replay import Again, ReplayState
from .given import Cursor, EndpointId, Limit, Since, Tenant, Until, patterns
from .groups import group
from .local import on_database
from .show import Shown, listed, one

if TYPE_CHECKING:
    from ..hub import Tellwire

replays = group("replays", "Jobs that send to an endpoint again: what failed, what it missed, what you name.")
ReplayId = Annotated[str, typer.Argument(metavar="REPLAY_ID", help="rpl_...", show_default=False)]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="PATTERN",
        help="Event types or patterns such as order.*, with commas between or several times; all if not given.",
    ),
]  # fmt: skip
States = Annotated[
    list[Again] | None,
    typer.Option(
        "--state", metavar="STATE",
        help=f"What has become of an event: {', '.join(Again)}. Several times for several; "
        "exhausted and missing if not given.",
    ),
]  # fmt: skip
TheEvent = Annotated[
    str | None,
    typer.Option("--event", metavar="EVENT_ID", help="This event alone, whatever became of it."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
OfEndpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="ENDPOINT_ID", help="To this endpoint only.")
]
InState = Annotated[
    ReplayState | None,
    typer.Option("--state", metavar="STATE", help=f"In this state only: {', '.join(ReplayState)}."),
]


async def start(
    tellwire: "Tellwire",
    endpoint: EndpointId,
    since: Since = None,
    until: Until = None,
    type: Types = None,
    state: States = None,
    event: TheEvent = None,
    dry_run: DryRun = False,
) -> Shown:
    """Start a replay of a range of time, or of one event. A running server works it off."""
    return one(
        await tellwire.replays.start(
            endpoint,
            since=since,
            until=until,
            types=patterns(type) if type else None,
            states=state or None,
            event=event,
            dry_run=dry_run,
        )
    )


async def list_(
    tellwire: "Tellwire",
    tenant: Tenant = None,
    endpoint: OfEndpoint = None,
    state: InState = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Shown:
    """List replays, newest first."""
    page = await tellwire.replays.list(
        tenant=tenant, endpoint=endpoint, state=state, limit=limit, cursor=cursor
    )
    columns = (
        "id",
        "state",
        "progress",
        "retried",
        "created",
        "expired",
        "dry_run",
        "endpoint",
        "created_at",
    )
    return listed(
        page,
        columns,
        lambda it: (
            it.id,
            it.state,
            f"{it.progress:.0%}",
            it.retried,
            it.created,
            it.expired,
            it.dry_run,
            it.endpoint_id,
            it.created_at,
        ),
    )


async def get(tellwire: "Tellwire", id: ReplayId) -> Shown:
    """Show one replay with its progress."""
    return one(await tellwire.replays.get(id))


async def cancel(tellwire: "Tellwire", id: ReplayId) -> Shown:
    """End a running replay; the few deliveries that it has made due already are still sent."""
    return one(await tellwire.replays.cancel(id))


replays.command("start")(on_database(start))
replays.command("list")(on_database(list_))
replays.command("get")(on_database(get))
replays.command("cancel")(on_database(cancel))
