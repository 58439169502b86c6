"""Profiles: servers elsewhere by name, with their URLs and keys, in a file of this user's.

    default = "staging"

    [profiles.staging]
    url = "https://events.staging.example.com"
    key = "tw_test_..."

Source of its place: XDG Base Directory Specification 0.8.
"""

import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import SettingsError

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FIELDS: Final = ("url", "key")
_MOST_BYTES: Final = 1 << 20


class Profile(msgspec.Struct, frozen=True):
    """A server elsewhere: where it is, and with which API key it is asked, if one is kept."""

    url: str
    key: str | None = None


class Profiles(msgspec.Struct, frozen=True):
    """What stands in the file."""

    profiles: dict[str, Profile]
    default: str | None = None


def profiles_path(env: Mapping[str, str]) -> Path:
    """``tellwire/config.toml`` under ``XDG_CONFIG_HOME``, which is ``~/.config`` unless it is absolute."""
    home = Path(env.get("XDG_CONFIG_HOME", ""))
    return (home if home.is_absolute() else Path("~/.config").expanduser()) / "tellwire" / "config.toml"


def read_profiles(path: Path) -> tuple[Profiles, list[str]]:
    """The profiles, none where there is no file; and warnings.

    Raises SettingsError, which names the file and the field that cannot be used.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return Profiles({}), []
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > _MOST_BYTES:
        raise SettingsError(f"{path} is larger than {_MOST_BYTES} bytes: it is no file of profiles")
    try:
        document = tomllib.loads(raw.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise SettingsError(f"{path} is no TOML: {error}") from None
    found = _checked(path, document)
    others = stat.S_IMODE(mode) & 0o077
    has_keys = any(profile.key for profile in found.profiles.values())
    advice = f"{path} has API keys and can be read by others: run `chmod 600 {path}`"
    return found, [advice] if others and has_keys else []


def write_profiles(path: Path, profiles: Profiles) -> None:
    """Put the profiles in the place of the file, which only this user can read. Raises SettingsError."""
    lines = [] if profiles.default is None else [f"default = {_quoted(profiles.default)}", ""]
    for name, profile in sorted(profiles.profiles.items()):
        lines += [f"[profiles.{_quoted(name)}]", f"url = {_quoted(profile.url)}"]
        lines += [] if profile.key is None else [f"key = {_quoted(profile.key)}"]
        lines.append("")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # mode 0600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write("\n".join(lines))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from None


def check_profile(where: str, name: str, url: object, key: object) -> Profile:
    """A profile of checked fields. Raises SettingsError, whose text begins with ``where``."""
    if _NAME.fullmatch(name) is None:
        raise SettingsError(f"{where}: the name {name[:80]!r} must be 1 to 64 of A-Z a-z 0-9 . _ -")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")) or not url.isprintable():
        raise SettingsError(f"{where}: url: must be a URL that begins with https:// or http://")
    if key is not None and not (isinstance(key, str) and key and key.isascii() and key.isprintable()):
        raise SettingsError(f"{where}: key: must be an API key of printable ASCII, such as tw_live_...")
    return Profile(url, key)


def _checked(path: Path, document: dict[str, Any]) -> Profiles:
    default, tables = document.pop("default", None), document.pop("profiles", {})
    for name in document:
        raise SettingsError(f"{path}: {name}: is no field; there are `default` and [profiles.NAME]")
    if not isinstance(tables, dict):
        raise SettingsError(f"{path}: profiles: must be tables [profiles.NAME]")
    profiles = {}
    for name, fields in tables.items():
        where = f"{path}: profiles.{name}"
        if not isinstance(fields, dict):
            raise SettingsError(f"{where}: must be a table with url and key")
        for field in fields:
            if field not in _FIELDS:
                raise SettingsError(f"{where}: {field}: is no field of a profile; there are url and key")
        profiles[name] = check_profile(where, name, fields.get("url"), fields.get("key"))
    if default is not None and (not isinstance(default, str) or default not in profiles):
        raise SettingsError(f"{path}: default: there is no profile {default!r}")
    return Profiles(profiles, default)


def _quoted(text: str) -> str:
    """A TOML basic string: of what is allowed here, JSON's."""
    return json.dumps(text, ensure_ascii=False)
