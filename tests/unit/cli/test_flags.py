"""Every setting is a flag of ``serve``, and flags win."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellwire.cli.app import app
from tellwire.cli.reference import commands, flags
from tellwire.settings import TABLE, Setting

SERVE = dict(commands())[("serve",)]


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.name)
def test_each_setting_is_a_flag(setting: Setting) -> None:
    """``tellwire serve`` takes each setting under the name that the table gives it, and reads no environment itself."""
    (option,) = [it for it in SERVE.params if it.name == setting.name]

    assert setting.flag in flags(option)
    assert option.default is None
    assert option.envvar is None


def test_switches_can_be_turned_off() -> None:
    """A switch that the environment turns on can be turned off by a flag."""
    (option,) = [it for it in SERVE.params if it.name == "dev"]

    assert flags(option) == ["--dev", "--no-dev"]


def test_every_command_can_speak_json() -> None:
    """``--json`` is everywhere."""
    without = [
        path for path, command in commands() if not any("--json" in flags(it) for it in command.params)
    ]

    assert without == []


def test_faulty_settings_end_with_6(tmp_path: Path) -> None:
    """Every fault is told at once, on standard error, with exit code 6."""
    given = ["serve", "--port", "99999", "--log-level", "loud"]
    result = CliRunner().invoke(app, given, env={"TELLWIRE_DATABASE_URL": f"sqlite:///{tmp_path}/a.db"})

    assert result.exit_code == 6
    assert result.stdout == ""
    assert "--port" in result.stderr
    assert "--log-level" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_config_shows_values_and_origins(tmp_path: Path) -> None:
    """``tellwire config`` shows each setting once, where it comes from, and no secret."""
    file = tmp_path / "t.toml"
    file.write_text('port = 1234\nadmin_key = "hunter2"\n')
    environment = {"TELLWIRE_HOST": "::1", "TELLWIRE_NONSENSE": "1"}
    result = CliRunner().invoke(app, ["config", "--json", "--config", str(file)], env=environment)
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert list(found["settings"]) == [setting.name for setting in TABLE]
    assert found["settings"]["port"]["value"] == "1234"
    assert found["settings"]["host"]["origin"] == "environment TELLWIRE_HOST"
    assert "hunter2" not in result.output
    assert "TELLWIRE_NONSENSE" in result.stderr

    table = CliRunner().invoke(app, ["config", "--config", str(file)], env=environment).stdout
    assert all(setting.name in table for setting in TABLE)
