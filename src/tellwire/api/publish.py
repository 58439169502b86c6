"""``POST /v1/events`` and ``/v1/events/batch``: the hot path over HTTP.

Plain ASGI in front of FastAPI: no pydantic, no routing table, ``data`` stays the bytes that came in. What the routes
take and answer is documented in the OpenAPI document all the same (see ``openapi``).
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from tellwire.clock import rfc3339
from tellwire.errors import FieldError, InvalidInputError, TellwireError
from tellwire.hub import Tellwire
from tellwire.model.event import NewEvent, Receipt
from tellwire.model.key import Scope
from tellwire.publish.validation import parse_batch, parse_event

from . import problems
from .bodies import DisconnectedError, read_body
from .problems import Problem, problem, problem_of

Scope_ = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope_, Receive, Send], Awaitable[None]]

EVENTS: Final = "/v1/events"
BATCH: Final = "/v1/events/batch"
_log: Final = logging.getLogger(__name__)
_ENVELOPE_BYTES: Final = 16 * 1024
"""What a request to publish one event may be larger than the payload limit: type, tenant, key, white space."""


class PublishRoutes:
    """Answers the two publish routes itself and passes every other request on to ``app``."""

    def __init__(self, app: App, tellwire: Tellwire, new_request_id: Callable[[], str]) -> None:
        self._app = app
        self._tellwire = tellwire
        self._new_request_id = new_request_id
        limits = tellwire.limits
        self._event_bytes = limits.payload_bytes + _ENVELOPE_BYTES
        self._batch_bytes = limits.batch_bytes

    async def __call__(self, scope: Scope_, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] == "POST":
            if scope["path"] == EVENTS:
                return await self._answer(scope, receive, send, self._publish_one)
            if scope["path"] == BATCH:
                return await self._answer(scope, receive, send, self._publish_batch)
        return await self._app(scope, receive, send)

    async def _answer(
        self, scope: Scope_, receive: Receive, send: Send, publish: Callable[..., Awaitable[tuple[int, bytes]]]
    ) -> None:
        request_id = self._new_request_id()
        try:
            headers = _headers(scope)
            self._tellwire.keys.authorize(bearer(headers.get(b"authorization")), Scope.PUBLISH)
            content_type = headers.get(b"content-type", b"")
            if content_type != b"application/json" and not is_json(content_type):
                raise _WrongMediaTypeError
            status, body = await publish(receive, headers)
            content = b"application/json"
            extra: list[tuple[bytes, bytes]] = []
        except DisconnectedError:
            return
        except Exception as error:
            refusal = _refusal(error, request_id)
            if refusal.status == 500:
                _log.exception("request %s failed", request_id)
            status, body, content = refusal.status, refusal.body, problems.CONTENT_TYPE.encode()
            extra = [(k.encode(), v.encode()) for k, v in refusal.headers.items() if k != "content-type"]
            if status == 413:
                extra.append((b"connection", b"close"))  # the rest of the body is not read
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content),
                    (b"content-length", str(len(body)).encode()),
                    (b"x-request-id", request_id.encode()),
                    *extra,
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _publish_one(self, receive: Receive, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        body = await read_body(receive, headers.get(b"content-length"), self._event_bytes)
        event = parse_event(body, self._tellwire.limits)
        key = headers.get(b"idempotency-key")
        if key is not None:
            event = _with_key(event, key, self._tellwire.limits.idempotency_key_chars)
        receipt = (await self._tellwire.accept([event], listed=False))[0]
        return (200 if receipt.duplicate else 202), _rendered(receipt)

    async def _publish_batch(self, receive: Receive, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        body = await read_body(receive, headers.get(b"content-length"), self._batch_bytes)
        if b"idempotency-key" in headers:
            msg = "a batch takes no Idempotency-Key header: give each event an idempotency_key of its own"
            raise InvalidInputError.at("Idempotency-Key", msg=msg)
        receipts = await self._tellwire.accept(parse_batch(body, self._tellwire.limits), listed=True)
        return 202, b'{"data":[' + b",".join(map(_rendered, receipts)) + b"]}"


class _WrongMediaTypeError(TellwireError):
    pass


def bearer(authorization: bytes | None) -> str | None:
    """The token of an ``Authorization: Bearer`` header, or None (RFC 6750 section 2.1)."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip().decode("latin-1")


def is_json(content_type: bytes) -> bool:
    """Whether a content type says JSON in UTF-8: ``application/json`` with at most a charset (RFC 9110 8.3.1)."""
    essence, _, parameters = content_type.lower().partition(b";")
    charset = parameters.strip().removeprefix(b"charset=").strip(b'"')
    return essence.strip() == b"application/json" and charset in (b"", b"utf-8", b"utf8")


def _headers(scope: Scope_) -> dict[bytes, bytes]:
    return dict(scope["headers"])


def _with_key(event: NewEvent, header: bytes, max_chars: int) -> NewEvent:
    key = header.decode("latin-1")
    if event.idempotency_key is not None and event.idempotency_key != key:
        raise InvalidInputError([FieldError(("idempotency_key",), "differs from the header Idempotency-Key")])
    if not 1 <= len(key) <= max_chars or not (key.isascii() and key.isprintable()):
        raise InvalidInputError.at("Idempotency-Key", msg=f"must be 1 to {max_chars} printable ASCII characters")
    return msgspec.structs.replace(event, idempotency_key=key)


def _refusal(error: Exception, request_id: str) -> Problem:
    if isinstance(error, _WrongMediaTypeError):
        detail = "send JSON with the header Content-Type: application/json"
        return problem(problems.WRONG_MEDIA_TYPE, detail, request_id)
    if isinstance(error, TimeoutError):
        return problem(problems.SLOW_REQUEST, "the request body did not arrive in time", request_id)
    return problem_of(error, request_id)


def _rendered(receipt: Receipt) -> bytes:
    # Every value is of characters that JSON does not escape (ids, type names, tenant ids, times).
    return (
        f'{{"id":"{receipt.id}","type":"{receipt.type}","tenant":"{receipt.tenant}",'
        f'"occurred_at":"{rfc3339(receipt.occurred_ms)}","created_at":"{rfc3339(receipt.created_ms)}",'
        f'"deliveries":{receipt.deliveries},"duplicate":{"true" if receipt.duplicate else "false"}}}'
    ).encode()
