"""Problem documents of a server as the errors that the same call in the process raises."""

import re
from typing import Any, Final

import msgspec

from tellwire.errors import (
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    RemoteError,
    StoreUnavailableError,
    TellwireError,
    UnauthorizedError,
)

_ABSENT: Final = re.compile(r"there is no ([a-z ]+) '(.*)'")
_MOST_CHARS: Final = 200


def error_of(status: int, body: bytes) -> tuple[TellwireError, bool | None]:
    """The error of an answer that is none of 2xx, and whether the server surely changed nothing.

    None: the server itself says that nobody knows, which it will say again.
    """
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("type"), str):
        shown = body[:_MOST_CHARS].decode("utf-8", "replace")
        return RemoteError(f"the server answered {status}: {shown!r}", status=status), status == 429
    error = _error(status, problem)
    if isinstance(problem.get("request_id"), str):
        error.add_note(f"request id: {problem['request_id']}")
    if status == 500 or problem.get("stored", True) is None:
        return error, None
    return error, status == 429 or problem.get("stored", True) is False


def _error(status: int, problem: dict[str, Any]) -> TellwireError:
    detail = str(problem.get("detail", status))
    match problem["type"].rpartition("/")[2]:
        case "invalid" | "too-large":
            return _invalid(problem, detail)
        case "unauthorized":
            return UnauthorizedError(detail)
        case "forbidden" if "scope" in problem:
            return ForbiddenError(str(problem["scope"]), bound_to=problem.get("bound_to"))
        case "not-found" if absent := _ABSENT.fullmatch(detail):
            return NotFoundError(absent[1], absent[2])
        case "conflict":
            return ConflictError(detail, index=problem.get("index"))
        case "unavailable":
            return StoreUnavailableError(detail, outcome_unknown=problem.get("stored", False) is None)
        case _:
            request_id = problem.get("request_id")
            return RemoteError(
                detail, status=status, request_id=None if request_id is None else str(request_id)
            )


def _invalid(problem: dict[str, Any], detail: str) -> InvalidInputError:
    given = problem.get("errors")
    faults = [
        FieldError(tuple(one.get("loc", ())), str(one.get("msg", "")))
        for one in (given if isinstance(given, list) else [])
        if isinstance(one, dict)
    ] or [FieldError((), detail)]
    limit, maximum = problem.get("limit"), problem.get("maximum")
    if isinstance(limit, str) and isinstance(maximum, int):
        return LimitExceededError(faults, limit=limit, maximum=maximum)
    return InvalidInputError(faults)
