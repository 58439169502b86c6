"""``tellwire serve``: the server, in the foreground, until SIGTERM or Ctrl-C."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..settings import Loaded, Settings, load
from ..version import __version__
from .banner import banner, without_key
from .dev_key import dev_key_beside
from .failures import RefusalError, complain, not_listening, told
from .flags import ConfigFile, Json, keyword, setting_options, signed
from .local import database_path
from .show import write_json

if TYPE_CHECKING:
    from ..hub import Tellwire
    from ..observe.logs import LogFormat, LogLevel


_SHORT_KEY_CHARS = 20


def serve() -> Callable[..., None]:
    """Run the server: HTTP API and deliveries, until SIGTERM or Ctrl-C.

    Each setting can be given as a flag, in the environment or in a TOML file; flags win. --dev is for your own machine:
    it allows deliveries to http://127.0.0.1 and prints a key and curl lines to start with.
    """

    def command(*, config: Path | None, json: bool, **flags: Any) -> None:
        with told():
            loaded = load(os.environ, config, flags)
            _run(loaded, as_json=json)

    parameters = [keyword("config", ConfigFile, None), *setting_options(), keyword("json", Json, False)]
    return signed(command, parameters, serve)


def _run(loaded: Loaded, *, as_json: bool) -> None:
    settings = loaded.settings
    _check_address(settings.host, settings.port)
    dev_key: str | None = None
    if settings.dev and settings.admin_key is None:
        dev_key = dev_key_beside(database_path(settings) or Path("tellwire.db"))
        settings = msgspec.structs.replace(settings, admin_key=dev_key)

    import uvloop

    from ..observe.logs import configure
    from ..server import serve as serve_until_stopped
    from ..wiring import tellwire_for

    configure(cast("LogFormat", settings.log_format), cast("LogLevel", settings.log_level))
    tellwire = tellwire_for(settings)
    _log(tellwire, loaded)

    async def main() -> None:
        hints: set[asyncio.Task[None]] = set()

        def started(url: str) -> None:
            _announce(settings, dev_key, url, as_json=as_json)
            if settings.admin_key is None and not as_json:
                hints.add(asyncio.create_task(_hint_at_keys(tellwire)))

        await serve_until_stopped(tellwire, settings, started)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except OSError as error:
        raise not_listening(settings.host, settings.port, error) from error
    except SystemExit as error:  # uvicorn's way to say that it cannot listen; it has logged why
        if error.code:
            raise RefusalError(f"cannot listen on {settings.host} port {settings.port}") from error


def _log(tellwire: "Tellwire", loaded: Loaded) -> None:
    import structlog

    from ..observe.logs import subscribe_logs

    subscribe_logs(tellwire.telemetry)
    log = structlog.get_logger()
    for warning in loaded.warnings:
        log.warning(warning)
    settings = loaded.settings
    if settings.admin_key is not None and len(settings.admin_key) < _SHORT_KEY_CHARS and not settings.dev:
        log.warning("the admin key is short enough to be guessed: use at least 20 random characters")
    if settings.dev and settings.host not in {"127.0.0.1", "::1", "localhost"}:
        log.warning("a development server listens beyond this machine", host=settings.host)


def _announce(settings: Settings, dev_key: str | None, url: str, *, as_json: bool) -> None:
    if as_json:
        started: dict[str, Any] = {"url": url, "version": __version__, "pid": os.getpid()}
        write_json(started | ({"admin_key": dev_key} if dev_key else {}))
    elif settings.dev:
        sys.stdout.write(banner(url, dev_key))
    else:
        sys.stdout.write(f"Tellwire {__version__} listens on {url}\n")
    sys.stdout.flush()


async def _hint_at_keys(tellwire: "Tellwire") -> None:
    """Without any key nobody can use the server: say how to make one."""
    keys = (await tellwire.keys.list()).data
    now = datetime.now(UTC)
    if not any(key.revoked_at is None and (key.expires_at is None or key.expires_at > now) for key in keys):
        complain(without_key(), "note")


def _check_address(host: str, port: int) -> None:
    """Refuse an address that is taken before anything is opened.

    Raises:
        RefusalError: it cannot be listened on.
    """
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        raise not_listening(host, port, error) from error
