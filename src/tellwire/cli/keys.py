"""``tellwire keys``: API keys of the HTTP API."""

import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ..model.key import ApiKey, Scope
from .given import Cursor, Limit, ahead
from .groups import group
from .local import on_database
from .show import Shown, highlighted, listed, one, plain

if TYPE_CHECKING:
    from ..hub import Tellwire

keys = group("keys", "API keys of the HTTP API.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.", show_default=False)]
Id = Annotated[str, typer.Argument(metavar="KEY_ID", help="key_...", show_default=False)]
Scopes = Annotated[
    list[Scope] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help=f"What it may do: {', '.join(Scope)}; several times for several. Else all.",
        show_default=False,
    ),
]
Expires = Annotated[
    datetime | None,
    typer.Option(
        "--expires-at",
        parser=ahead,
        metavar="TIME",
        help="When it ends: an RFC 3339 time, or from now, such as 12h, 90d.",
        show_default=False,
    ),
]


BoundTo = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="ID",
        help="Bind it to this tenant, which is then all that it sees.",
        show_default=False,
    ),
]
Overlap = Annotated[
    int, typer.Option("--overlap-s", metavar="SECONDS", help="For how long the old key stays good.")
]


async def create(
    tellwire: "Tellwire",
    name: Name,
    scope: Scopes = None,
    tenant: BoundTo = None,
    expires_at: Expires = None,
) -> Shown:
    """Make a key. It is shown this once and cannot be read again."""
    return _shown_once(
        *await tellwire.keys.create(name, scopes=tuple(scope or Scope), tenant=tenant, expires_at=expires_at)
    )


async def rotate(
    tellwire: "Tellwire", id: Id, overlap_s: Overlap = 86_400, expires_at: Expires = None
) -> Shown:
    """Make a key like an old one, which stays good for a while. The new one is shown this once."""
    return _shown_once(*await tellwire.keys.rotate(id, overlap_s=overlap_s, expires_at=expires_at))


def _shown_once(key: ApiKey, text: str) -> Shown:
    fields = one(key, {"key": text})

    def render() -> RenderableType:
        return Group(fields.render(), Text("\nkeep the key now: it is not shown again", style="dim"))

    return Shown(fields.value, render)


async def list_(tellwire: "Tellwire", limit: Limit = 50, cursor: Cursor = None) -> Shown:
    """List keys, newest first; never their texts."""
    page = await tellwire.keys.list(limit=limit, cursor=cursor)
    columns = ("id", "name", "begins", "scopes", "tenant", "state", "expires_at", "last_used_at")
    return listed(
        page,
        columns,
        lambda it: (
            it.id,
            it.name,
            it.prefix,
            ", ".join(it.scopes),
            it.tenant,
            _state(it),
            it.expires_at,
            it.last_used_at,
        ),
    )


async def revoke(tellwire: "Tellwire", id: Id) -> Shown:
    """Make a key useless from now on."""
    key = await tellwire.keys.revoke(id)
    return one(plain(key))


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "good"


async def public(tellwire: "Tellwire") -> Shown:
    """Show the public keys that receivers verify v1a signatures with, as a JSON Web Key Set."""
    found = tellwire.public_keys()
    # Of the hub, a list; of a server elsewhere, the document that it answers.
    document = await found if inspect.isawaitable(found) else {"keys": found}
    return Shown(document, lambda: highlighted(msgspec.json.format(msgspec.json.encode(document)).decode()))


async def get(tellwire: "Tellwire", id: Id) -> Shown:
    """Show one key, without its text."""
    return one(await tellwire.keys.get(id))


keys.command("create")(on_database(create, creates=True))
keys.command("list")(on_database(list_))
keys.command("get")(on_database(get))
keys.command("public")(on_database(public))
keys.command("rotate")(on_database(rotate))
keys.command("revoke")(on_database(revoke))
