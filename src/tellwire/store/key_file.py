"""The key that seals secrets at rest, where nobody gave one: a file beside the database, for its owner alone."""

import base64
import os
import secrets
from pathlib import Path

from tellwire.errors import SettingsError
from tellwire.signing.vault import Vault

NAME = "tellwire.key"


def vault_beside(database: Path) -> Vault:
    """The vault with the key in ``tellwire.key`` beside ``database``; the file (mode 0600) is made if missing.

    It may hold several keys, a line each: the first seals.

    Raises:
        SettingsError: the file cannot be made or read, or holds no key.
    """
    path = database.parent / NAME
    try:
        if not path.exists():
            _refuse_orphan(database, path)
            _make(path)
        return Vault.from_setting(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the key file {path.name} beside the database cannot be used ({error}): "
            "mend it, or set TELLWIRE_SECRET_KEY"
        ) from error


def _refuse_orphan(database: Path, path: Path) -> None:
    # The key is always made before the database (so this is the order to look in: another process may be making both).
    # With a new one, what was sealed could never be opened again.
    if database.exists() and database.stat().st_size and not path.exists():
        raise SettingsError(
            f"the database {database.name} is there, and the key file {path.name} that seals its secrets is not: "
            "restore the file, or set TELLWIRE_SECRET_KEY to the key (nothing was changed)"
        )


def _make(path: Path) -> None:
    # Written under another name first, then linked: whoever finds the file finds it whole, and of several processes
    # that start at once exactly one makes it.
    draft = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
    finally:
        draft.unlink()
