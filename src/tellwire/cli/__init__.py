"""The command line, ``tellwire``: one module per group of commands, and ``app`` where they come together.

Needs the extra ``server`` (Typer and rich); without it, ``main`` says so in one sentence. Everything heavy is imported
by the command that needs it.
"""

import sys

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
    sys.exit(code)
