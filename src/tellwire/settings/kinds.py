"""The kinds of value that a setting can have: how each is read from text, and written back.

Every source (environment, TOML, flags) is first brought to text, so that a value means the same wherever it
stands. A ``read`` function raises ValueError with what is wrong; it never repeats what may hold a password.
``write`` is its inverse: what it shows can be read again.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..errors import SettingsError
from ..policy.retry import RetrySchedule, parse_schedule

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Number = TypeVar("Number", int, float)

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "b": 1, "kib": 1024, "mib": 1024 * 1024}


class Kind(msgspec.Struct, frozen=True):
    """What a setting takes: ``takes`` says it in words; ``many`` allows a list in TOML."""

    takes: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    many: bool = False


def whole(low: int, high: int | None = None) -> Kind:
    """A whole number between two bounds (inclusive)."""

    def read(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9][0-9_]{0,17}", text) is None:
            raise ValueError("it is not a whole number")
        return _bounded(int(text), low, high)

    return Kind(f"a whole number{_bounds(low, high)}", read)


def size(low: int, high: int | None = None) -> Kind:
    """A number of bytes, with or without ``KiB`` or ``MiB``."""

    def read(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,18})\s*([a-z]*)", text.lower())
        if match is None or match[2] not in _BYTES:
            raise ValueError("it is not a number of bytes")
        return _bounded(int(match[1]) * _BYTES[match[2]], low, high)

    bounds = _bounds(low, high, _write_size)
    return Kind(f"bytes, such as `65536`, `64KiB` or `1MiB`{bounds}", read, _write_size)


def seconds(low: float, high: float) -> Kind:
    """A length of time in seconds; ``15``, ``15s``, ``500ms`` and ``2m`` are understood."""

    def read(text: str) -> float:
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h)?", text.lower())
        if match is None:
            raise ValueError("it is not a length of time")
        return _bounded(float(match[1]) * _SECONDS[match[2] or "s"], low, high)

    return Kind(f"seconds, such as `15` or `15s`{_bounds(low, high)}", read, lambda value: f"{value:g}s")


def choice(*names: str) -> Kind:
    """One of a few words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError("there is no such choice")
        return text.lower()

    return Kind(" or ".join(f"`{name}`" for name in names), read)


def _read_switch(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("it is neither yes nor no")


def _read_host(text: str) -> str:
    if not text or re.search(r"[\s/@]", text):
        raise ValueError("it is not a host name or address")
    return text


def _read_origin(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", text) is None:
        raise ValueError("it is not a host name")
    return text


def _read_key(text: str) -> str:
    if re.fullmatch(r"[!-~]+", text) is None:
        raise ValueError("it must be visible ASCII without spaces, to travel in an HTTP header")
    return text


def _read_database_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if scheme in {"postgres", "postgresql"} and separator:
        if "/" not in rest or rest.endswith("/"):
            raise ValueError("it must end in the name of a database")
        return text
    if scheme != "sqlite" or not separator:
        raise ValueError("it is neither an SQLite nor a PostgreSQL URL")
    if rest in {"", "/", "/:memory:"}:
        raise ValueError("a server cannot keep its events in memory: they would be lost when it stops")
    if not rest.startswith("/"):
        raise ValueError("a relative path needs three slashes, an absolute one four")
    if "?" in rest or "#" in rest or rest.endswith("/"):
        raise ValueError("it must end in the name of a file, without parameters")
    return text


def _read_networks(text: str) -> tuple[Network, ...]:
    return tuple(map(_network, _items(text)))


def _network(item: str) -> Network:
    try:
        return ipaddress.ip_network(item)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(item, strict=False)
    except ValueError:
        raise ValueError(f"{item!r} is not a network") from None
    raise ValueError(f"{item!r} has bits set beyond its prefix (did you mean {str(meant)!r}?)")


def _read_ports(text: str) -> tuple[tuple[int, int], ...]:
    ranges = tuple(map(_port_range, _items(text)))
    if not ranges:
        raise ValueError("no port would be left to deliver to")
    return ranges


def _port_range(item: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", item)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"{item!r} is not a port or a range of ports between 1 and 65535")
    return low, high


def _write_ports(ranges: tuple[tuple[int, int], ...]) -> str:
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _read_servers(text: str) -> tuple[str, ...]:
    return tuple(map(_server, _items(text)))


def _server(item: str) -> str:
    match = re.fullmatch(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([0-9.]+)(?::([0-9]{1,5}))?|([0-9a-fA-F:]+)", item)
    if match is not None:
        port = match[2] or match[4]
        try:
            address = ipaddress.ip_address(match[1] or match[3] or match[5])
        except ValueError:
            pass
        else:
            if port is None:
                return str(address)
            if 1 <= int(port) <= 65535:
                return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"
    raise ValueError(f"{item!r} is not the address of a name server")


def _read_proxy(text: str) -> str | None:
    if not text:
        return None
    try:
        url = urlsplit(text)
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", text):
        raise ValueError("it is not the URL of a proxy")
    return text


def _read_text(text: str) -> str | None:
    if not text:
        return None
    if len(text) > 2_048 or not text.isprintable() or " " in text:
        raise ValueError("it must be a text without spaces")
    return text


def _read_name(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return _read_text(text) or ""


def _read_texts(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(_read_text, _items(text))))


def _read_algorithms(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_items(text)))
    for name in names:
        if name not in ALGORITHM_NAMES:
            raise ValueError(f"{name!r} is none of them; neither none nor HMAC can be allowed")
    if not names:
        raise ValueError("no algorithm would be left")
    return names


def _read_secure_url(text: str) -> str | None:
    if not text:
        return None
    try:
        url = urlsplit(text)
        good = bool(url.hostname) and url.port != 0 and url.username is None and not re.search(r"\s", text)
    except ValueError:
        good = False
    if not good or url.scheme not in {"http", "https"}:
        raise ValueError("it is no https:// URL")
    if url.scheme == "http" and url.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ValueError("https is required, but for this very machine")
    return text


_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def _read_origins(text: str) -> tuple[str, ...]:
    origins = tuple(dict.fromkeys(_items(text)))
    for origin in origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            raise ValueError(
                f"{origin!r} is no origin: scheme and host in lower case, and a port, nothing behind"
            )
    return origins


def _read_file(text: str) -> Path | None:
    if not text:
        return None
    path = Path(text)
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        raise ValueError("there is no such file")
    return path


def _read_schedule(text: str) -> RetrySchedule:
    try:
        return parse_schedule(text)
    except SettingsError as error:
        # What to do comes after the last semicolon there, and from ``takes`` here.
        wrong = str(error).rpartition("; ")[0]
        raise ValueError(wrong.removeprefix("TELLWIRE_RETRY_SCHEDULE").lstrip(": ")) from None


def _write_schedule(schedule: RetrySchedule) -> str:
    return ",".join(map(_write_delay, schedule.delays_ms))


def _write_delay(delay_ms: int) -> str:
    for unit, factor in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if delay_ms and delay_ms % factor == 0:
            return f"{delay_ms // factor}{unit}"
    return f"{delay_ms}ms"


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _write_optional(value: object) -> str:
    return "" if value is None else str(value)


def _write_list(values: tuple[object, ...]) -> str:
    return ",".join(map(str, values))


def _write_size(value: int) -> str:
    for unit, factor in (("MiB", _BYTES["mib"]), ("KiB", _BYTES["kib"])):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _bounded(value: Number, low: Number, high: Number | None) -> Number:
    if value < low:
        raise ValueError("it is too small")
    if high is not None and value > high:
        raise ValueError("it is too large")
    return value


def _bounds(low: float, high: float | None, write: Callable[[Any], str] = str) -> str:
    return f", at least {write(low)}" if high is None else f", from {write(low)} to {write(high)}"


ALGORITHM_NAMES = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""How tokens can be signed: by public keys only (see ``signing.jwt``)."""

SWITCH = Kind("`true` or `false`", _read_switch, lambda value: "true" if value else "false")
HOST = Kind("a host name or address to listen on, such as `127.0.0.1`", _read_host)
ORIGIN = Kind("a host name, such as `events.example.com`", _read_origin)
KEY = Kind("a secret text without spaces", _read_key, _write_optional)
DATABASE_URL = Kind(
    "`sqlite:///relative.db`, `sqlite:////absolute/path.db` or `postgresql://user:password@host/database`",
    _read_database_url,
)
NETWORKS = Kind(
    "networks in CIDR form, separated by commas, such as `10.0.0.0/8,fd00::/8`",
    _read_networks,
    _write_list,
    True,
)
PORTS = Kind(
    "ports and ranges, separated by commas, such as `443,8000-8999`", _read_ports, _write_ports, True
)
SERVERS = Kind(
    "addresses with an optional port, separated by commas, such as `1.1.1.1,[2606:4700:4700::1111]:53`",
    _read_servers,
    _write_list,
    True,
)
SCHEDULE = Kind(
    "delays in `ms`, `s`, `m`, `h` or `d`, separated by commas, such as `5s,5m,2h`",
    _read_schedule,
    _write_schedule,
    True,
)
PROXY = Kind("an `http://` or `https://` URL", _read_proxy, _write_optional)
FILE = Kind("the path of a file", _read_file, _write_optional)
TEXT = Kind("a text without spaces", _read_text, _write_optional)
ORIGINS = Kind(
    "origins, separated by commas, such as `https://portal.example.com`, or `*`",
    _read_origins,
    _write_list,
    True,
)
NAME = Kind("a name without spaces", _read_name)
TEXTS = Kind("texts without spaces, separated by commas", _read_texts, _write_list, True)
ALGORITHMS = Kind(
    f"names, separated by commas, of {', '.join(f'`{name}`' for name in ALGORITHM_NAMES)}",
    _read_algorithms,
    _write_list,
    True,
)
SECURE_URL = Kind("an `https://` URL", _read_secure_url, _write_optional)
