"""Flags for settings: made from the table, so that none is missing and none means something else."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..settings import TABLE, Setting
from ..settings.kinds import SWITCH
from ..settings.values import written_default

Json = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output, and nothing else.", show_default=False)
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="The database; else the setting `database_url`.",
        metavar="URL",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The TOML file with settings; else TELLWIRE_CONFIG, or tellwire.toml if it is here.",
        metavar="FILE",
        show_default=False,
    ),
]

_SERVER_HELP = "Ask the server at this URL, over HTTP, instead of a database; else TELLWIRE_URL."
ServerUrl = Annotated[
    str | None,
    typer.Option("--server", "--url", help=_SERVER_HELP, metavar="URL", show_default=False),
]
ServerOnly = Annotated[
    str | None,
    typer.Option("--server", help=_SERVER_HELP, metavar="URL", show_default=False),
]
"""For commands whose ``--url`` is another."""
ServerKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The API key for that server; better in TELLWIRE_KEY or a profile: others on this machine can see flags.",
        metavar="KEY",
        show_default=False,
    ),
]

ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Ask the server of this profile, see `tellwire profiles`; else TELLWIRE_PROFILE.",
        metavar="NAME",
        show_default=False,
    ),
]


def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A parameter that Typer reads as an option."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def setting_options(*names: str) -> list[inspect.Parameter]:
    """One option for each setting (or for these), in the order of the table and under its headings."""
    return [
        keyword(setting.name, _annotation(setting), None)
        for setting in TABLE
        if not names or setting.name in names
    ]


def signed(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], like: Callable[..., Any]
) -> Callable[..., Any]:
    """``function`` with the name and docstring of ``like`` and with these parameters, as Typer reads them."""
    function.__name__, function.__doc__ = like.__name__, like.__doc__
    function.__module__ = like.__module__
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    return function


def _annotation(setting: Setting) -> Any:
    default = written_default(setting)
    text = f"{setting.doc} Takes {setting.kind.takes}; default: {default or 'not set'}."
    if setting.secret:
        text += " Others on this machine can see flags: better set it in the environment."
    shared: dict[str, Any] = {
        "help": escape(text.replace("`", "")),
        "rich_help_panel": setting.group,
        "show_default": False,
    }
    if setting.kind is SWITCH:
        return Annotated[
            bool | None, typer.Option(f"{setting.flag}/--no-{setting.flag.removeprefix('--')}", **shared)
        ]
    return Annotated[str | None, typer.Option(setting.flag, metavar="VALUE", **shared)]
