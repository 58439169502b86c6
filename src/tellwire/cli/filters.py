"""``tellwire filters``: filters tried out, on one event and on the last ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..model.page import Page
from ..model.subscription import Subscription
from .given import Filter, Limit, Patterns, json_object, patterns
from .groups import group
from .local import on_database
from .show import Shown, at, cell, listed, plain

if TYPE_CHECKING:
    from ..hub import Tellwire
    from ..manage.filters import PreviewedEvent

filters = group("filters", "Conditions on events, tried out.")

FilterText = Annotated[str, typer.Argument(metavar="FILTER", help="The filter, as JSON.", show_default=False)]
EventOption = Annotated[
    str | None, typer.Option("--event", metavar="EVENT_ID", help="Try it on this stored event.")
]
TypeOption = Annotated[
    str | None,
    typer.Option("--type", metavar="TYPE", help="Else on an event of this type; else tellwire.test."),
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="ID", help="Of this tenant; else default.")
]
DataOption = Annotated[str | None, typer.Option("--data", metavar="JSON", help="With this data; else {}.")]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="ENDPOINT_ID",
        help="Its tenant, and its subscriptions unless --events are given.",
    ),
]


async def try_on(
    tellwire: "Tellwire",
    filter: FilterText,
    event: EventOption = None,
    type: TypeOption = None,
    tenant: TenantOption = None,
    data: DataOption = None,
) -> Shown:
    """Show whether a filter matches an event, and why or why not."""
    found = await tellwire.filters.test(
        json_object(filter, "FILTER"),
        event=event,
        type=type,
        tenant=tenant,
        data=None if data is None else json_object(data, "--data"),
    )

    def render() -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in ("where", "fulfilled", "what was found"):
            table.add_column(column, overflow="fold")
        for reason in found.reasons:
            table.add_row(*map(cell, (_path(reason.path), reason.matches, reason.msg)))
        verdict = Text("matches" if found.matches else "does not match")
        return Group(verdict, Text(""), table) if found.reasons else verdict

    return Shown(plain(found), render)


async def preview(
    tellwire: "Tellwire",
    endpoint: EndpointOption = None,
    events: Patterns = None,
    filter: Filter = None,
    tenant: TenantOption = None,
    limit: Limit = 100,
) -> Shown:
    """List the last events, and whether an endpoint would have received them: with its subscriptions or with others."""
    subscriptions = None
    if events or filter is not None:
        wanted = None if filter is None else json_object(filter, "--filter")
        subscriptions = [Subscription(tuple(patterns(events or ["*"])), wanted)]
    found = await tellwire.filters.preview(
        endpoint=endpoint, tenant=tenant, subscriptions=subscriptions, limit=limit
    )
    columns = ("id", "type", "created_at", "matches", "why")
    shown = listed(
        Page(found, None),
        columns,
        lambda it: (it.event.id, it.event.type, it.event.created_at, it.matches, _why(it)),
        _fields,
    )
    return Shown({"data": shown.value["data"], "matched": sum(one.matches for one in found)}, shown.render)


def _fields(previewed: "PreviewedEvent") -> Mapping[str, Any]:
    event = previewed.event
    return {
        "id": event.id,
        "type": event.type,
        "tenant": event.tenant,
        "occurred_at": at(event.occurred_at),
        "created_at": at(event.created_at),
        "matches": previewed.matches,
        "reasons": plain(previewed.reasons),
    }


def _why(previewed: "PreviewedEvent") -> str:
    return "; ".join(f"{_path(reason.path)}: {reason.msg}" for reason in previewed.reasons[:3])


def _path(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "event"


filters.command("test")(on_database(try_on))
filters.command("preview")(on_database(preview))
