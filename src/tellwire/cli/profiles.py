"""``tellwire profiles``: servers elsewhere by name, with the keys that they are asked with. Keys are never shown."""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from .failures import Code, RefusalError, told, warn
from .flags import Json
from .groups import group
from .profile_file import Profiles, check_profile, profiles_path, read_profiles, write_profiles
from .show import Shown, cell, one, show

profiles = group("profiles", "Servers elsewhere by name: their URLs and API keys, in a file of yours.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call it.", show_default=False)]
UsedName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="The new default; without, there is none.", show_default=False),
]
Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where it is.", show_default=False)]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Its API key; - reads it from stdin, since others on this machine can see flags. On a terminal it is "
        "asked for; else commands take it from TELLWIRE_KEY.",
        show_default=False,
    ),
]
Default = Annotated[bool, typer.Option("--default", help="Use it where nothing else is said.")]


@profiles.command("list")
def list_(json: Json = False) -> None:
    """List the profiles: their names, URLs, and whether they have a key."""
    with told():
        path = profiles_path(os.environ)
        found, warnings = read_profiles(path)
        warn(warnings)
        rows = [
            {"name": name, "url": profile.url, "has_key": profile.key is not None, "default": name == found.default}
            for name, profile in sorted(found.profiles.items())
        ]  # fmt: skip
        show(Shown({"file": str(path), "profiles": rows}, lambda: _table(rows)), as_json=json)


@profiles.command("add")
def add(name: Name, url: Url, key: Key = None, default: Default = False, json: Json = False) -> None:
    """Add a profile, or put it in the place of the one of that name."""
    with told():
        if key == "-":
            key = sys.stdin.readline().strip()
        elif key is None and sys.stdin.isatty():
            key = typer.prompt(
                "API key (empty: none is kept)", default="", hide_input=True, show_default=False
            )
            key = key or None
        profile = check_profile("the profile", name, url, key)

        def change(found: Profiles) -> Profiles:
            known = {**found.profiles, name: profile}
            return Profiles(known, name if default else found.default)

        _change(change, name, as_json=json)


@profiles.command("remove")
def remove(name: Name, json: Json = False) -> None:
    """Remove a profile with its key."""

    def change(found: Profiles) -> Profiles:
        _expect(found, name)
        known = {one: profile for one, profile in found.profiles.items() if one != name}
        return Profiles(known, None if found.default == name else found.default)

    with told():
        _change(change, name, as_json=json)


@profiles.command("use")
def use(name: UsedName = None, json: Json = False) -> None:
    """Make a profile the default: commands go to its server unless flags or the environment say otherwise."""

    def change(found: Profiles) -> Profiles:
        if name is not None:
            _expect(found, name)
        return msgspec.structs.replace(found, default=name)

    with told():
        _change(change, name, as_json=json)


def _change(change: Callable[[Profiles], Profiles], name: str | None, *, as_json: bool) -> None:
    path = profiles_path(os.environ)
    found, _ = read_profiles(path)
    changed = change(found)
    write_profiles(path, changed)
    show(one({"file": str(path), "profile": name, "default": changed.default}), as_json=as_json)


def _expect(found: Profiles, name: str) -> None:
    if name not in found.profiles:
        there = ", ".join(sorted(found.profiles)) or "none"
        raise RefusalError(f"there is no profile {name!r}; there are: {there}", Code.NOT_FOUND)


def _table(rows: list[dict[str, object]]) -> RenderableType:
    if not rows:
        return Text("none")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("name", "url", "key", "default"):
        table.add_column(column, overflow="fold")
    for row in rows:
        key, default = ("kept" if row["has_key"] else None), ("yes" if row["default"] else None)
        table.add_row(cell(row["name"]), cell(row["url"]), cell(key), cell(default))
    return table
