"""Profiles: what stands in the file, what is refused, and that keys are never shown."""

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tellwire.cli.app import app
from tellwire.cli.profile_file import Profile, Profiles, profiles_path, read_profiles, write_profiles
from tellwire.errors import SettingsError

KEY = "tw_live_secret"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def run(*args: str, input: str | None = None) -> Result:
    return CliRunner().invoke(app, ["profiles", *args], input=input, catch_exceptions=False)


def test_commands(home: Path) -> None:
    """Added, listed, made the default, replaced and removed; the file is this user's, and no output has a key."""
    url = "https://a.example.com"
    outputs = [
        run("add", "a", "--url", url, "--key", "-", input=f"{KEY}\n"), run("add", "b", "--url", url, "--default"),
        run("list"), run("use", "a"), run("list", "--json"), run("add", "a", "--url", url + "/x", "--key", KEY),
    ]  # fmt: skip
    assert [one.exit_code for one in outputs] == [0] * 6
    assert KEY not in "".join(one.output for one in outputs)
    listed = json.loads(outputs[4].stdout)
    assert listed["profiles"] == [
        {"name": "a", "url": url, "has_key": True, "default": True},
        {"name": "b", "url": url, "has_key": False, "default": False},
    ]
    path = home / "tellwire" / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_profiles(path)[0] == Profiles({"a": Profile(url + "/x", KEY), "b": Profile(url)}, "a")
    assert (run("remove", "a").exit_code, run("remove", "a").exit_code, run("use", "a").exit_code) == (
        0,
        3,
        3,
    )
    assert read_profiles(path)[0] == Profiles({"b": Profile(url)})
    assert (run("use", "b").exit_code, run("use").exit_code) == (0, 0)
    assert read_profiles(path)[0].default is None


def test_names_and_values_come_back(tmp_path: Path) -> None:
    """Whatever may stand in the file is read as it was written."""
    profiles = Profiles({"a.b": Profile("https://ä.example/\"'\\", 'k"\\'), "-": Profile("http://x")}, "a.b")
    write_profiles(tmp_path / "c.toml", profiles)
    assert read_profiles(tmp_path / "c.toml")[0] == profiles


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("= 1", "is no TOML"), ("\xff", "is no TOML"), ("x = 1", "x: is no field"), ("profiles = 1", "profiles: must"),
        ("[profiles]\na = 1", "profiles.a: must be a table"), ("[profiles.a]\nurll = 1", "profiles.a: urll: is no"),
        ("[profiles.a]", "profiles.a: url: must"), ("[profiles.a]\nurl = 5", "profiles.a: url: must"),
        ('[profiles."a b"]\nurl = "http://x"', "the name 'a b'"), ('default = "x"', "default: there is no profile 'x'"),
        ("default = 5", "default: there"), ('[profiles.a]\nurl = "http://x"\nkey = ""', "profiles.a: key: must"),
        ('[profiles.a]\nurl = "http://x"\nkey = ["tw_live_secret"]', "profiles.a: key: must"),
    ],
)  # fmt: skip
def test_faults_name_file_and_field(tmp_path: Path, text: str, words: str) -> None:
    """And never say what the key is."""
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as refused:
        read_profiles(path)
    assert str(path) in str(refused.value)
    assert words in str(refused.value)
    assert KEY not in str(refused.value)


def test_others_who_can_read(tmp_path: Path) -> None:
    """A file with keys that is open to others is warned of; without keys it may be."""
    path = tmp_path / "config.toml"
    write_profiles(path, Profiles({"a": Profile("http://x", KEY)}))
    assert read_profiles(path)[1] == []
    path.chmod(0o640)
    assert "chmod 600" in read_profiles(path)[1][0]
    write_profiles(path, Profiles({"a": Profile("http://x")}))
    path.chmod(0o644)
    assert read_profiles(path)[1] == []


def test_place() -> None:
    """A relative XDG_CONFIG_HOME counts as none, as its specification says."""
    at = Path.home() / ".config/tellwire/config.toml"
    assert profiles_path({}) == profiles_path({"XDG_CONFIG_HOME": "x"}) == at
    assert profiles_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/tellwire/config.toml")


def test_nobodys_profiles_are_read_by_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever runs the tests may have profiles and settings of their own: none of them is seen."""
    path = profiles_path(os.environ)
    assert path.is_relative_to(tmp_path_factory.getbasetemp())
    assert not path.exists()
    assert [name for name in os.environ if name.startswith("TELLWIRE_")] == []
