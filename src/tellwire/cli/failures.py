"""What a command answers when it fails: one sentence on standard error and an exit code, never a traceback."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from ..errors import ConflictError, NotFoundError, SettingsError, StoreError, TellwireError
from .safe import printable


class Code(IntEnum):
    """The exit codes; ``MEANINGS`` says what each tells."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DATABASE = 5
    SETTINGS = 6
    WARNED = 7
    INTERRUPTED = 130


MEANINGS: dict[Code, str] = {
    Code.OK: "Done. A server or receiver that was stopped by SIGTERM or Ctrl-C ends so too.",
    Code.REFUSED: "Refused or failed: a field is wrong, a limit is exceeded, an address is taken; "
    "a server elsewhere does not answer, or refuses the API key; `migrate --check` found something to do; "
    "`publish` refused at least one line; `doctor` found something broken.",
    Code.USAGE: "The command line itself is wrong: an unknown command or flag, a missing argument.",
    Code.NOT_FOUND: "There is no such event, event type, endpoint, delivery, tenant or key.",
    Code.CONFLICT: "It contradicts what is stored: an idempotency key with other content, a name that is taken, "
    "a delivery that has ended.",
    Code.DATABASE: "The database is not there, cannot be read or written now, or is of a newer Tellwire.",
    Code.SETTINGS: "A setting cannot be used, or the secret key is not the one of this database.",
    Code.WARNED: "`doctor` found nothing broken, but something to look at.",
    Code.INTERRUPTED: "Interrupted by Ctrl-C.",
}


class RefusalError(TellwireError):
    """The command itself refuses, for a reason that it tells."""

    def __init__(self, sentence: str, code: Code = Code.REFUSED) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(error: TellwireError) -> Code:
    """The exit code that an expected error ends in."""
    match error:
        case RefusalError():
            return error.code
        case NotFoundError():
            return Code.NOT_FOUND
        case ConflictError():
            return Code.CONFLICT
        case StoreError():
            return Code.DATABASE
        case SettingsError():
            return Code.SETTINGS
        case _:
            return Code.REFUSED


@contextmanager
def told() -> Iterator[None]:
    """Turn expected errors into a sentence and an exit code."""
    try:
        yield
    except TellwireError as error:
        complain(str(error))
        raise typer.Exit(code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(Code.INTERRUPTED) from None


def complain(sentence: str, label: str = "error") -> None:
    """Write one diagnostic to standard error."""
    sys.stderr.write(f"{label}: {printable(sentence, keep=chr(10))}\n")
    sys.stderr.flush()


def warn(sentences: Iterable[str]) -> None:
    """Write warnings to standard error."""
    for sentence in sentences:
        complain(sentence, "warning")


def not_listening(host: str, port: int, error: OSError, flag: str = "--port") -> RefusalError:
    """The refusal where an address cannot be listened on; libraries put long words into ``strerror``."""
    numbered = error.errno is not None and error.errno > 0
    why = os.strerror(error.errno or 0) if numbered else error.strerror or str(error)
    advice = f"stop what listens there, or choose another {flag} or --host"
    return RefusalError(f"cannot listen on {host} port {port}: {why.lower()}; {advice}")
