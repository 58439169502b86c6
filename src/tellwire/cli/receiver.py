"""The small receiver's ASGI app: reads with a limit, verifies, shows, answers."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from ..clock import rfc3339
from ..doctor.finding import counted
from ..errors import InvalidInputError, SignatureError
from ..model.limits import MIB
from ..receive import unpack
from ..signing import SigningSecret, verify
from .safe import printable, readable, safe_json
from .show import draw, highlighted, write_json

MAX_BODY_BYTES = 5 * MIB
"""More than the largest batch of events; what is longer is answered with 413."""

Message = MutableMapping[str, Any]


class Named(msgspec.Struct, frozen=True):
    """One event of a batch."""

    type: str
    id: str


class Received(msgspec.Struct, frozen=True):
    """One request. ``verified`` is None where there was no secret to check with; ``reason`` says why it is false.

    ``events`` are those of a batch; None where the request is none.
    """

    received_at: str
    method: str
    path: str
    status: int
    type: str | None
    id: str | None
    verified: bool | None
    reason: str | None
    headers: list[tuple[str, str]]
    body: str
    events: list[Named] | None = None


class Receiver:
    """Takes every request to any path."""

    def __init__(self, secrets: Sequence[SigningSecret], status: int, *, as_json: bool) -> None:
        """``status`` is what requests are answered with, whatever they hold."""
        self._secrets = list(secrets)
        self._status = status
        self._as_json = as_json

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        body, whole = b"", False
        while not whole and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            whole = not message.get("more_body", False)
        too_large = len(body) > MAX_BODY_BYTES
        received = self._look(scope, b"" if too_large else body, 413 if too_large else self._status)
        headers = [(b"content-length", b"0"), *([(b"connection", b"close")] if too_large else [])]
        await send({"type": "http.response.start", "status": received.status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        self._show(received)

    def _look(self, scope: Message, body: bytes, status: int) -> Received:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        verified, reason = (None, None) if status == 413 else self._verified(headers, body)
        return Received(
            received_at=rfc3339(time.time_ns() // 1_000_000),
            method=scope["method"],
            path=scope["path"],
            status=status,
            type=_type(body),
            id=dict(headers).get("webhook-id"),
            verified=verified,
            reason=f"the body is larger than {MAX_BODY_BYTES} bytes" if status == 413 else reason,
            headers=headers,
            body=body.decode("utf-8", "replace"),
            events=_batch(headers, body),
        )

    def _verified(self, headers: list[tuple[str, str]], body: bytes) -> tuple[bool | None, str | None]:
        if not self._secrets:
            return None, None
        for name, count in Counter(name for name, _ in headers).items():
            if count > 1 and name.startswith("webhook-"):
                return False, f"the header {name} came more than once"
        try:
            verify(self._secrets, dict(headers), body, int(time.time()))
        except SignatureError as error:
            return False, str(error)
        return True, None

    def _show(self, received: Received) -> None:
        try:
            if self._as_json:
                write_json(received)
            else:
                draw(*_drawn(received))
        except BrokenPipeError:
            raise SystemExit(0) from None  # nobody reads any more


def _drawn(received: Received) -> list[RenderableType]:
    head = Text.assemble(
        (received.received_at, "dim"),
        "  ",
        (printable(_what(received)), "bold"),
        "  ",
        printable(received.id or "without webhook-id"),
        "  ",
        _verdict(received),
        *([] if received.status == 200 else [("  answered " + str(received.status), "yellow")]),
    )
    events = [
        Text.assemble("  ", (printable(event.type), "bold"), "  ", printable(event.id))
        for event in received.events or ()
    ]
    return [head, *events, Padding(_body(received.body), (0, 0, 0, 2), expand=False), Text()]


def _what(received: Received) -> str:
    if received.events is not None:
        return counted(len(received.events), "event")
    return received.type or f"{received.method} {received.path}"


def _batch(headers: list[tuple[str, str]], body: bytes) -> list[Named] | None:
    if body.lstrip()[:1] != b"[":
        return None
    try:
        return [Named(event.type, event.id) for event in unpack(dict(headers), body)]
    except InvalidInputError:
        return None


def _verdict(received: Received) -> Text:
    if received.verified:
        return Text("verified", style="green")
    why = f": {printable(received.reason)}" if received.reason else ""
    if received.verified is None:
        return Text(f"not checked{why}", style="yellow")
    return Text(f"NOT VERIFIED{why}", style="bold red")


def _body(text: str) -> RenderableType:
    try:
        return highlighted(safe_json(msgspec.json.format(text, indent=2)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Text(readable(text.encode()) or "(empty)", overflow="fold")


def _type(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Envelope).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Envelope(msgspec.Struct):
    type: str
