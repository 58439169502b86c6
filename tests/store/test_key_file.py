"""The key file beside the database: made once, never replaced."""

import stat
from pathlib import Path

import pytest

from tellwire.errors import SettingsError
from tellwire.store.key_file import NAME, vault_beside


def test_key_is_made_for_a_new_database(tmp_path: Path) -> None:
    """Where there is neither, a key is made that its owner alone can read, and the same key serves from then on."""
    sealed = vault_beside(tmp_path / "a.db").seal(b"secret", b"")
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert vault_beside(tmp_path / "a.db").open(sealed, b"") == b"secret"


def test_key_of_an_old_database_is_not_replaced(tmp_path: Path) -> None:
    """A database without its key file is refused: a new key would open none of its secrets and look like its own."""
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(SettingsError, match="restore the file"):
        vault_beside(tmp_path / "a.db")
    assert not (tmp_path / NAME).exists()


def test_unreadable_key_is_told(tmp_path: Path) -> None:
    """A file that holds no key is a fault of the settings, not a reason to make another."""
    (tmp_path / NAME).write_text("no key")
    with pytest.raises(SettingsError):
        vault_beside(tmp_path / "a.db")
