"""Errors on the wire: RFC 9457 problem documents, one type for each kind of error, each explained in the docs.

    {"type": "/problems/conflict", "title": "Conflict", "status": 409, "detail": "...", "request_id": "req_..."}

422 adds ``errors: [{"loc": [...], "msg": "..."}]``; an exceeded limit adds ``limit`` and ``maximum``.
"""

from typing import Any, Final, NamedTuple

import msgspec

from tellwire.errors import (
    ClosedError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    PreconditionFailedError,
    StoreUnavailableError,
    TellwireError,
    UnauthorizedError,
)

CONTENT_TYPE: Final = "application/problem+json"
DOCS: Final = "/problems"
"""Where the pages of the types are, on this very server (RFC 9457 section 3.1.1: a reference with the full path)."""
RETRY_AFTER_S: Final = 2

_SIZES: Final = frozenset({"payload_bytes", "batch_bytes", "body_bytes"})
"""Limits on the size of what is sent: over them the answer is 413, unless it is one event of a batch (422)."""


class Kind(NamedTuple):
    """One type of problem: its name in the type URI, its title and its status."""

    name: str
    title: str
    status: int


MALFORMED = Kind("malformed", "This is no HTTP request", 400)
UNAUTHORIZED = Kind("unauthorized", "A good API key or token is required", 401)
FORBIDDEN = Kind("forbidden", "The API key or token may not do this", 403)
NOT_FOUND = Kind("not-found", "There is no such thing", 404)
METHOD_NOT_ALLOWED = Kind("method-not-allowed", "The method is not allowed here", 405)
CONFLICT = Kind("conflict", "It contradicts what is stored", 409)
CHANGED = Kind("precondition-failed", "It was changed meanwhile", 412)
TOO_LARGE = Kind("too-large", "The request is larger than a limit", 413)
WRONG_MEDIA_TYPE = Kind("unsupported-media-type", "The content type must be application/json", 415)
INVALID = Kind("invalid", "The request has faults", 422)
SLOW_REQUEST = Kind("slow-request", "The request took too long to arrive", 408)
TOO_MANY = Kind("rate-limited", "Too many requests", 429)
HEAD_TOO_LARGE = Kind("head-too-large", "The head of the request is larger than a limit", 431)
INTERNAL = Kind("internal", "Something went wrong on our side", 500)
UNAVAILABLE = Kind("unavailable", "It cannot be done right now", 503)

KINDS: Final = (
    MALFORMED, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, SLOW_REQUEST, CONFLICT, CHANGED, TOO_LARGE,
    WRONG_MEDIA_TYPE, INVALID, TOO_MANY, HEAD_TOO_LARGE, INTERNAL, UNAVAILABLE,
)  # fmt: skip


class RefusedError(TellwireError):
    """A request that HTTP alone makes wrong: no such route, another method, another content type."""

    def __init__(self, kind: Kind, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = headers


class Problem(NamedTuple):
    """A problem ready to be sent."""

    status: int
    headers: dict[str, str]
    body: bytes


def problem(
    kind: Kind, detail: str, request_id: str, headers: dict[str, str] | None = None, **more: Any
) -> Problem:
    """A problem of ``kind``; ``more`` are members that its type adds."""
    document = {
        "type": f"{DOCS}/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "request_id": request_id,
        **more,
    }
    return Problem(
        kind.status, {"content-type": CONTENT_TYPE, **(headers or {})}, msgspec.json.encode(document)
    )


def problem_of(error: Exception, request_id: str) -> Problem:
    """The problem that an error of Tellwire is to a client. Errors that are none of ours tell nothing of themselves."""
    match error:
        case InvalidInputError():
            return _invalid(error, request_id)
        case RefusedError():
            return problem(error.kind, str(error), request_id, error.headers)
        case UnauthorizedError():
            return problem(UNAUTHORIZED, str(error), request_id, {"www-authenticate": _challenge(error)})
        case ForbiddenError():
            return _forbidden(error, request_id)
        case PreconditionFailedError():
            return problem(CHANGED, str(error), request_id)
        case NotFoundError():
            return problem(NOT_FOUND, str(error), request_id)
        case ConflictError():
            return _conflict(error, request_id)
        case StoreUnavailableError() | ClosedError():
            return _unavailable(error, request_id)
        case _:
            return problem(INTERNAL, "this is our fault; the request id helps to find it", request_id)


def _challenge(error: UnauthorizedError) -> str:
    """Who showed nothing is told what is wanted; who showed something, what is wrong with it (RFC 6750 section 3)."""
    if not error.shown:
        return "Bearer"
    return f'Bearer error="invalid_token", error_description="{error}"'


def _forbidden(error: ForbiddenError, request_id: str) -> Problem:
    more: dict[str, Any] = {"scope": str(error.scope)}
    if error.bound_to is not None:
        more["bound_to"] = error.bound_to
    if error.portal:
        more["capability"] = None if error.capability is None else str(error.capability)
    challenge = f'Bearer error="insufficient_scope", scope="{error.scope!s}"'
    return problem(FORBIDDEN, str(error), request_id, {"www-authenticate": challenge}, **more)


def _conflict(error: ConflictError, request_id: str) -> Problem:
    more: dict[str, Any] = {} if error.index is None else {"index": error.index}
    headers = None if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return problem(CONFLICT, str(error), request_id, headers, **more)


def _unavailable(error: Exception, request_id: str) -> Problem:
    unknown = isinstance(error, StoreUnavailableError) and error.outcome_unknown
    detail = "the database cannot be used right now; nothing was stored, try again"
    if unknown:
        detail = (
            "the connection to the database was lost, or its disk failed, while it was writing: "
            "it is not known whether this was stored; "
            "try again with an idempotency key"
        )
    headers = {"retry-after": str(RETRY_AFTER_S)}
    return problem(UNAVAILABLE, detail, request_id, headers, stored=None if unknown else False)


def _invalid(error: InvalidInputError, request_id: str) -> Problem:
    more: dict[str, Any] = {"errors": [{"loc": list(fault.loc), "msg": fault.msg} for fault in error.errors]}
    kind = INVALID
    if isinstance(error, LimitExceededError):
        more |= {"limit": error.limit, "maximum": error.maximum}
        in_batch = any(fault.loc[:1] == ("events",) for fault in error.errors)
        kind = TOO_LARGE if error.limit in _SIZES and not in_batch else INVALID
    return problem(kind, str(error), request_id, **more)
