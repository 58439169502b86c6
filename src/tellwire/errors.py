"""Everything Tellwire raises on purpose, so that one ``except`` can be as wide or as narrow as you like.

    TellwireError
     |- InvalidInputError        what was given is refused; ``errors`` name each field
     |   |- LimitExceededError   ... because it is larger than a limit that can be read off the error
     |- NotFoundError            no such thing (or not yours)
     |- ConflictError            it contradicts what is already there
     |- PreconditionFailedError  it was changed since you have seen it
     |- UnauthorizedError        no credentials, or none that we accept
     |- ForbiddenError           good credentials that may not do this
     |- SignatureError           a received webhook is not proven to come from its sender
     |- SettingsError            a setting cannot be used as it stands
     |- StoreError
     |   |- StoreUnavailableError   the database cannot be reached or written right now; nothing was stored
     |   |- StoreVersionError       the database was written by a newer Tellwire
     |- RemoteError              a server elsewhere did not answer, or answered what is none of these
     |- ClosedError              used after it was closed, or before it was opened

Errors carry fields, not only sentences: an API renders them, a program branches on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class TellwireError(Exception):
    """Root of every error that Tellwire raises on purpose."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in what was given: where (``("data",)``, ``("events", 3, "type")``) and what is wrong."""

    loc: tuple[str | int, ...]
    msg: str

    def under(self, *prefix: str | int) -> "FieldError":
        """The same fault, seen from outside: ``FieldError(("type",), m).under("events", 3)``."""
        return FieldError((*prefix, *self.loc), self.msg)

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.loc))}: {self.msg}" if self.loc else self.msg


class InvalidInputError(TellwireError):
    """Input was refused and nothing was stored; ``errors`` says which fields and why."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)

    @classmethod
    def at(cls, *loc: str | int, msg: str) -> "InvalidInputError":
        """The common case of a single fault at one place."""
        return cls([FieldError(loc, msg)])


class LimitExceededError(InvalidInputError):
    """Input was refused because it is over a limit; ``limit`` is its name, ``maximum`` its value."""

    def __init__(self, errors: Sequence[FieldError], *, limit: str, maximum: int) -> None:
        super().__init__(errors)
        self.limit = limit
        self.maximum = maximum


class NotFoundError(TellwireError):
    """There is no such thing: ``kind`` ("endpoint", "event", ...) and the ``id`` that was asked for."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"there is no {kind} {id!r}")
        self.kind = kind
        self.id = id


class ConflictError(TellwireError):
    """The request contradicts what is stored; ``index`` is its place in a batch, if it came in one.

    ``retry_after_s``: it contradicts only what is under way; after so many seconds the same may be done.
    """

    def __init__(self, detail: str, *, index: int | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.index = index
        self.retry_after_s = retry_after_s


class PreconditionFailedError(TellwireError):
    """The thing has been changed since it was seen by whoever changes it now: look again; nothing was changed."""

    def __init__(self) -> None:
        super().__init__("it has been changed since you have seen it: get it again, and change that")


class UnauthorizedError(TellwireError):
    """No API key or token was given, or (``shown``) none that is known, unexpired and unrevoked."""

    def __init__(self, detail: str, *, shown: bool = False) -> None:
        super().__init__(detail)
        self.shown = shown


class ForbiddenError(TellwireError):
    """The key or token is good, but may not do this.

    It lacks the ``scope`` that this needs, or is ``bound_to`` a tenant and this concerns the whole server; or it is a
    ``portal`` token, which lacks the ``capability`` (None: no portal token may do this).
    """

    def __init__(
        self, scope: str, *, bound_to: str | None = None, portal: bool = False, capability: str | None = None
    ) -> None:
        if portal and capability is None:
            detail = "this is not for portal tokens"
        elif portal:
            detail = f"this portal token lacks the capability {str(capability)!r}"
        elif bound_to is None:
            detail = f"this API key or token lacks the scope {str(scope)!r}"
        else:
            detail = f"this API key or token is bound to the tenant {bound_to!r}, and this concerns the whole server"
        super().__init__(detail)
        self.scope = scope
        self.bound_to = bound_to
        self.portal = portal
        self.capability = capability


class SignatureError(TellwireError):
    """A webhook's signature, timestamp or headers do not prove where it comes from; do not act on it."""


class SettingsError(TellwireError):
    """A setting cannot be used as it stands; the message names it, its value's fault and what to do."""


class StoreError(TellwireError):
    """Root of what goes wrong in the database."""


class StoreUnavailableError(StoreError):
    """The database cannot be reached or written right now (locked, disk full, gone); nothing was stored.

    Worth trying again: the HTTP API answers 503 with ``Retry-After``. ``outcome_unknown`` is true where the connection
    to PostgreSQL was lost at the very COMMIT, or the disk under SQLite failed to keep it: then it was stored or was
    not, and an idempotency key makes trying again safe.
    """

    def __init__(self, detail: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.outcome_unknown = outcome_unknown


class StoreVersionError(StoreError):
    """The database was written by a newer Tellwire; upgrade before you open it."""


class RemoteError(TellwireError):
    """A server elsewhere cannot be reached, or answered with what is none of the other errors.

    ``status`` is that of HTTP, or None where no answer came: then it is not known whether the server did what was
    asked. ``request_id`` names the request to whoever looks into the server's log.
    """

    def __init__(self, detail: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.request_id = request_id


class ClosedError(TellwireError):
    """The object is closed, or was not opened yet (use ``async with``)."""
