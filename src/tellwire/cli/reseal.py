"""``tellwire reseal``: seal all secrets at rest with the first of several secret keys, so that the others can go."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ..settings import Settings
from .failures import Code, told
from .flags import ConfigFile, DatabaseUrl, Json
from .local import settings_for
from .show import write_json

if TYPE_CHECKING:
    from ..manage.sealing import Sealed

Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if something is to do.")]


def reseal(
    check: Check = False, json: Json = False, database_url: DatabaseUrl = None, config: ConfigFile = None
) -> None:
    """Seal all secrets in the database with the first of several secret keys. Servers may go on meanwhile."""
    with told():
        settings = settings_for(config, creates=False, database_url=database_url)
        found = asyncio.run(_sealed(settings, check=check))
        if json:
            write_json(msgspec.to_builtins(found) | {"changed": not check and found.older > 0})
        else:
            sys.stdout.write(_sentence(found, check=check) + "\n")
        if check and found.older:
            raise typer.Exit(Code.REFUSED)


def _sentence(found: "Sealed", *, check: bool) -> str:
    if not found.older:
        return f"all {found.values:,} sealed values are sealed with the first key"
    share = f"{found.older:,} of {found.values:,} sealed values"
    if check:
        return f"{share} are sealed with an older key: `tellwire reseal` seals them with the first"
    return f"{share} were sealed with an older key; now all are sealed with the first"


async def _sealed(settings: Settings, *, check: bool) -> "Sealed":
    from ..wiring import tellwire_for

    async with tellwire_for(settings, deliver=False) as tellwire:
        return await (tellwire.sealing.count() if check else tellwire.sealing.reseal())
