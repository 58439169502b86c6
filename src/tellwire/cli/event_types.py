"""``tellwire event-types``: the catalogue."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ..model.event_type import EventType
from .given import Cursor, Limit, json_object
from .groups import group
from .local import on_database
from .safe import safe_json
from .show import Shown, grid, highlighted, listed, one, plain

if TYPE_CHECKING:
    from ..hub import Tellwire

event_types = group("event-types", "What your events are called, and what is in them.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as order.paid.", show_default=False)]
Description = Annotated[str, typer.Option("--description", metavar="TEXT", help="For people.")]
SchemaFile = Annotated[
    str | None,
    typer.Option("--schema", metavar="FILE", help="JSON Schema 2020-12 of the data; - is standard input."),
]
Version = Annotated[str, typer.Option("--version", metavar="TEXT", help="Your own count or name.")]
Examples = Annotated[
    list[str] | None,
    typer.Option("--example", metavar="JSON", help="An example of the data; several times for several."),
]
Deprecated = Annotated[bool, typer.Option("--deprecated", help="Subscribers are to leave it.")]
Validate = Annotated[
    bool, typer.Option("--validate", help="Refuse events whose data does not fit the schema.")
]

Operational = Annotated[
    bool, typer.Option("--operational", help="Those of operational events, instead of the catalogue's.")
]


async def put(
    tellwire: "Tellwire",
    name: Name,
    description: Description = "",
    schema: SchemaFile = None,
    version: Version = "1",
    example: Examples = None,
    deprecated: Deprecated = False,
    validate: Validate = False,
) -> Shown:
    """Describe an event type, in place of what the catalogue said of it before."""
    event_type, _ = await tellwire.event_types.put(
        name,
        description=description,
        schema=None if schema is None else json_object(_read(schema), "--schema"),
        version=version,
        examples=[json_object(text, "--example") for text in example or ()],
        deprecated=deprecated,
        validate=validate,
    )
    return _whole(event_type)


async def list_(
    tellwire: "Tellwire", operational: Operational = False, limit: Limit = 50, cursor: Cursor = None
) -> Shown:
    """List event types by name."""
    page = await tellwire.event_types.list(operational=operational, limit=limit, cursor=cursor)
    columns = ("name", "version", "deprecated", "validate", "description")
    return listed(page, columns, lambda it: (it.name, it.version, it.deprecated, it.validate, it.description))


async def get(tellwire: "Tellwire", name: Name) -> Shown:
    """Show one event type with its schema and examples."""
    return _whole(await tellwire.event_types.get(name))


async def delete(tellwire: "Tellwire", name: Name) -> Shown:
    """Take an event type out of the catalogue; events of it are published as before."""
    await tellwire.event_types.delete(name)
    return one({"name": name, "deleted": True})


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise typer.BadParameter(f"{file!r} cannot be read: {error}", param_hint="--schema") from None


def _whole(event_type: EventType) -> Shown:
    fields: dict[str, Any] = plain(event_type)

    def render() -> RenderableType:

        few = {name: value for name, value in fields.items() if name not in ("schema", "examples")}
        parts: list[RenderableType] = [grid(few)]
        for name in ("schema", "examples"):
            text = json.dumps(fields[name], indent=2, ensure_ascii=False)
            parts += [Text(f"\n{name}", style="dim"), highlighted(safe_json(text))]
        return Group(*parts)

    return Shown(fields, render)


event_types.command("put")(on_database(put, creates=True))
event_types.command("list")(on_database(list_))
event_types.command("get")(on_database(get))
event_types.command("delete")(on_database(delete))
