"""Expected errors end in a sentence and a code."""

import os
import subprocess
import sys

import pytest
import typer

import tellwire
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


def test_the_exit_code_does_not_hang_on_the_end_of_the_interpreter() -> None:
    """What goes wrong while the interpreter is taken apart, in threads of others, changes neither code nor output."""
    script = "import atexit, os; atexit.register(os.abort); from tellwire.cli import main; main()"
    for args, code in ((["version"], 0), (["events", "get"], 2)):
        ended = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, check=False)

        assert ended.returncode == code
        assert ended.stdout or ended.stderr


@pytest.mark.parametrize("missing", ["asyncpg", "greenlet"])
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_a_missing_driver_is_explained(missing: str, command: str) -> None:
    """With a database on PostgreSQL and without its extra, the command says what to install, and nothing is tried."""
    script = f"import sys; sys.modules[{missing!r}] = None; from tellwire.cli import main; main()"
    url = "postgresql://127.0.0.1:1/tellwire"
    environment = {**os.environ, "TELLWIRE_SECRET_KEY": "c" * 43 + "="}
    flags = [command, "--database-url", url]
    ended = subprocess.run(
        [sys.executable, "-c", script, *flags], capture_output=True, text=True, check=False, env=environment
    )

    assert ended.returncode == 6
    assert ended.stderr == (
        f"error: PostgreSQL needs the package {missing}: install it with `pip install 'tellwire[postgres]'`\n"
    )


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("tellwire.cli.app", ("sqlalchemy", "pydantic", "alembic", "fastapi", "uvicorn")),
        ("tellwire.wiring", ("fastapi", "uvicorn", "alembic")),
    ],
)
def test_imports_are_lazy(module: str, heavy: tuple[str, ...]) -> None:
    """Help and completion load no database, and publishing loads no HTTP server."""
    script = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("name", tellwire.__all__)
def test_public_names_are_there(name: str) -> None:
    """Every public name can be had from the package, imported late or not, and is listed."""
    assert getattr(tellwire, name) is getattr(tellwire, name)
    assert name in dir(tellwire)


def test_unknown_names_are_refused() -> None:
    """A name that the package does not have is an ordinary AttributeError."""
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        getattr(tellwire, "Nonsense")  # noqa: B009 - type checkers know that it is not there
