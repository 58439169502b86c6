"""``tellwire config``: every setting, its value and where it comes from."""

import os
from itertools import groupby
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..settings import TABLE, Loaded, load
from .failures import told, warn
from .flags import ConfigFile, Json
from .show import Shown, cell, show


def config(json: Json = False, config: ConfigFile = None) -> None:
    """Show every setting, its value and where it comes from. Secrets are hidden."""
    with told():
        loaded = load(os.environ, config)
        warn(loaded.warnings)
        show(Shown(_value(loaded), lambda: _table(loaded)), as_json=json)


def _value(loaded: Loaded) -> dict[str, Any]:
    rows = {
        row.name: {"value": row.value, "origin": row.origin, "variable": row.variable, "doc": row.doc}
        for row in loaded.rows()
    }
    return {"file": None if loaded.toml_path is None else str(loaded.toml_path), "settings": rows}


def _table(loaded: Loaded) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("setting", "value", "origin"):
        table.add_column(column, overflow="fold")
    groups = {setting.name: setting.group for setting in TABLE}
    for heading, rows in groupby(loaded.rows(), key=lambda row: groups[row.name]):
        table.add_row(Text(heading, style="bold"), "", "")
        for row in rows:
            origin = cell(row.origin)
            origin.stylize("dim" if row.origin == "default" else "cyan")
            table.add_row(cell(row.name), cell(row.value or None), origin)
    return table
