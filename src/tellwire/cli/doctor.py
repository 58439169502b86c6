"""``tellwire doctor``: what is wrong here, and what to do about it."""

import asyncio
import os
from typing import Any

import typer
from rich.console import RenderableType
from rich.text import Text

from ..doctor.finding import Finding, Level, failure
from ..errors import SettingsError
from ..settings import load
from .failures import Code, told
from .flags import ConfigFile, DatabaseUrl, Json
from .safe import printable
from .show import Shown, show

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "red", Level.SKIPPED: "dim"}
_MEND_SETTINGS = "mend it; `tellwire config` shows every setting and where it comes from"


def doctor(json: Json = False, database_url: DatabaseUrl = None, config: ConfigFile = None) -> None:
    """Look at settings, database, deliveries and the way out; say what is wrong and what to do."""
    with told():
        try:
            loaded = load(os.environ, config, {"database_url": database_url})
        except SettingsError as error:
            found = [failure("settings", str(error), _MEND_SETTINGS)]
        else:
            from ..doctor.examine import examine

            found = [
                Finding("settings", Level.WARNING, one, _MEND_SETTINGS) for one in loaded.warnings
            ] + asyncio.run(examine(loaded.settings))
        show(Shown(_value(found), lambda: _text(found)), as_json=json)
        code = _code(found)
        if code is not Code.OK:
            raise typer.Exit(code)


def _code(found: list[Finding]) -> Code:
    levels = {finding.level for finding in found}
    if Level.FAILURE in levels:
        return Code.REFUSED
    return Code.WARNED if Level.WARNING in levels else Code.OK


def _value(found: list[Finding]) -> dict[str, Any]:
    return {
        "well": _code(found) is Code.OK,
        "failures": sum(finding.level is Level.FAILURE for finding in found),
        "warnings": sum(finding.level is Level.WARNING for finding in found),
        "findings": [
            {"check": one.check, "level": one.level, "says": one.says, "advice": one.advice} for one in found
        ],
    }


def _text(found: list[Finding]) -> RenderableType:
    text = Text(overflow="fold")
    for finding in found:
        text.append(f"{finding.level:<9}", style=_STYLES[finding.level])
        text.append(f"{finding.check:<13}", style="bold")
        text.append(printable(finding.says) + "\n")
        if finding.advice is not None:
            text.append(f"{'':22}-> {printable(finding.advice)}\n", style="cyan")
    text.rstrip()
    return text
