"""``POST /v1/events`` and ``/v1/events/batch``: the hot path over HTTP.

Plain ASGI in front of FastAPI: no pydantic, no routing table, ``data`` stays the bytes that came in. What the routes
take and answer is documented in the OpenAPI document all the same (see ``openapi``).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from tellwire.clock import rfc3339
from tellwire.errors import FieldError, InvalidInputError
from tellwire.hub import Tellwire
from tellwire.manage.answers import Answer as Kept
from tellwire.model.event import NewEvent, Receipt
from tellwire.model.key import Caller
from tellwire.model.key import Scope as KeyScope
from tellwire.model.trace import traceparent_of
from tellwire.publish.publisher import Answer
from tellwire.publish.strict_json import shorten
from tellwire.publish.validation import ENVELOPE_BYTES, parse_batch, parse_event

from .asgi import App, Receive, Scope, Send, answer, refuse
from .auth import Door
from .bodies import DisconnectedError, check_json, check_plain, read_body
from .gate import Gate
from .once import REPLAYED, done_once
from .problems import METHOD_NOT_ALLOWED, Problem, RefusedError, problem_of

EVENTS: Final = "/v1/events"
BATCH: Final = "/v1/events/batch"

Headers = dict[bytes, bytes]
Extra = Sequence[tuple[bytes, bytes]]
_REPLAYED: Final = ((REPLAYED.encode(), b"true"),)


class PublishRoutes:
    """Answers the two publish routes itself and passes every other request on to ``app``."""

    def __init__(
        self, app: App, tellwire: Tellwire, new_request_id: Callable[[], str], door: Door, gate: Gate
    ) -> None:
        self._app = app
        self._door = door
        self._gate = gate
        self._tellwire = tellwire
        self._new_request_id = new_request_id
        limits = tellwire.limits
        self._event_bytes = limits.payload_bytes + ENVELOPE_BYTES
        self._batch_bytes = limits.batch_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == EVENTS and scope["method"] == "POST":
                return await self._answer(scope, receive, send, self._publish_one)
            if path == BATCH:
                return await self._answer(scope, receive, send, self._publish_batch)
        return await self._app(scope, receive, send)

    def take(self, headers: Headers, body: bytes, answer: Answer) -> bool:
        """See ``shortcut.Taker``: what is wrong with a request is told on the long way, so here it is only noticed."""
        try:
            caller = self._door.authorize(headers.get(b"authorization"), KeyScope.PUBLISH)
            check_json(headers.get(b"content-type"))
            if len(body) > self._event_bytes or b"content-encoding" in headers:
                return False
            event = self._event_of(body, headers, caller)
            return self._submit(event, caller, answer)
        except Exception:
            return False

    def _submit(self, event: NewEvent, caller: Caller, answer: Answer) -> bool:
        """Submit an event within the rates. What is refused here is counted on the long way, and not twice."""
        gate, tenants = self._gate, [event.tenant]
        gate.admit(caller)
        try:
            gate.admit_events(tenants)
        except RefusedError:
            gate.give_back(caller)
            return False
        try:
            self._tellwire.submit([event], answer)
        except Exception:
            gate.give_back(caller, tenants)
            return False
        return True

    def answer_to(self, receipts: list[Receipt]) -> tuple[int, bytes, bytes]:
        """See ``shortcut.Taker``."""
        receipt = receipts[0]
        return (200 if receipt.duplicate else 202), self._new_request_id().encode(), _rendered(receipt)

    def problem_to(self, error: Exception) -> tuple[Problem, bytes]:
        """See ``shortcut.Taker``."""
        request_id = self._new_request_id()
        return problem_of(error, request_id), request_id.encode()

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        publish: Callable[[Scope, Receive, Headers, Caller], Awaitable[tuple[int, bytes, Extra]]],
    ) -> None:
        request_id = self._new_request_id()
        try:
            if scope["method"] != "POST":
                raise RefusedError(METHOD_NOT_ALLOWED, "send POST here", {"allow": "POST"})
            headers: Headers = dict(scope["headers"])
            if len(headers) != len(scope["headers"]):
                refuse_repeated(scope["headers"])
            query = scope["query_string"]
            key = headers.get(b"authorization")
            caller = await self._door.authorize_fresh(key, KeyScope.PUBLISH)
            self._gate.admit(caller)
            if query:
                refuse_query(query)
            check_json(headers.get(b"content-type"))
            check_plain(headers.get(b"content-encoding"))
            status, body, extra = await publish(scope, receive, headers, caller)
        except DisconnectedError:
            return
        except Exception as error:
            await refuse(self._gate.refuse(error, scope.get("client")), request_id, receive, send)
            return
        await answer(send, status, body, request_id, extra=extra)

    async def _publish_one(
        self, scope: Scope, receive: Receive, headers: Headers, caller: Caller
    ) -> tuple[int, bytes, Extra]:
        body = await read_body(receive, headers.get(b"content-length"), self._event_bytes)
        event = self._event_of(body, headers, caller)
        self._gate.admit_events([event.tenant])
        receipt = (await self._tellwire.accept([event], listed=False))[0]
        return (200 if receipt.duplicate else 202), _rendered(receipt), ()

    def _event_of(self, body: bytes, headers: Headers, caller: Caller) -> NewEvent:
        event = parse_event(body, self._tellwire.limits, caller.tenant)
        traceparent = headers.get(b"traceparent")
        if traceparent is not None:
            event = _in_trace(event, traceparent)
        key = headers.get(b"idempotency-key")
        return event if key is None else _with_key(event, key, self._tellwire.limits.idempotency_key_chars)

    async def _publish_batch(
        self, scope: Scope, receive: Receive, headers: Headers, caller: Caller
    ) -> tuple[int, bytes, Extra]:
        body = await read_body(receive, headers.get(b"content-length"), self._batch_bytes)
        key = headers.get(b"idempotency-key")
        if key is None:
            return 202, await self._published(body, headers, caller), ()
        published = False

        async def publish() -> Kept:
            nonlocal published
            published = True
            return Kept(202, await self._published(body, headers, caller))

        kept = await done_once(scope, body, self._tellwire, caller, key.decode("latin-1"), publish)
        return kept.status, kept.body, () if published else _REPLAYED

    async def _published(self, body: bytes, headers: Headers, caller: Caller) -> bytes:
        """The answer to a batch, once it is durable."""
        events = parse_batch(body, self._tellwire.limits, caller.tenant)
        traceparent = headers.get(b"traceparent")
        if traceparent is not None:
            events = [_in_trace(event, traceparent) for event in events]
        self._gate.admit_events([event.tenant for event in events])
        receipts = await self._tellwire.accept(events, listed=True)
        return b'{"data":[' + b",".join(map(_rendered, receipts)) + b"]}"


def refuse_repeated(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse a header that decides something and is given twice: which one is meant is anybody's guess."""
    names = [name for name, _ in headers]
    for name in (b"authorization", b"idempotency-key", b"content-type"):
        if names.count(name) > 1:
            raise InvalidInputError.at(name.decode(), msg="the header is given more than once")


def refuse_query(query: bytes) -> None:
    """Refuse query parameters, in the words of the other routes: nobody would read them."""
    names = dict.fromkeys(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    faults = [FieldError((shorten(name),), "is no parameter here; there are none") for name in names]
    if faults:
        raise InvalidInputError(faults[:10])


def _with_key(event: NewEvent, header: bytes, max_chars: int) -> NewEvent:
    key = header.decode("latin-1")
    if event.idempotency_key is not None and event.idempotency_key != key:
        raise InvalidInputError([FieldError(("idempotency_key",), "differs from the header Idempotency-Key")])
    if not 1 <= len(key) <= max_chars or not (key.isascii() and key.isprintable()):
        raise InvalidInputError.at(
            "Idempotency-Key", msg=f"must be 1 to {max_chars} printable ASCII characters"
        )
    return msgspec.structs.replace(event, idempotency_key=key)


def _in_trace(event: NewEvent, header: bytes) -> NewEvent:
    """The event with the trace of its request. A header that is none is ignored, as W3C Trace Context has it."""
    traceparent = traceparent_of(header.decode("latin-1"))
    return event if traceparent is None else msgspec.structs.replace(event, traceparent=traceparent)


def _rendered(receipt: Receipt) -> bytes:
    # Every value is of characters that JSON does not escape (ids, type names, tenant ids, times).
    return (
        f'{{"id":"{receipt.id}","type":"{receipt.type}","tenant":"{receipt.tenant}",'
        f'"occurred_at":"{rfc3339(receipt.occurred_ms)}","created_at":"{rfc3339(receipt.created_ms)}",'
        f'"deliveries":{receipt.deliveries},"duplicate":{"true" if receipt.duplicate else "false"}}}'
    ).encode()
