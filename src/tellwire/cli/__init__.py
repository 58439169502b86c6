"""The command line, ``tellwire``: one module per group of commands, and ``app`` where they come together.

Needs the extra ``server`` (Typer and rich); without it, ``main`` says so in one sentence. Everything heavy is imported
by the command that needs it.
"""

import os
import sys
from contextlib import suppress
from typing import NoReturn

_PARTS = frozenset({"typer", "rich", "click", "uvicorn", "uvloop", "structlog", "fastapi", "httptools"})


def main() -> None:
    """Run the command line and exit; the codes are in docs/reference/cli.md."""
    try:
        from .app import run

        code = run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PARTS:
            raise
        sys.stderr.write(f"tellwire: {error.name} is missing: pip install 'tellwire[server]'\n")
        code = 1
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart: everything that was open has been closed.

    Why not ``sys.exit``: a thread of the HTTP client that wants the interpreter once more after a failed request, and
    finds it half gone, aborts the process (seen on CPython 3.11: code 134 instead of the documented one).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # gone, or closed: `run` has told of it
            stream.flush()
    os._exit(code)
