"""The command line's table of contents."""

import sys
from typing import Any

import typer

from .serve import serve
from .version import version

app = typer.Typer(
    name="tellwire",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # they print local variables, where secrets live
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def about() -> None:
    """The event layer of an API: publish events, deliver signed webhooks, lose nothing."""


app.command("serve")(serve())
app.command("version")(version)


def run(args: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        app(args)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    return 0
