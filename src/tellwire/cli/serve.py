"""``tellwire serve``: the server, in the foreground, until SIGTERM or Ctrl-C."""

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..listening import bound_sockets, url_of
from ..settings import Loaded, Settings, load
from .banner import banner, without_key
from .dev_key import dev_key_beside
from .failures import complain, not_listening, told
from .flags import ConfigFile, Json, keyword, setting_options, signed
from .foreground import board_of, run_processes, tell_started, watch_sockets
from .local import database_path

if TYPE_CHECKING:
    from ..hub import Tellwire


def serve() -> Callable[..., None]:
    """Run the server: HTTP API and deliveries, until SIGTERM or Ctrl-C.

    Each setting can be given as a flag, in the environment or in a TOML file; flags win. --dev is for your own machine:
    it allows deliveries to http://127.0.0.1 and prints a key and curl lines to start with.
    """

    def command(*, config: Path | None, json: bool, **flags: Any) -> None:
        with told():
            loaded = load(os.environ, config, flags)
            _run(loaded, as_json=json)

    parameters = [
        keyword("config", ConfigFile, None),
        *setting_options(),
        keyword("json", Json, False),
    ]
    return signed(command, parameters, serve)


def _run(loaded: Loaded, *, as_json: bool) -> None:
    settings = loaded.settings
    try:
        sockets = bound_sockets(settings.host, settings.port)
    except OSError as error:
        raise not_listening(settings.host, settings.port, error) from error
    watch = watch_sockets(settings)
    dev_key: str | None = None
    if settings.dev and settings.admin_key is None:
        dev_key = dev_key_beside(database_path(settings) or Path("tellwire.db"))
        settings = msgspec.structs.replace(settings, admin_key=dev_key)
    _warn_of_listeners(settings)
    hints: set[asyncio.Task[None]] = set()
    board = None if settings.metrics == "off" else board_of(settings)

    async def run(tellwire: "Tellwire", number: int, ready: Callable[[], None]) -> None:
        from ..observe.metrics import Metrics
        from ..server import serve

        def started(_: str) -> None:
            ready()
            if settings.processes == 1 and settings.admin_key is None and not as_json:
                hints.add(asyncio.create_task(_hint_at_keys(tellwire)))

        metrics = None if board is None else Metrics(tellwire, board, number)
        await serve(tellwire, settings, started, sockets=sockets, watch_sockets=watch, metrics=metrics)

    def announce() -> None:
        watch_url = None if watch is None else url_of(watch[0])
        _announce(settings, dev_key, url_of(sockets[0]), watch_url, as_json=as_json)

    run_processes(settings, loaded, run, announce, deliver=settings.engine)


def _warn_of_listeners(settings: Settings) -> None:
    if settings.dev and settings.host not in {"127.0.0.1", "::1", "localhost"}:
        complain(f"a development server listens beyond this machine, on {settings.host}", "warning")


def _announce(
    settings: Settings, dev_key: str | None, url: str, watch_url: str | None, *, as_json: bool
) -> None:
    if settings.dev and not as_json:
        sys.stdout.write(banner(url, dev_key, delivers=settings.engine))
        sys.stdout.flush()
        return
    fields: dict[str, object] = {"url": url, "pid": os.getpid()}
    if dev_key:
        fields["admin_key"] = dev_key
    watched = ""
    if watch_url:
        fields["watch_url"] = watch_url
        watched = f", and is watched on {watch_url}"
    tell_started(settings, f"listens on {url}{watched}", fields, as_json=as_json)


async def _hint_at_keys(tellwire: "Tellwire") -> None:
    """Without any key nobody can use the server: say how to make one."""
    keys = (await tellwire.keys.list()).data
    now = datetime.now(UTC)
    if not any(key.revoked_at is None and (key.expires_at is None or key.expires_at > now) for key in keys):
        complain(without_key(), "note")
