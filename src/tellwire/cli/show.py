"""What a command found, for machines (one JSON document) and for people (tables)."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from rich.console import RenderableType

from ..clock import rfc3339, to_ms
from .safe import safe_json


class Shown(NamedTuple):
    """An answer: ``value`` is what ``--json`` writes, ``render`` draws it for people."""

    value: Any
    render: Callable[[], RenderableType]


def write_json(value: Any) -> None:
    """Write one JSON document on one line of standard output."""
    sys.stdout.write(safe_json(msgspec.json.encode(value).decode()) + "\n")
    sys.stdout.flush()


def at(time: datetime | None) -> str | None:
    """A time as every interface of Tellwire writes it."""
    return None if time is None else rfc3339(to_ms(time))
