"""What ``serve`` and ``worker`` have in common: they run in the foreground, alone or as several processes."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import typer

from ..listening import bound_sockets
from ..settings import Loaded, Settings
from ..version import __version__
from .failures import not_listening
from .show import write_json
from .supervisor import Child, Supervisor

if TYPE_CHECKING:
    from ..hub import Tellwire
    from ..observe.board import Board
    from ..observe.logs import LogFormat, LogLevel

_SHORT_KEY_CHARS = 20

Run = Callable[["Tellwire", int, Callable[[], None]], Awaitable[None]]
"""What one process does until it is told to stop; it gets its number, and something to call once it works."""


def run_processes(
    settings: Settings, loaded: Loaded, run: Run, announce: Callable[[], None], *, deliver: bool
) -> None:
    """Run as many processes as the settings say until a signal; ``announce`` is called when all of them work.

    Raises:
        SettingsError, StoreError: see ``Tellwire.open``.
        typer.Exit: one of several processes could not start, and has said why.
    """
    from ..observe.logs import configure

    configure(cast("LogFormat", settings.log_format), cast("LogLevel", settings.log_level))
    _warn(settings, loaded)
    if settings.processes == 1:
        _live(settings, run, announce, None, deliver=deliver)
        return
    # Before the first fork, so that the processes share the memory of what they all need.
    from .. import server, wiring  # noqa: F401 - see above

    def live(child: Child) -> None:
        _live(settings, run, child.ready, child, deliver=deliver)

    code = Supervisor(settings.processes, live, announce, grace_s=settings.grace).run()
    if code:
        raise typer.Exit(code)


def board_of(settings: Settings) -> "Board | None":
    """What several processes count on together, made before they are; one alone needs none."""
    if settings.processes == 1:
        return None
    from ..observe.board import Board
    from ..observe.families import CELLS

    return Board(settings.processes, CELLS)


def watch_sockets(settings: Settings) -> list[socket.socket] | None:
    """What health and metrics are answered on, bound already; None where no port is set. Raises RefusalError."""
    if settings.metrics_port == 0:
        return None
    try:
        return bound_sockets(settings.host, settings.metrics_port)
    except OSError as error:
        raise not_listening(settings.host, settings.metrics_port, error, "--metrics-port") from error


def tell_started(settings: Settings, sentence: str, fields: dict[str, object], *, as_json: bool) -> None:
    """Write the one line that says that everything works."""
    if as_json:
        several = {} if settings.processes == 1 else {"processes": settings.processes}
        write_json({**fields, "version": __version__, **several})
    else:
        several_text = "" if settings.processes == 1 else f" with {settings.processes} processes"
        sys.stdout.write(f"Tellwire {__version__} {sentence}{several_text}\n")
    sys.stdout.flush()


def _live(
    settings: Settings, run: Run, ready: Callable[[], None], child: Child | None, *, deliver: bool
) -> None:
    import uvloop

    from ..observe.logs import subscribe_logs
    from ..wiring import tellwire_for

    tellwire = tellwire_for(settings, deliver=deliver)
    subscribe_logs(tellwire.telemetry)

    async def main() -> None:
        if child is not None:
            child.stop_with_supervisor(asyncio.get_running_loop())
        await run(tellwire, 0 if child is None else child.number, ready)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _warn(settings: Settings, loaded: Loaded) -> None:
    import structlog

    log = structlog.get_logger()
    for warning in loaded.warnings:
        log.warning(warning)
    if settings.admin_key is not None and len(settings.admin_key) < _SHORT_KEY_CHARS and not settings.dev:
        log.warning("the admin key is short enough to be guessed: use at least 20 random characters")
