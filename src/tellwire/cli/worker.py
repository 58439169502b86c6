"""``tellwire worker``: deliveries only, in the foreground, until SIGTERM or Ctrl-C."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..listening import url_of
from ..settings import TABLE, load
from ..settings.table import LIMITS
from .failures import told
from .flags import ConfigFile, Json, keyword, setting_options, signed
from .foreground import board_of, run_processes, tell_started, watch_sockets

if TYPE_CHECKING:
    from ..hub import Tellwire

_OF_THE_API = frozenset({"port", "engine", "admin_key"})


def worker() -> Callable[..., None]:
    """Deliver what others publish on the same database, until SIGTERM or Ctrl-C. There is no HTTP API;
    --metrics-port answers /metrics, /healthz and /readyz.

    On PostgreSQL, run as many as you like, beside servers with or without --no-engine. On SQLite, one worker beside one
    server with --no-engine works, on the same machine.
    """

    def command(*, config: Path | None, json: bool, **flags: Any) -> None:
        with told():
            loaded = load(os.environ, config, flags)
            settings = loaded.settings
            sockets = watch_sockets(settings)
            board = board_of(settings) if sockets and settings.metrics != "off" else None

            async def run(tellwire: "Tellwire", number: int, ready: Callable[[], None]) -> None:
                from ..observe.metrics import Metrics
                from ..server import work

                metrics = None if board is None else Metrics(tellwire, board, number)
                await work(tellwire, settings, ready, sockets=sockets, metrics=metrics)

            def announce() -> None:
                fields: dict[str, object] = {"pid": os.getpid()}
                where = f", and is watched on {url_of(sockets[0])}" if sockets else ""
                if sockets:
                    fields["url"] = url_of(sockets[0])
                tell_started(settings, f"delivers{where}", fields, as_json=json)

            run_processes(settings, loaded, run, announce, deliver=True)

    names = [one.name for one in TABLE if one.group != LIMITS and one.name not in _OF_THE_API]
    parameters = [keyword("config", ConfigFile, None), *setting_options(*names), keyword("json", Json, False)]
    return signed(command, parameters, worker)
