"""The shell around FastAPI's half of the API: request ids, and every error as a problem document.

Plain ASGI. FastAPI raises, the shell answers, in the same words as the publish routes. HEAD is GET without the body.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from tellwire.errors import FieldError, InvalidInputError
from tellwire.publish.strict_json import shorten

from .asgi import SAFE, App, Receive, Scope, Send, refuse
from .bodies import DisconnectedError
from .problems import METHOD_NOT_ALLOWED, NOT_FOUND, RefusedError
from .publish import EVENTS

_MOST_ERRORS: Final = 50
_FRAMES: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Shell:
    """Runs ``app`` inside; ``new_request_id`` names each request."""

    def __init__(self, app: App, new_request_id: Callable[[], str]) -> None:
        self._app = app
        self._new_request_id = new_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = self._new_request_id()
        head = scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}
        scope["tellwire.request_id"] = request_id
        started = False

        async def send_named(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = {name for name, _ in message["headers"]}
                more = [(b"x-request-id", request_id.encode()), *SAFE, *_FRAMES]
                headers = [*message["headers"], *(pair for pair in more if pair[0] not in own)]
                message = {**message, "headers": headers}
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except DisconnectedError:
            return None
        except Exception as error:
            if started:
                raise
            await refuse(error, request_id, receive, send_named)


def raise_through(app: FastAPI) -> None:
    """Make FastAPI raise what it would answer in words of its own, for the shell to answer."""
    app.exception_handler(RequestValidationError)(_raise_invalid)
    app.exception_handler(HTTPException)(_raise_refused)


async def _raise_invalid(request: Request, error: RequestValidationError) -> Response:
    faults = [_fault(details) for details in error.errors()[:_MOST_ERRORS]]
    raise InvalidInputError(list(dict.fromkeys(faults))) from None


async def _raise_refused(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        raise RefusedError(NOT_FOUND, "there is no such route; see /docs") from None
    if error.status_code == 405:
        allow = ", ".join(_allowed(request))
        raise RefusedError(METHOD_NOT_ALLOWED, f"allowed here: {allow}", {"allow": allow}) from None
    raise error


def _allowed(request: Request) -> list[str]:
    allowed = {"POST"} if request.scope["path"] == EVENTS else set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            allowed |= set(route.methods or ())
    return sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))


def _fault(details: dict[str, Any]) -> FieldError:
    # FastAPI's locations begin with "body", "query" or "path"; ours name the field only.
    loc = tuple(shorten(step) if isinstance(step, str) else step for step in details["loc"][1:])
    match details["type"]:
        case "missing":
            return FieldError(loc, "is missing" if loc else "a JSON body is required")
        case "extra_forbidden":
            return FieldError(loc, "is no field here")
        case "value_error":
            return FieldError(loc, str(details["ctx"]["error"]))
        case "string_too_short":
            return FieldError(loc, "is empty")
        case _:
            words = details["msg"].removeprefix("Input should be ").replace("a valid ", "a ", 1)
            return FieldError(loc, f"expected {words.replace('a integer', 'an integer')}")
