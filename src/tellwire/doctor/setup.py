"""Settings that work and are dangerous: development in production, keys that can be guessed, doors wide open."""

import os
import stat
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from tellwire.settings import Settings
from tellwire.store.connect import is_postgres, sqlite_path
from tellwire.store.key_file import NAME

from .finding import Finding, ok, warning

_CHECK: Final = "settings"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_SHORT_KEY_CHARS: Final = 20
_WIDE_BITS: Final = 16
_METADATA: Final = IPv4Address("169.254.169.254")


def examine(settings: Settings) -> list[Finding]:
    """What is dangerous in ``settings``, or that nothing is."""
    found = [*_keys(settings), *_doors(settings), *_egress(settings), *_files(settings)]
    return found or [ok(_CHECK, "nothing dangerous is set")]


def _keys(settings: Settings) -> Iterator[Finding]:
    if settings.admin_key is not None and len(settings.admin_key) < _SHORT_KEY_CHARS:
        yield warning(
            _CHECK,
            f"admin_key has only {len(settings.admin_key)} characters and may do everything: it can be guessed",
            "make one with `openssl rand -base64 32`",
        )


def _doors(settings: Settings) -> Iterator[Finding]:
    beyond = settings.host not in _LOOPBACK
    if settings.dev:
        yield warning(
            _CHECK,
            "dev is on: deliveries may go to this very machine, over plain http",
            "start the server without --dev, and take TELLWIRE_DEV away, where strangers type in endpoint URLs",
        )
    if beyond:
        yield warning(
            _CHECK,
            f"the server listens on {settings.host}, beyond this machine, and speaks plain HTTP: API keys can be read "
            "on the way",
            "let it listen on 127.0.0.1 and put a reverse proxy with TLS in front, or see that only such a proxy can "
            "reach it",
        )
    if beyond and settings.metrics == "open":
        yield warning(
            _CHECK,
            "metrics are open to everybody who can reach the server",
            "set TELLWIRE_METRICS=key and give Prometheus a key with the scope read",
        )


def _egress(settings: Settings) -> Iterator[Finding]:
    if settings.allow_http and not settings.dev:
        yield warning(
            _CHECK,
            "allow_http is on: events and signatures can be read and changed on their way to http:// endpoints",
            "turn it off unless all such endpoints are in a network of your own",
        )
    for network in settings.egress_allow:
        if network.is_loopback and settings.dev:
            continue
        if isinstance(network, IPv4Network) and _METADATA in network:
            yield warning(
                _CHECK,
                f"egress_allow has {network}, where clouds keep the credentials of this machine: whoever makes an "
                "endpoint can have them called",
                "allow only the addresses of your own consumers",
            )
        elif network.max_prefixlen - network.prefixlen > _WIDE_BITS:
            yield warning(
                _CHECK,
                f"egress_allow has {network}: so wide a network that deliveries can reach far more than consumers",
                "allow only the addresses of your own consumers, such as 10.20.30.0/28",
            )


def _files(settings: Settings) -> Iterator[Finding]:
    if is_postgres(settings.database_url):
        return
    path = sqlite_path(settings.database_url)
    files = {"the database": path}
    if settings.secret_key is None:
        files["the key file"] = path.parent / NAME
    for what, file in files.items():
        mode = _mode(file)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield warning(
                _CHECK,
                f"{what} {file} can be read by others on this machine (mode {stat.S_IMODE(mode):o})",
                f"chmod 600 {file}",
            )


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0
