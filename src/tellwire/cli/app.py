"""The command line's table of contents."""

import os
import sys
from typing import Annotated, Any

import typer

from .audit import audit
from .config import config
from .deliveries import deliveries
from .doctor import doctor
from .endpoints import endpoints
from .event_types import event_types
from .events import events
from .filters import filters
from .health import health, metrics
from .keys import keys
from .migrate import migrate
from .profiles import profiles
from .publish import publish
from .receive import receive
from .replays import replays
from .reseal import reseal
from .serve import serve
from .stats import stats
from .tenants import tenants
from .tokens import tokens
from .version import version
from .worker import worker

app = typer.Typer(
    name="tellwire",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # they print local variables, where secrets live
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="As `tellwire version`.")
    ] = False,
) -> None:
    """The event layer of an API: publish events, deliver signed webhooks, lose nothing."""


app.command("serve")(serve())
app.command("worker")(worker())
app.command("publish")(publish)
app.command("receive")(receive)
app.add_typer(events)
app.add_typer(event_types)
app.add_typer(endpoints)
app.add_typer(filters)
app.add_typer(deliveries)
app.add_typer(replays)
app.add_typer(tenants)
app.add_typer(keys)
app.add_typer(tokens)
app.add_typer(audit)
app.command("stats")(stats)
app.command("health")(health)
app.command("metrics")(metrics)
app.add_typer(profiles)
app.command("config")(config)
app.command("doctor")(doctor)
app.command("migrate")(migrate)
app.command("reseal")(reseal)
app.command("version")(version)


def run(args: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        app(args)
        sys.stdout.flush()
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except OSError as error:  # the commands tell of every other; this is standard output, full or gone
        sys.stderr.write(f"the output could not be written: {error.strerror or error}\n")
        _discard_output()
        return 1
    return 0


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere, instead of failing once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
