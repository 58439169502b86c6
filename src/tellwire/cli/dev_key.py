"""The key of a development server: made once and kept beside the database, so that copied curl lines go on working."""

import os
import secrets
from pathlib import Path

from ..errors import SettingsError

NAME = "tellwire.dev-key"
PREFIX = "tw_dev_"


def dev_key_beside(database: Path) -> str:
    """The key in ``tellwire.dev-key`` (mode 0600) beside ``database``; made if missing.

    Raises:
        SettingsError: the file cannot be made or read, or holds no key.
    """
    path = database.parent / NAME
    try:
        if not path.exists():
            _make(path)
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the file {NAME} beside the database cannot be used ({error}): remove it, or set TELLWIRE_ADMIN_KEY"
        ) from error
    if not key.startswith(PREFIX) or len(key) < len(PREFIX) + 32 or not key.isprintable() or " " in key:
        raise SettingsError(f"the file {NAME} beside the database holds no key: remove it to get a new one")
    return key


def _make(path: Path) -> None:
    draft = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{PREFIX}{secrets.token_urlsafe(32)}\n")
        try:
            os.link(draft, path)  # whoever finds the file finds it whole; of two that make it, one wins
        except FileExistsError:
            pass
    finally:
        draft.unlink()
