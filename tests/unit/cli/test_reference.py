"""docs/reference/cli.md knows every command, every flag and every exit code."""

from pathlib import Path
from typing import Any

import pytest

from tellwire.cli.failures import MEANINGS, Code
from tellwire.cli.reference import commands, flags, render

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def section(name: str) -> str:
    """What the page says of one command."""
    _, found, rest = PAGE.read_text().partition(f"## tellwire {name}\n")
    assert found
    return rest.partition("\n## ")[0]


def test_page_is_current() -> None:
    """The page is what the commands say; write it anew with ``python -m tellwire.cli.reference``."""
    assert PAGE.read_text() == render()


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda it: " ".join(it) if isinstance(it, tuple) else ""
)
def test_page_names_each_flag(path: tuple[str, ...], command: Any) -> None:
    """Each command has a section with a sentence, and each of its flags and arguments a row with a meaning."""
    text = section(" ".join(path))

    assert command.help
    for parameter in command.params:
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            assert all(f"`{flag}`" in text for flag in flags(parameter))
        else:
            assert f"| `{parameter.metavar}` |" in text


@pytest.mark.parametrize("code", Code)
def test_page_names_each_exit_code(code: Code) -> None:
    """Each exit code stands in the table with its meaning."""
    assert f"| {int(code)} | {MEANINGS[code]} |" in PAGE.read_text()
