"""``tellwire worker``: deliveries only, in the foreground, until SIGTERM or Ctrl-C."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..settings import TABLE, load
from ..settings.table import LIMITS
from .failures import told
from .flags import ConfigFile, Json, keyword, setting_options, signed
from .foreground import run_processes, tell_started

if TYPE_CHECKING:
    from ..hub import Tellwire

_OF_THE_API = frozenset({"host", "port", "engine", "admin_key", "metrics"})


def worker() -> Callable[..., None]:
    """Deliver what others publish on the same database, until SIGTERM or Ctrl-C. There is no HTTP API.

    On PostgreSQL, run as many as you like, beside servers with or without --no-engine. On SQLite, one worker beside one
    server with --no-engine works, on the same machine.
    """

    def command(*, config: Path | None, json: bool, **flags: Any) -> None:
        with told():
            loaded = load(os.environ, config, flags)
            settings = loaded.settings

            async def run(tellwire: "Tellwire", _: int, ready: Callable[[], None]) -> None:
                from ..server import work

                await work(tellwire, ready)

            def announce() -> None:
                tell_started(settings, "delivers", {"pid": os.getpid()}, as_json=json)

            run_processes(settings, loaded, run, announce, deliver=True)

    names = [one.name for one in TABLE if one.group != LIMITS and one.name not in _OF_THE_API]
    parameters = [keyword("config", ConfigFile, None), *setting_options(*names), keyword("json", Json, False)]
    return signed(command, parameters, worker)
