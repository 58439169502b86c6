"""Expected errors end in a sentence and a code."""

import subprocess
import sys

import pytest
import typer

from tellwire.cli.failures import Code, RefusalError, code_of, told
from tellwire.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SettingsError,
    StoreUnavailableError,
    StoreVersionError,
    TellwireError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError.at("url", msg="is bad"), Code.REFUSED),
        (RefusalError("no", Code.USAGE), Code.USAGE),
        (NotFoundError("event", "evt_1"), Code.NOT_FOUND),
        (ConflictError("taken"), Code.CONFLICT),
        (StoreUnavailableError("locked"), Code.DATABASE),
        (StoreVersionError("newer"), Code.DATABASE),
        (SettingsError("port"), Code.SETTINGS),
    ],
    ids=lambda it: type(it).__name__,
)
def test_codes(error: TellwireError, code: Code, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind of error has its exit code, and its message is all that is said."""
    assert code_of(error) is code
    with pytest.raises(typer.Exit) as ended, told():
        raise error

    assert ended.value.exit_code == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_messages_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What an error repeats from its input is made harmless."""
    with pytest.raises(typer.Exit), told():
        raise RefusalError("\x1b[2J")

    assert capsys.readouterr().err == "error: \\x1b[2J\n"


def test_faults_of_ours_are_not_hidden() -> None:
    """Only expected errors are turned into sentences."""
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_missing_extra_is_explained(missing: str) -> None:
    """Without Typer or rich, the command says what to install instead of failing in an import."""
    script = f"import sys; sys.modules[{missing!r}] = None; from tellwire.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "pip install 'tellwire[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_is_light() -> None:
    """Help and publishing load neither FastAPI nor uvicorn."""
    heavy = "[name for name in ('fastapi', 'uvicorn') if name in sys.modules]"
    script = f"import sys, tellwire.cli.app, tellwire.wiring; print({heavy})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"
