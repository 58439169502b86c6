"""``tellwire tenants``: your customers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..model.tenant import TenantLimits
from ..model.verification import Verification
from .given import Cursor, Limit, json_object, pairs
from .groups import group
from .local import on_database
from .show import Shown, listed, one

if TYPE_CHECKING:
    from ..hub import Tellwire

tenants = group("tenants", "Your customers: each owns its endpoints and events.")
Id = Annotated[str, typer.Argument(metavar="ID", help="Your own id of the tenant.", show_default=False)]
Name = Annotated[
    str | None,
    typer.Option("--name", help="For people; the id if none was ever given.", show_default=False),
]


Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="NAME=VALUE", help="Kept with the tenant; several times for several."),
]
MaxEndpoints = Annotated[
    int | None,
    typer.Option("--max-endpoints", metavar="NUMBER", help="Its own limit, instead of the server's."),
]
ServerLimits = Annotated[
    bool, typer.Option("--server-limits", help="Take away limits of its own that are not given here.")
]
MaxPerSecond = Annotated[
    int | None,
    typer.Option("--max-events-per-s", metavar="NUMBER", help="How many it may publish a second over HTTP."),
]
MaxPayload = Annotated[
    int | None,
    typer.Option("--max-payload-bytes", metavar="BYTES", help="Its own limit, lower than the server's."),
]


Verify = Annotated[
    Verification | None,
    typer.Option("--verification", help="How new URLs are verified, instead of as the server says."),
]
ServerVerification = Annotated[
    bool, typer.Option("--server-verification", help="Verify as the server says again.")
]

Defaults = Annotated[
    str | None,
    typer.Option(
        "--defaults",
        metavar="JSON",
        help='What its endpoints have where they do not say it themselves: {"retry": {"delays_s": [5, 300]}, '
        '"envelope": "cloudevents"}.',
    ),
]


async def create(
    tellwire: "Tellwire",
    id: Id,
    name: Name = None,
    metadata: Metadata = None,
    max_endpoints: MaxEndpoints = None,
    max_payload_bytes: MaxPayload = None,
    max_events_per_s: MaxPerSecond = None,
    verification: Verify = None,
    defaults: Defaults = None,
) -> Shown:
    """Make a tenant known."""
    kept = {key: value or "" for key, value in pairs(metadata or (), "--metadata", "=").items()}
    limits = TenantLimits(
        endpoints=max_endpoints, payload_bytes=max_payload_bytes, publish_per_s=max_events_per_s
    )
    return one(
        await tellwire.tenants.create(
            id,
            name=name,
            metadata=kept,
            limits=limits,
            verification=verification,
            defaults=None if defaults is None else json_object(defaults, "--defaults"),
        )
    )


async def update(
    tellwire: "Tellwire",
    id: Id,
    name: Name = None,
    metadata: Metadata = None,
    max_endpoints: MaxEndpoints = None,
    max_payload_bytes: MaxPayload = None,
    max_events_per_s: MaxPerSecond = None,
    server_limits: ServerLimits = False,
    verification: Verify = None,
    server_verification: ServerVerification = False,
    defaults: Defaults = None,
) -> Shown:
    """Change a tenant; metadata with an empty value (NAME=) is taken away."""
    patch: dict[str, Any] = {} if name is None else {"name": name}
    if metadata:
        patch["metadata"] = pairs(metadata, "--metadata", "=")
    given = {
        "endpoints": max_endpoints,
        "payload_bytes": max_payload_bytes,
        "publish_per_s": max_events_per_s,
    }
    limits = {key: value for key, value in given.items() if server_limits or value is not None}
    if limits:
        patch["limits"] = limits
    if verification is not None or server_verification:
        patch["verification"] = verification
    if defaults is not None:
        patch["defaults"] = json_object(defaults, "--defaults")
    return one(await tellwire.tenants.update(id, patch))


async def delete(tellwire: "Tellwire", id: Id) -> Shown:
    """Remove a tenant with all endpoints, events and deliveries of its own; the rest is done by the server."""
    return one(await tellwire.tenants.delete(id))


async def list_(tellwire: "Tellwire", limit: Limit = 50, cursor: Cursor = None) -> Shown:
    """List tenants by id."""
    page = await tellwire.tenants.list(limit=limit, cursor=cursor)
    return listed(
        page, ("id", "name", "state", "created_at"), lambda it: (it.id, it.name, it.state, it.created_at)
    )


async def get(tellwire: "Tellwire", id: Id) -> Shown:
    """Show one tenant."""
    return one(await tellwire.tenants.get(id))


tenants.command("create")(on_database(create, creates=True))
tenants.command("list")(on_database(list_))
tenants.command("get")(on_database(get))
tenants.command("update")(on_database(update))
tenants.command("delete")(on_database(delete))
