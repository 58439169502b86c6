"""``tellwire version``."""

import platform
import sqlite3
import sys

from ..version import __version__
from .flags import Json
from .show import write_json


def version(json: Json = False) -> None:
    """Say which Tellwire this is, and what it runs on."""
    parts = {
        "tellwire": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(terse=True),
    }
    if json:
        write_json(parts)
    else:
        about = ", ".join(f"{name} {value}" for name, value in parts.items() if name != "tellwire")
        sys.stdout.write(f"Tellwire {__version__} ({about})\n")
