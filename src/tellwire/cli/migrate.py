"""``tellwire migrate``: bring the database to this version's tables, or only look, or print the SQL."""

import asyncio
import io
import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from ..errors import StoreVersionError
from ..settings import Settings
from .failures import Code, RefusalError, told
from .flags import ConfigFile, DatabaseUrl, Json
from .local import database_path, settings_for
from .show import write_json

Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if something is to do.")]
Sql = Annotated[bool, typer.Option("--sql", help="Print the SQL of all migrations; no database is opened.")]


def migrate(
    check: Check = False,
    sql: Sql = False,
    json: Json = False,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """Bring the database to this version's tables, or make it; `serve` does so by itself."""
    with told():
        if check and sql:
            raise RefusalError("give either --check or --sql, not both", Code.USAGE)
        if sql:
            settings = settings_for(config, creates=True, database_url=database_url)
            _print_sql("postgresql" if database_path(settings) is None else "sqlite", as_json=json)
            return
        settings = settings_for(config, creates=True, database_url=database_url)
        stored, known = _stored_version(settings), _known_version()
        if stored is not None and stored > known:
            raise StoreVersionError(
                f"the database is at version {stored}, this Tellwire knows {known} at most: "
                "upgrade Tellwire (nothing was changed)"
            )
        if not check and stored != known:
            asyncio.run(_open_once(settings))
        _tell(stored, known, changed=not check and stored != known, as_json=json)
        if check and stored != known:
            raise typer.Exit(Code.REFUSED)


def _tell(stored: str | None, known: str, *, changed: bool, as_json: bool) -> None:
    value: dict[str, Any] = {"stored": stored, "known": known, "current": changed or stored == known}
    if as_json:
        write_json(value | {"changed": changed})
        return
    before = "there were no tables" if stored is None else f"it was at {stored}"
    if changed:
        sentence = f"the database is at version {known} now; {before}"
    elif stored == known:
        sentence = f"the database is at version {known}; nothing is to do"
    else:
        at = "there are no tables yet" if stored is None else f"the database is at version {stored}"
        sentence = f"{at}; `tellwire migrate` brings it to {known}"
    sys.stdout.write(sentence + "\n")


def _stored_version(settings: Settings) -> str | None:
    from ..store.connect import stored_version

    return asyncio.run(stored_version(settings.database_url))


def _known_version() -> str:
    from ..store.tables import SCHEMA_VERSION

    return SCHEMA_VERSION


def _print_sql(dialect: str, *, as_json: bool) -> None:
    from ..store.migrations.upgrade import print_sql

    written = io.StringIO()
    with redirect_stdout(written):
        print_sql(dialect)
    if as_json:
        write_json({"dialect": dialect, "sql": written.getvalue()})
    else:
        sys.stdout.write(written.getvalue())


async def _open_once(settings: Settings) -> None:
    from ..wiring import tellwire_for

    async with tellwire_for(settings, deliver=False):
        pass
