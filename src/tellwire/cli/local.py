"""Commands that ask one question, of the local database or of a server elsewhere: settings, open, ask, answer, close.

On the database they publish and manage but never deliver; a running server finds what they did within a quarter
of a second.
"""

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from ..settings import Settings, load
from .failures import Code, RefusalError, told, warn
from .flags import ConfigFile, DatabaseUrl, Json, ServerKey, ServerUrl, keyword, setting_options, signed
from .show import Shown, show

if TYPE_CHECKING:
    from ..client import Client
    from ..hub import Tellwire

P = ParamSpec("P")
Question = Callable[Concatenate["Tellwire", P], Awaitable[Shown]]


def on_database(
    question: Question[P], *, creates: bool = False, flags: Sequence[str] = ()
) -> Callable[..., None]:
    """A command that opens the database (or speaks to the server at ``--server``), asks and shows the answer.

    The command takes what ``question`` takes after its first parameter, and ``--json``, ``--database-url``,
    ``--config``, ``--server`` and ``--key``. ``creates`` is for those that make sense on a database that is yet to be
    made; all others refuse, so that a mistyped path does not become an empty database. ``flags`` are settings that this
    command takes as flags.
    """
    own = list(inspect.signature(question).parameters.values())[1:]

    def command(**given: Any) -> None:
        as_json, config = given.pop("json"), given.pop("config")
        settings_given = {name: given.pop(name) for name in ("database_url", *flags)}
        server, key = given.pop("server"), given.pop("server_key")
        with told():
            if server is not None and settings_given["database_url"] is None:
                show(asyncio.run(_asked_elsewhere(server, key, question, given)), as_json=as_json)
                return
            settings = settings_for(config, creates=creates, **settings_given)
            show(asyncio.run(_asked(settings, question, given)), as_json=as_json)

    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    shared = [
        keyword("json", Json, False),
        keyword("database_url", DatabaseUrl, None),
        keyword("config", ConfigFile, None),
        keyword("server", ServerUrl, None),
        keyword("server_key", ServerKey, None),
    ]
    return signed(command, [*own, *(setting_options(*flags) if flags else ()), *shared], question)


def settings_for(config: Path | None, *, creates: bool, **flags: object) -> Settings:
    """The settings of a command, with the ``flags`` that were given; odd ones are warned of.

    Raises:
        SettingsError: one cannot be used.
        RefusalError: there is no database, and this command is not to make one.
    """
    loaded = load(os.environ, config, flags)
    warn(loaded.warnings)
    path = database_path(loaded.settings)
    if not creates and path is not None and not path.exists():
        raise RefusalError(
            f"there is no database {str(path)!r}: name the right one with --database-url or TELLWIRE_DATABASE_URL, "
            "or make one with `tellwire serve` or `tellwire migrate`",
            Code.DATABASE,
        )
    return loaded.settings


def database_path(settings: Settings) -> Path | None:
    """The file that a checked database URL names; None where it is not on SQLite."""
    scheme, _, path = settings.database_url.partition(":///")
    return Path(path) if scheme == "sqlite" else None


async def _asked(
    settings: Settings, question: Callable[..., Awaitable[Shown]], given: dict[str, Any]
) -> Shown:
    from ..wiring import tellwire_for

    async with tellwire_for(settings, deliver=False) as tellwire:
        return await question(tellwire, **given)


async def _asked_elsewhere(
    url: str, key: str | None, question: Callable[..., Awaitable[Shown]], given: dict[str, Any]
) -> Shown:
    """The same question, asked of a client: it takes the calls of a ``Tellwire``, and gives and raises the same."""
    async with client_for(url, key) as client:
        return await question(client, **given)


def client_for(url: str, key: str | None) -> "Client":
    """A client of the server at ``url``. Raises RefusalError without a key."""
    from ..client import Client

    if not key:
        raise RefusalError("an API key is missing: set TELLWIRE_KEY, or give --key", Code.SETTINGS)
    return Client(url, key)
