"""Merges the sources of settings: flags over the environment, over the TOML file, over the defaults.

Every fault of every source is told at once, so that nobody mends a set-up one restart at a time.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..errors import SettingsError
from .setting import Setting, without_password
from .table import TABLE
from .values import LOOPBACK, Settings

CONFIG_VARIABLE = "TELLWIRE_CONFIG"
URL_VARIABLE, KEY_VARIABLE, PROFILE_VARIABLE = "TELLWIRE_URL", "TELLWIRE_KEY", "TELLWIRE_PROFILE"
"""For commands that speak to a server elsewhere; no settings of a server."""
_OTHERS = (CONFIG_VARIABLE, URL_VARIABLE, KEY_VARIABLE, PROFILE_VARIABLE)
"""The environment variable that names the TOML file."""

CONFIG_FILE = "tellwire.toml"
"""The TOML file that is read from the working directory, if it is there and no other is named."""

# Kubernetes gives every pod such variables for a Service named "tellwire".
_SERVICE_LINK = re.compile(r"TELLWIRE_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")


class Origin(msgspec.Struct, frozen=True):
    """Where a value comes from; ``where`` is the file and key, the variable or the flag."""

    kind: Literal["default", "dev", "toml", "environment", "flag"]
    where: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "default":
                return "default"
            case "dev":
                return "dev preset"
            case "toml":
                return self.where
            case _:
                return f"{self.kind} {self.where}"


class Row(msgspec.Struct, frozen=True):
    """One line of ``tellwire config``; secrets are already hidden in ``value``."""

    name: str
    value: str
    origin: str
    variable: str
    doc: str


class Loaded(msgspec.Struct, frozen=True):
    """Settings, where each of them comes from, and what looked odd on the way (``warnings``, to be logged).

    ``toml_path`` is the file that was read, if any.
    """

    settings: Settings
    origins: dict[str, Origin]
    warnings: tuple[str, ...] = ()
    toml_path: Path | None = None

    def rows(self) -> list[Row]:
        """Every setting with its value and origin, for people to read."""
        return [
            Row(
                name=setting.name,
                value=setting.shown(getattr(self.settings, setting.name)),
                origin=str(self.origins[setting.name]),
                variable=setting.variable,
                doc=setting.doc,
            )
            for setting in TABLE
        ]


class _Given(msgspec.Struct, frozen=True):
    """A value as a source gave it, not read yet."""

    value: object
    origin: Origin


def load(
    env: Mapping[str, str], toml_path: Path | None = None, flags: Mapping[str, object] | None = None
) -> Loaded:
    """Read the settings from their sources.

    Args:
        env: The environment. Empty variables count as not set; unknown ``TELLWIRE_`` ones become warnings.
        toml_path: The TOML file. Without one, the file that ``TELLWIRE_CONFIG`` names is read, or else
            ``tellwire.toml`` in the working directory if it is there.
        flags: Values by the names of settings; None means that the flag was not given.

    Raises:
        SettingsError: Something cannot be used; the message tells every fault, where it is and what to do.
    """
    faults: list[str] = []
    warnings: list[str] = []
    path = _find_toml(env, toml_path, faults)
    given: dict[str, _Given] = {}
    if path is not None:
        given.update(_from_toml(path, faults))
    given.update(_from_environment(env, warnings))
    given.update(_from_flags(flags or {}, faults))

    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for setting in TABLE:
        origins[setting.name] = Origin("default")
        if (found := given.get(setting.name)) is not None:
            origins[setting.name] = found.origin
            try:
                values[setting.name] = setting.kind.read(_text(found.value, many=setting.kind.many))
            except ValueError as error:
                faults.append(_fault(setting, found, str(error)))
    if faults:
        raise SettingsError(_sentence(faults))
    _check_issuer(values)
    _apply_dev_preset(values, origins)
    return Loaded(settings=Settings(**values), origins=origins, warnings=tuple(warnings), toml_path=path)


def _find_toml(env: Mapping[str, str], toml_path: Path | None, faults: list[str]) -> Path | None:
    if toml_path is None and (named := env.get(CONFIG_VARIABLE)):
        if not Path(named).is_file():
            faults.append(f"environment {CONFIG_VARIABLE}: there is no file {named!r}; name one or unset it")
            return None
        return Path(named)
    if toml_path is None:
        return Path(CONFIG_FILE) if Path(CONFIG_FILE).is_file() else None
    if not toml_path.is_file():
        faults.append(f"there is no settings file {str(toml_path)!r}; name one that exists or leave it out")
        return None
    return toml_path


def _from_toml(path: Path, faults: list[str]) -> dict[str, _Given]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{path} cannot be read ({error.strerror}); let this user read it or name another file")
        return {}
    except UnicodeDecodeError:
        faults.append(f"{path} is not UTF-8; save it as UTF-8")
        return {}
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{path} is not TOML: {error}; write lines such as `port = 8400`")
        return {}
    names = [setting.name for setting in TABLE]
    for key in sorted(document.keys() - set(names)):
        faults.append(f"{path}: there is no setting {key!r}{_hint(key, names)}; rename or remove it")
    return {key: _Given(document[key], Origin("toml", f"{path}:{key}")) for key in names if key in document}


def _from_environment(env: Mapping[str, str], warnings: list[str]) -> dict[str, _Given]:
    names = {setting.variable: setting.name for setting in TABLE}
    given = {}
    for variable in sorted(env):
        value = env[variable]
        if not variable.startswith("TELLWIRE_") or variable in _OTHERS or not value:
            continue
        if variable not in names:
            if _SERVICE_LINK.fullmatch(variable) is None:
                warnings.append(f"environment {variable} is unknown and ignored{_hint(variable, names)}")
        elif variable == "TELLWIRE_PORT" and _SERVICE_LINK_VALUE.match(value):
            warnings.append(
                f"environment TELLWIRE_PORT is ignored: {value!r} was set by Kubernetes for a Service named"
                " 'tellwire'; set enableServiceLinks: false in the pod's specification"
            )
        else:
            given[names[variable]] = _Given(value, Origin("environment", variable))
    return given


def _from_flags(flags: Mapping[str, object], faults: list[str]) -> dict[str, _Given]:
    settings = {setting.name: setting for setting in TABLE}
    given = {}
    for name, value in flags.items():
        if name not in settings:
            faults.append(
                f"flag --{name.replace('_', '-')}: there is no setting {name!r}{_hint(name, settings)}"
            )
        elif value is not None:
            given[name] = _Given(value, Origin("flag", settings[name].flag))
    return given


def _text(value: object, *, many: bool) -> str:
    """One text for every source; a list only where the setting takes several values."""
    if many and isinstance(value, list | tuple):
        return ",".join(_text(item, many=False) for item in value)
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
        case int() | float() | Path():
            return str(value)
        case list() | tuple():
            raise ValueError("it is a list, but one value is wanted")
        case dict():
            raise ValueError("it is a table, but settings are not nested")
        case _:
            return str(value)


def _check_issuer(values: dict[str, Any]) -> None:
    """An issuer needs its audience and its keys, and these mean nothing without it. Raises SettingsError."""
    names = ("oauth_issuer", "oauth_audience", "oauth_jwks_url")
    missing = [name for name in names if not values.get(name)]
    if missing and len(missing) < len(names):
        given = next(name for name in names if name not in missing)
        raise SettingsError(f"{given} needs {' and '.join(missing)} besides: set all three, or none of them")


def _apply_dev_preset(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    if not values.get("dev"):
        return
    if origins["allow_http"].kind == "default":
        values["allow_http"] = True
        origins["allow_http"] = Origin("dev")
    allowed = values.get("egress_allow", ())
    values["egress_allow"] = (*allowed, *(network for network in LOOPBACK if network not in allowed))
    if origins["egress_allow"].kind == "default":
        origins["egress_allow"] = Origin("dev")


def _fault(setting: Setting, given: _Given, wrong: str) -> str:
    shown = "" if setting.secret else f" = {without_password(_shortened(given.value))}"
    return f"{setting.name}{shown} ({given.origin}) cannot be used: {wrong}; give {setting.kind.takes}"


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _sentence(faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return "\n".join([f"{len(faults)} settings cannot be used:", *(f"  - {fault}" for fault in faults)])
