"""The key of a development server, and the lines that use it."""

import shlex
import stat
from pathlib import Path

import pytest

from tellwire.cli.banner import banner
from tellwire.cli.dev_key import NAME, dev_key_beside
from tellwire.errors import SettingsError


def test_key_is_kept(tmp_path: Path) -> None:
    """The key is made once, readable by its owner alone, and stays the same."""
    key = dev_key_beside(tmp_path / "a.db")

    assert dev_key_beside(tmp_path / "a.db") == key
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "text", ["", "tw_dev_short", "x" * 60, "tw_dev_" + "a" * 20 + " " + "b" * 20, "tw_dev_ü"]
)
def test_damaged_key_is_refused(tmp_path: Path, text: str) -> None:
    """A file that holds no key is not taken for one."""
    (tmp_path / NAME).write_text(text)

    with pytest.raises(SettingsError, match="remove it"):
        dev_key_beside(tmp_path / "a.db")


def test_missing_folder_is_told(tmp_path: Path) -> None:
    """Where the folder of the database is missing, the message names the file."""
    with pytest.raises(SettingsError, match=NAME):
        dev_key_beside(tmp_path / "nowhere" / "a.db")


def test_banner_lines_are_shell() -> None:
    """The curl lines are whole commands as they stand, with address and key."""
    text = banner("http://127.0.0.1:8400", "tw_dev_1")
    commands = [shlex.split(line) for line in text.replace("\\\n", "").splitlines() if "curl" in line]

    assert len(commands) == 2
    for command in commands:
        assert command[:2] == ["curl", "-sS"]
        assert command[2].startswith("http://127.0.0.1:8400/v1/")
        assert "Authorization: Bearer tw_dev_1" in command


def test_banner_hides_a_key_of_yours() -> None:
    """An admin key that somebody set is not printed."""
    assert "Bearer $TELLWIRE_ADMIN_KEY" in banner("http://127.0.0.1:8400", None)


def test_banner_of_a_server_without_an_engine_names_the_worker() -> None:
    """Who follows the lines would else wait for a delivery that nobody makes."""
    assert "worker --dev" in banner("http://127.0.0.1:8400", "tw_dev_1", delivers=False)
    assert "worker" not in banner("http://127.0.0.1:8400", "tw_dev_1")
