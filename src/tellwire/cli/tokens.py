"""``tellwire tokens``: what stands for an API key, and ends soon."""

from typing import TYPE_CHECKING, Annotated

import typer

from ..model.key import Scope
from ..model.portal import DEFAULT_LIFETIME_S, Capability
from .groups import group
from .local import on_database, on_server
from .show import Shown, one

if TYPE_CHECKING:
    from ..client import Client
    from ..hub import Tellwire

tokens = group("tokens", "Short-lived tokens: for your customers' pages, and instead of keys.")
OfTenant = Annotated[str, typer.Argument(metavar="TENANT", help="Whose pages it is for.", show_default=False)]
Capabilities = Annotated[
    list[Capability],
    typer.Option(
        "--capability",
        metavar="CAPABILITY",
        help=f"What it may do: {', '.join(Capability)}; several times for several.",
        show_default=False,
    ),
]
Lifetime = Annotated[int, typer.Option("--lifetime-s", metavar="SECONDS", help="For how long it is good.")]
Subject = Annotated[
    str | None,
    typer.Option("--subject", metavar="TEXT", help="Whom it is for, in the audit log.", show_default=False),
]
KeyId = Annotated[
    str, typer.Argument(metavar="KEY_ID", help="key_..., of the key that is shown.", show_default=False)
]
Scopes = Annotated[
    list[Scope] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="What it may do of what the key may; several times for several. Else all.",
        show_default=False,
    ),
]


async def portal(
    tellwire: "Tellwire",
    tenant: OfTenant,
    capability: Capabilities,
    lifetime_s: Lifetime = DEFAULT_LIFETIME_S,
    subject: Subject = None,
) -> Shown:
    """Make a portal token of a tenant; it is shown this once."""
    return one(
        await tellwire.tokens.portal(tenant, tuple(capability), lifetime_s=lifetime_s, subject=subject)
    )


async def access(client: "Client", id: KeyId, scope: Scopes = None) -> Shown:
    """Exchange the API key for an access token (OAuth 2, client credentials). Only a server gives those."""
    return one(await client.tokens.access(id, scopes=scope))


tokens.command("portal")(on_database(portal))
tokens.command("access")(on_server(access))
