"""Which pages of other origins may read our answers: nobody's, unless the setting ``cors_origins`` names them.

Stands in front of everything, and only where there is an origin to let in; so without the setting it costs nothing. No
credentials are let along: what a page shows is a token in a header, never a cookie.

Source: the Fetch standard, section 3.2 (CORS protocol).
"""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

from tellwire.publish.publisher import Answer

from .asgi import SAFE, App, Receive, Scope, Send
from .publish import PublishRoutes

ANY: Final = "*"
_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS: Final = b"authorization, content-type, idempotency-key, if-match, if-none-match"
_SHOWN: Final = (
    b"etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, "
    b"www-authenticate, x-request-id"
)
_MAX_AGE_S: Final = b"600"


class Cors:
    """The app, for pages of these origins too."""

    def __init__(
        self, app: PublishRoutes, origins: tuple[str, ...], new_request_id: Callable[[], str]
    ) -> None:
        self._app: App = app
        self._taker = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any = ANY in origins
        self._new_request_id = new_request_id
        self.answer_to = app.answer_to
        self.problem_to = app.problem_to

    def take(self, headers: dict[bytes, bytes], body: bytes, answer: Answer) -> bool:
        """See ``shortcut.Taker``: a page's request takes the long way, where it gets its headers."""
        return b"origin" not in headers and self._taker.take(headers, body, answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        origin = _header(scope, b"origin") if scope["type"] == "http" else None
        if origin is None or not (self._any or origin in self._origins):
            return await self._app(scope, receive, send)
        if scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method") is not None:
            return await self._answer_preflight(origin, send)
        added = [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _SHOWN),
            (b"vary", b"origin"),
        ]

        async def send_shared(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return await self._app(scope, receive, send_shared)

    async def _answer_preflight(self, origin: bytes, send: Send) -> None:
        headers = [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", _MAX_AGE_S),
            (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
            (b"x-request-id", self._new_request_id().encode()),
            *SAFE,
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None
