"""``tellwire events``: what has happened."""

from typing import TYPE_CHECKING

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from ..model.event import StoredEvent
from .given import Cursor, EventId, Limit, Since, Tenant, Type, Until
from .groups import group
from .local import on_database
from .safe import safe_json
from .show import Shown, grid, highlighted, listed, plain

if TYPE_CHECKING:
    from ..hub import Tellwire

events = group("events", "What has happened, as it was published.")


async def list_(
    tellwire: "Tellwire",
    tenant: Tenant = None,
    type: Type = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Shown:
    """List events, newest first, without their data."""
    page = await tellwire.events.list(
        tenant=tenant, type=type, since=since, until=until, limit=limit, cursor=cursor
    )
    columns = ("id", "type", "tenant", "occurred_at", "created_at")
    return listed(
        page, columns, lambda it: (it.id, it.type, it.tenant, it.occurred_at, it.created_at), _without_data
    )


async def get(tellwire: "Tellwire", id: EventId) -> Shown:
    """Show one event with its data."""
    event = await tellwire.events.get(id)
    fields, data = _without_data(event), event.data or b"null"

    def render() -> RenderableType:
        text = msgspec.json.format(data, indent=2).decode()
        return Group(grid(fields), Text("\ndata", style="dim"), highlighted(safe_json(text)))

    return Shown({**fields, "data": msgspec.Raw(data)}, render)


async def cancel(tellwire: "Tellwire", id: EventId) -> Shown:
    """End all pending deliveries of an event: before it is due, that is all of them."""
    event, cancelled = await tellwire.events.cancel(id)
    fields = _without_data(event) | {"cancelled": cancelled}
    return Shown(fields, lambda: grid(fields))


def _without_data(event: StoredEvent) -> dict[str, object]:
    fields: dict[str, object] = plain(event)
    del fields["data"]
    return fields


events.command("list")(on_database(list_))
events.command("get")(on_database(get))
events.command("cancel")(on_database(cancel))
