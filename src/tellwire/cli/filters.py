"""``tellwire filters``: filters tried out, on one event and on the last ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..model.page import Page
from .given import (
    EnvelopeName,
    Fields,
    Filter,
    Limit,
    Patterns,
    TransformText,
    json_object,
    patterns,
    subscription,
)
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
BodiesFlag = Annotated[
    bool, typer.Option("--bodies", help="Show what would have been sent, of the newest 20 that match.")
]
_MAX_SHOWN_CHARS = 500
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
    envelope: EnvelopeName = None,
    fields: Fields = None,
    transform: TransformText = None,
    tenant: TenantOption = None,
    limit: Limit = 100,
    bodies: BodiesFlag = False,
) -> Shown:
    """List the last events, and whether an endpoint would have received them: with its subscriptions or with others."""
    subscriptions = None
    if events or fields or any(one is not None for one in (filter, envelope, transform)):
        wanted = patterns(events or ["*"])
        subscriptions = [subscription(wanted, filter, envelope, fields, transform)]
    found = await tellwire.filters.preview(
        endpoint=endpoint, tenant=tenant, subscriptions=subscriptions, limit=limit, bodies=bodies
    )
    columns = ("id", "type", "created_at", "matches", "body" if bodies else "why")
    shown = listed(
        Page(found, None),
        columns,
        lambda it: (
            it.event.id,
            it.event.type,
            it.event.created_at,
            it.matches,
            _body(it) if bodies else _why(it),
        ),
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
        "request": plain(previewed.request),
    }


def _body(previewed: "PreviewedEvent") -> str:
    """What would have been sent, or why nothing."""
    request = previewed.request
    if request is None:
        return _why(previewed)
    if request.body is None:
        return f"nothing is sent: {request.error}"
    return request.body if len(request.body) <= _MAX_SHOWN_CHARS else request.body[:_MAX_SHOWN_CHARS] + "..."


def _why(previewed: "PreviewedEvent") -> str:
    return "; ".join(f"{_path(reason.path)}: {reason.msg}" for reason in previewed.reasons[:3])


def _path(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "event"


filters.command("test")(on_database(try_on))
filters.command("preview")(on_database(preview))
