"""What a command found, for machines (one JSON document) and for people (tables)."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from ..clock import rfc3339, to_ms
from ..model.page import Page
from .safe import printable, safe_json

T = TypeVar("T")

_WIDE = 400
_STYLES: Mapping[str, str] = {
    "succeeded": "green",
    "enabled": "green",
    "pending": "yellow",
    "paused": "yellow",
    "unverified": "yellow",
    "exhausted": "red",
    "failed": "red",
    "disabled": "red",
    "cancelled": "dim",
    "revoked": "dim",
}


class Shown(NamedTuple):
    """An answer: ``value`` is what ``--json`` writes, ``render`` draws it for people."""

    value: Any
    render: Callable[[], RenderableType]


def show(shown: Shown, *, as_json: bool) -> None:
    """Write an answer to standard output."""
    if as_json:
        write_json(shown.value)
    else:
        draw(shown.render())


def draw(*parts: RenderableType) -> None:
    """Write to standard output for people; without blanks at the ends of lines, unless it is a terminal."""
    out = console()
    if sys.stdout.isatty():
        out.print(*parts, sep="\n")
    else:
        with out.capture() as captured:
            out.print(*parts, sep="\n")
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write one JSON document on one line of standard output."""
    sys.stdout.write(safe_json(msgspec.json.encode(value).decode()) + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    """Where tables go. Not on a terminal they are as wide as they need, so that no id is cut."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else _WIDE, markup=False, emoji=False, highlight=False
    )


def at(time: datetime | None) -> str | None:
    """A time as every interface of Tellwire writes it."""
    return None if time is None else rfc3339(to_ms(time))


def plain(value: Any) -> Any:
    """A noun as JSON, in the same form as the HTTP API."""
    match value:
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case datetime():
            return at(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return value


def cell(value: object) -> Text:
    """One value for people; states in colour, nothing as a dash. Never markup, whatever it holds."""
    match value:
        case None:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = at(value) or ""
        case _:
            text = printable(str(value))
    return Text(text, style=_STYLES.get(text, ""), overflow="fold")


def listed(
    page: Page[T],
    columns: Sequence[str],
    row: Callable[[T], Iterable[object]],
    value: Callable[[T], Any] = plain,
) -> Shown:
    """A page of a list: a table, and how to get the next page."""

    def render() -> RenderableType:
        if not page.data:
            return Text("none")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for at_column, column in enumerate(columns):
            # The id is there to be copied: where room is short, other columns fold.
            table.add_column(column, overflow="fold", no_wrap=at_column == 0)
        for item in page.data:
            table.add_row(*map(cell, row(item)))
        if page.next is None:
            return table
        return Group(table, Text(f"\nmore: --cursor {page.next}", style="dim"))

    return Shown({"data": [value(item) for item in page.data], "next": page.next}, render)


def one(value: Any, more: Mapping[str, object] | None = None) -> Shown:
    """One noun: its fields one below the other."""
    fields = plain(value) | dict(more or {})
    return Shown(fields, lambda: grid(fields))


def grid(fields: Mapping[str, object]) -> Table:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, _nested(value))
    return table


def highlighted(text: str) -> Text:
    """JSON (harmless already) in colours."""
    shown = Text(text, overflow="fold")
    JSONHighlighter().highlight(shown)
    return shown


def _nested(value: object) -> RenderableType:
    match value:
        case Mapping():
            return grid(value) if value else cell(None)
        case list() | tuple():
            return Text("\n").join(map(cell, value)) if value else cell(None)
        case _:
            return cell(value)
