"""``tellwire tenants``: your customers."""

from typing import TYPE_CHECKING, Annotated

import typer

from .given import Cursor, Limit
from .groups import group
from .local import on_database
from .show import Shown, listed, one

if TYPE_CHECKING:
    from ..hub import Tellwire

tenants = group("tenants", "Your customers: each owns its endpoints and events.")
Id = Annotated[str, typer.Argument(metavar="ID", help="Your own id of the tenant.", show_default=False)]
Name = Annotated[str | None, typer.Option("--name", help="For people; else the id.", show_default=False)]


async def create(tellwire: "Tellwire", id: Id, name: Name = None) -> Shown:
    """Make a tenant known."""
    return one(await tellwire.tenants.create(id, name=name))


async def list_(tellwire: "Tellwire", limit: Limit = 50, cursor: Cursor = None) -> Shown:
    """List tenants by id."""
    page = await tellwire.tenants.list(limit=limit, cursor=cursor)
    return listed(page, ("id", "name", "created_at"), lambda it: (it.id, it.name, it.created_at))


async def get(tellwire: "Tellwire", id: Id) -> Shown:
    """Show one tenant."""
    return one(await tellwire.tenants.get(id))


tenants.command("create")(on_database(create, creates=True))
tenants.command("list")(on_database(list_))
tenants.command("get")(on_database(get))
