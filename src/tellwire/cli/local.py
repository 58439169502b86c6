"""Commands that ask one question, of the local database or of a server elsewhere: settings, open, ask, answer, close.

On the database they publish and manage but never deliver; a running server finds what they did within a quarter
of a second.
"""

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, get_args

from ..settings import Settings, load
from .elsewhere import client_for, server_for
from .failures import Code, RefusalError, told, warn
from .flags import (
    ConfigFile,
    DatabaseUrl,
    Json,
    ProfileName,
    ServerKey,
    ServerOnly,
    ServerUrl,
    keyword,
    setting_options,
    signed,
)
from .profile_file import Profile
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
    ``--config``, ``--server``, ``--key`` and ``--profile``. ``creates`` is for those that make sense on a database that
    is yet to be made; all others refuse, so that a mistyped path does not become an empty database. ``flags`` are
    settings that this command takes as flags.
    """
    own = list(inspect.signature(question).parameters.values())[1:]

    def command(**given: Any) -> None:
        as_json, config = given.pop("json"), given.pop("config")
        settings_given = {name: given.pop(name) for name in ("database_url", *flags)}
        named = {
            "server": given.pop("server"),
            "key": given.pop("server_key"),
            "profile": given.pop("profile"),
        }
        with told():
            server = server_for(database_url=settings_given["database_url"], config=config, **named)
            if server is not None:
                show(asyncio.run(_asked_elsewhere(server, question, given)), as_json=as_json)
                return
            settings = settings_for(config, creates=creates, **settings_given)
            show(asyncio.run(_asked(settings, question, given)), as_json=as_json)

    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    shared = [
        keyword("json", Json, False),
        keyword("database_url", DatabaseUrl, None),
        keyword("config", ConfigFile, None),
        *_server_options(own),
    ]
    return signed(command, [*own, *(setting_options(*flags) if flags else ()), *shared], question)


def on_server(question: Callable[Concatenate["Client", P], Awaitable[Shown]]) -> Callable[..., None]:
    """A command that only a server elsewhere can answer: what it asks for is in no database."""
    own = list(inspect.signature(question).parameters.values())[1:]

    def command(**given: Any) -> None:
        as_json = given.pop("json")
        named = {
            "server": given.pop("server"),
            "key": given.pop("server_key"),
            "profile": given.pop("profile"),
        }
        with told():
            server = server_for(database_url=None, config=None, **named)
            if server is None:
                raise RefusalError(
                    "only a server can answer this, no database: name one with --server, TELLWIRE_URL or --profile",
                    Code.USAGE,
                )
            show(asyncio.run(_asked_elsewhere(server, question, given)), as_json=as_json)

    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    return signed(command, [*own, keyword("json", Json, False), *_server_options(own)], question)


def _server_options(own: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """The options that name a server; a command may have a ``url`` of its own, which is then another."""
    # In Annotated, Typer's Option keeps the first of its flags as ``default``.
    flags = [getattr(about, "default", None) for one in own for about in get_args(one.annotation)]
    named = "--url" in flags
    return [
        keyword("server", ServerOnly if named else ServerUrl, None),
        keyword("server_key", ServerKey, None),
        keyword("profile", ProfileName, None),
    ]


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
    server: Profile, question: Callable[..., Awaitable[Shown]], given: dict[str, Any]
) -> Shown:
    """The same question, asked of a client: it takes the calls of a ``Tellwire``, and gives and raises the same."""
    async with client_for(server) as client:
        return await question(client, **given)
