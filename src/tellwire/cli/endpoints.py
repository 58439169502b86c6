"""``tellwire endpoints``: where events are delivered. Make, look at, change, remove."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..model.subscription import Envelope
from .endpoint_switches import add_switches
from .given import (
    Cursor,
    EndpointId,
    EnvelopeName,
    Fields,
    Filter,
    Limit,
    Patterns,
    Tenant,
    TransformText,
    pairs,
    patterns,
    settings,
    subscription,
)
from .groups import group
from .local import on_database
from .nouns import endpoint_shown
from .show import Shown, listed, one

if TYPE_CHECKING:
    from ..hub import Tellwire

_EGRESS = ("dev", "allow_http")
"""Settings that decide which URLs are accepted: to be given as they are given to the server."""

endpoints = group("endpoints", "Where events are delivered.")
Url = Annotated[str, typer.Argument(metavar="URL", help="Where to POST.", show_default=False)]
NewUrl = Annotated[str | None, typer.Option("--url", metavar="URL", help="Where to POST.")]
OwnTenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Whose it is.")]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="For people.")]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header", "-H", metavar="NAME:VALUE", help="Sent along; without a value, removed by update."
    ),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata", metavar="NAME=VALUE", help="Kept for you; without a value, removed by update."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=JSON",
        help="A setting of how deliveries are made, such as user_agent=shop; null takes it back.",
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret", metavar="SECRET", help="Your own signing secret, whsec_ or whsk_; else one is made."
    ),
]


async def create(
    tellwire: "Tellwire",
    url: Url,
    events: Patterns = None,
    filter: Filter = None,
    envelope: EnvelopeName = None,
    fields: Fields = None,
    transform: TransformText = None,
    tenant: OwnTenant = "default",
    description: Description = None,
    header: Headers = None,
    metadata: Metadata = None,
    secret: Secret = None,
    set: Settings = None,
) -> Shown:
    """Make an endpoint; its signing secret is shown. Without --events it listens to nothing yet."""
    endpoint, text = await tellwire.endpoints.create(
        url,
        **_wanted(events, filter, envelope, fields, transform),
        tenant=tenant,
        description=description or "",
        headers=_filled(pairs(header or [], "--header", ":")),
        metadata=_filled(pairs(metadata or [], "--metadata", "=")),
        secret=secret,
        settings=settings(set or []),
    )
    return endpoint_shown(endpoint, {"secret": text})


async def list_(
    tellwire: "Tellwire", tenant: Tenant = None, limit: Limit = 50, cursor: Cursor = None
) -> Shown:
    """List endpoints, newest first."""
    page = await tellwire.endpoints.list(tenant=tenant, limit=limit, cursor=cursor)
    columns = ("id", "state", "url", "events", "tenant", "description")
    return listed(
        page,
        columns,
        lambda it: (
            it.id,
            it.state,
            it.url,
            ", ".join(event for subscription in it.subscriptions for event in subscription.events) or None,
            it.tenant,
            it.description or None,
        ),
    )


async def get(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """Show one endpoint."""
    return endpoint_shown(await tellwire.endpoints.get(id))


async def update(
    tellwire: "Tellwire",
    id: EndpointId,
    url: NewUrl = None,
    events: Patterns = None,
    filter: Filter = None,
    envelope: EnvelopeName = None,
    fields: Fields = None,
    transform: TransformText = None,
    description: Description = None,
    header: Headers = None,
    metadata: Metadata = None,
    set: Settings = None,
) -> Shown:
    """Change what is given; headers and metadata are merged.

    --events (with --filter, --envelope, --fields, --transform) replaces all subscriptions.
    """
    patch: dict[str, Any] = {}
    if url is not None:
        patch["url"] = url
    if events or fields or any(one is not None for one in (filter, envelope, transform)):
        patch |= _wanted(events, filter, envelope, fields, transform)
    if description is not None:
        patch["description"] = description
    if header:
        patch["headers"] = pairs(header, "--header", ":")
    if metadata:
        patch["metadata"] = pairs(metadata, "--metadata", "=")
    patch |= settings(set or [])
    return endpoint_shown(await tellwire.endpoints.update(id, patch))


async def delete(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """Remove an endpoint; what was pending for it is cancelled."""
    await tellwire.endpoints.delete(id)
    return one({"id": id, "deleted": True})


def _wanted(
    events: list[str] | None,
    filter: str | None,
    envelope: Envelope | None,
    fields: list[str] | None,
    transform: str | None,
) -> dict[str, Any]:
    """The one subscription that --events and what goes with it make, in the shortest form."""
    wanted = patterns(events or []) or None
    more = {"--filter": filter, "--envelope": envelope, "--fields": fields or None, "--transform": transform}
    given = [flag for flag, value in more.items() if value is not None]
    if not given:
        return {"events": wanted}
    if wanted is None:
        raise typer.BadParameter("needs --events, the types that it is for", param_hint=given[0])
    return {"subscriptions": [subscription(wanted, filter, envelope, fields, transform)]}


def _filled(found: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value or "" for name, value in found.items()}


endpoints.command("create")(on_database(create, creates=True, flags=_EGRESS))
endpoints.command("list")(on_database(list_))
endpoints.command("get")(on_database(get))
endpoints.command("update")(on_database(update, flags=_EGRESS))
endpoints.command("delete")(on_database(delete))
add_switches(endpoints)
