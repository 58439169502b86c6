"""What PostgreSQL's errors mean for whoever publishes: try later, try again at once, or mend the input."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tellwire.errors import FieldError, InvalidInputError, StoreUnavailableError, TellwireError

from .group_commit import BlockedError

# Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE_CLASSES: Final = ("08", "28", "3D", "53", "57", "58", "F0", "XX")
_UNAVAILABLE: Final = {"25006"}
_LOCKED: Final = {"55P03"}
_COLLISIONS: Final = {"40001", "40P01"}
_UNSTORABLE: Final = {"22021", "22P05"}
_ABOUT_VALUES: Final = ("22", "23")
"""Whose DETAIL holds the row that cannot be stored, or the key that there is already."""
_GONE: Final = (OSError, TimeoutError, PoolTimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@contextmanager
def translated(database: str) -> Iterator[None]:
    """The driver's errors as ours; what is neither trouble of the server nor bad text passes as it is.

    What a row held is told by none of them: errors are logged.
    """
    try:
        yield
    except TellwireError:
        raise
    except (SQLAlchemyError, asyncpg.PostgresError, UnicodeError, ValueError, *_GONE) as error:
        cause = _cause(error)
        if isinstance(cause, asyncpg.PostgresError) and (cause.sqlstate or "")[:2] in _ABOUT_VALUES:
            _leave_out(cause.detail, error)
        found = _translation(cause, database)
        if found is None:
            raise
        raise found from error


def collided(error: BaseException) -> bool:
    """Whether another transaction was in the way, so that the same change may pass in a new one."""
    cause = _cause(error)
    if not isinstance(cause, asyncpg.PostgresError):
        return False
    unique = isinstance(cause, asyncpg.UniqueViolationError)
    return cause.sqlstate in _COLLISIONS or (unique and cause.constraint_name in _SHARED_NAMES)


def lost(error: BaseException) -> bool:
    """Whether ``error`` leaves a connection that cannot be used, and a statement of which nobody knows the end.

    Where the server itself refuses a statement it says ``ERROR``, and goes on; worse ends the connection.
    """
    cause = _cause(error)
    if isinstance(cause, asyncpg.PostgresError):
        severity = getattr(cause, "severity_en", None) or getattr(cause, "severity", None)
        return severity != "ERROR" or cause.sqlstate in _OTHER_SERVER
    if isinstance(cause, ValueError):  # the driver itself refuses what cannot be sent
        return False
    return isinstance(cause, _GONE) or not isinstance(cause, Exception)


def in_doubt(database: str, error: BaseException) -> StoreUnavailableError:
    """The error of a COMMIT that has no answer: it may have been carried out, or not."""
    cause = _cause(error)
    sentence = f"database {database}: the answer to a COMMIT was lost ({_words(cause)})"
    return StoreUnavailableError(sentence, outcome_unknown=True)


_OTHER_SERVER: Final = {"25006"}
"""What a server says that has become a replica: to be asked again on a new connection, which may lead elsewhere."""

_SHARED_NAMES: Final = {"idempotency_keys_pkey", "tenants_pkey", "revisions_pkey"}
"""What two processes may both insert in good faith; the second one then finds the row of the first."""


def _translation(cause: BaseException, database: str) -> TellwireError | None:
    if isinstance(cause, UnicodeError):
        return _unstorable()
    if isinstance(cause, asyncpg.PostgresError):
        code = cause.sqlstate or ""
        if code in _UNSTORABLE:
            return _unstorable()
        if code in _LOCKED or code in _COLLISIONS:
            return BlockedError(f"database {database}: another transaction is in the way: {_words(cause)}")
        if code not in _UNAVAILABLE and code[:2] not in _UNAVAILABLE_CLASSES:
            return None
    elif isinstance(cause, ValueError) or not isinstance(cause, _GONE):
        return None
    if isinstance(cause, TimeoutError):
        return StoreUnavailableError(f"database {database} did not answer in time")
    if isinstance(cause, OSError):
        why = cause.strerror or _words(cause)
        return StoreUnavailableError(
            f"database {database} cannot be reached ({why}): see that PostgreSQL runs there"
        )
    return StoreUnavailableError(f"database {database}: {_words(cause)}")


def _leave_out(detail: str | None, error: BaseException) -> None:
    """Take a DETAIL out of the driver's error, and out of those that SQLAlchemy has wrapped around it."""
    if not detail:
        return
    for one in _chain(error):
        one.args = tuple(
            said.replace(f"\nDETAIL:  {detail}", "") if isinstance(said, str) else said for said in one.args
        )
        if isinstance(one, asyncpg.PostgresError):
            one.detail = None


def _words(cause: BaseException) -> str:
    """What an error says, in one line: the driver puts details and hints into lines of their own."""
    return " ".join(str(cause).split()) or type(cause).__name__


def _unstorable() -> InvalidInputError:
    return InvalidInputError(
        [
            FieldError(
                (), "a text holds a character that PostgreSQL cannot store (U+0000 or half a surrogate pair)"
            )
        ]
    )


def _cause(error: BaseException) -> BaseException:
    """The driver's own error, below what SQLAlchemy has wrapped around it."""
    found = error
    for before in _chain(error):
        if isinstance(before, (asyncpg.PostgresError, UnicodeError, *_GONE)):
            found = before
            if isinstance(before, (asyncpg.PostgresError, UnicodeError)):
                break
    return found


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, the one that it came of, and so on."""
    before: BaseException | None = error
    while before is not None:
        yield before
        before = before.__cause__ or before.__context__
