"""Where a command goes: to the local database, or to which server elsewhere, and with which key.

What is nearer wins: flags, then the environment, then the default profile, then the local database. A key is only ever
shown to the server that it was given for: that of a profile goes nowhere else.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..settings.load import CONFIG_VARIABLE, KEY_VARIABLE, PROFILE_VARIABLE, URL_VARIABLE
from .failures import Code, RefusalError, warn
from .profile_file import Profile, profiles_path, read_profiles

if TYPE_CHECKING:
    from ..client import Client

_DATABASE_VARIABLE = "TELLWIRE_DATABASE_URL"


def server_for(
    *,
    database_url: str | None,
    config: Path | None,
    server: str | None,
    key: str | None,
    profile: str | None,
    env: Mapping[str, str] = os.environ,
) -> Profile | None:
    """The server that is asked; None: the local database is. The arguments are the flags that were given.

    Raises:
        RefusalError: flags contradict each other; there is no such profile.
        SettingsError: the file of profiles cannot be used.
    """
    if database_url is not None:
        if server is not None or profile is not None:
            raise RefusalError("--database-url and --server or --profile: give one of them", Code.USAGE)
        return None
    if server is not None and profile is not None:
        raise RefusalError("--server and --profile: give one of them", Code.USAGE)
    if server is None and profile is None:
        server, profile = env.get(URL_VARIABLE) or None, env.get(PROFILE_VARIABLE) or None
        if server is not None:
            profile = None
    if server is not None:
        return Profile(server, key or env.get(KEY_VARIABLE) or None)
    if profile is None and (config is not None or env.get(_DATABASE_VARIABLE) or env.get(CONFIG_VARIABLE)):
        return None
    path = profiles_path(env)
    known, warnings = read_profiles(path)
    name = profile or known.default
    if name is None:
        return None
    warn(warnings)
    if name not in known.profiles:
        there = ", ".join(sorted(known.profiles)) or "none"
        raise RefusalError(f"there is no profile {name!r} in {path}; there are: {there}", Code.SETTINGS)
    found = known.profiles[name]
    return Profile(found.url, key or found.key or env.get(KEY_VARIABLE) or None)


def client_for(server: Profile) -> "Client":
    """A client of a server. Raises RefusalError without a key."""
    from ..client import Client

    if not server.key:
        raise RefusalError(
            "an API key is missing: set TELLWIRE_KEY, or give --key or a profile that has one", Code.SETTINGS
        )
    return Client(server.url, server.key)
