"""How a group of commands is made."""

import typer


def group(name: str, help: str) -> typer.Typer:
    """An empty group, ``tellwire NAME ...``."""
    return typer.Typer(
        name=name, help=help, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
