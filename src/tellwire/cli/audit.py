"""``tellwire audit``: who changed what in the control plane."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .given import Cursor, Limit, Since, Tenant, Until
from .groups import group
from .local import on_database
from .show import Shown, listed, plain

if TYPE_CHECKING:
    from ..hub import Tellwire

audit = group("audit", "Who changed what: endpoints, tenants and keys.")
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", metavar="WHO", help="Made by this key (key_...), or by admin, local or tellwire."
    ),
]
Subject = Annotated[str | None, typer.Option("--subject", metavar="ID", help="Changes of this thing.")]


async def list_(
    tellwire: "Tellwire",
    tenant: Tenant = None,
    actor: Actor = None,
    subject: Subject = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Shown:
    """List changes, newest first; secrets are masked. `--json` has the fields before and after."""
    page = await tellwire.audit.list(
        tenant=tenant, actor=actor, subject=subject, since=since, until=until, limit=limit, cursor=cursor
    )
    columns = ("at", "action", "subject", "actor", "tenant", "after")
    return listed(
        page,
        columns,
        lambda it: (it.at, it.action, it.subject, it.actor, it.tenant, json.dumps(plain(it.after))),
    )


audit.command("list")(on_database(list_))
