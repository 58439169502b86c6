"""Answers of the HTTP API as the nouns that the same call in the process gives. Unknown fields are passed over."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from tellwire.clock import to_ms
from tellwire.errors import RemoteError
from tellwire.manage.filters import PreviewedBody, PreviewedEvent, PreviewReason
from tellwire.model.attempt import Attempt
from tellwire.model.delivery import Delivery
from tellwire.model.endpoint import Endpoint
from tellwire.model.endpoint_settings import HIDDEN_SETTINGS, SETTING_NAMES
from tellwire.model.event import Receipt, StoredEvent
from tellwire.model.page import Page

from .wire import Answer

T = TypeVar("T")


def noun(fields: Any, kind: type[T]) -> T:
    """One noun. Raises RemoteError where the server says something else than it should."""
    try:
        return msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        raise RemoteError(f"the answer of the server cannot be read as {kind.__name__}: {error}") from None


def page(answer: Answer, kind: type[T]) -> Page[T]:
    """One page of a list."""
    read = endpoint if kind is Endpoint else noun
    return pages(answer, lambda fields: read(fields, kind))


def pages(answer: Answer, read: Callable[[Any], T]) -> Page[T]:
    """One page, whose items are read by ``read``."""
    fields = noun(answer.json(), _Page)
    return Page([read(one) for one in fields.data], fields.next)


class _Page(msgspec.Struct):
    data: list[dict[str, Any]]
    next: str | None


def endpoint(fields: dict[str, Any], kind: type[Any] = Endpoint) -> Any:
    """An endpoint; of settings that hold secrets, which are masked, nothing but whether they are there is known."""
    settings = {name: fields[name] for name in SETTING_NAMES if fields.get(name) is not None}
    hidden = {name: settings.pop(name) for name in HIDDEN_SETTINGS if name in settings}
    try:
        return msgspec.convert({**fields, "settings": settings | hidden}, kind)
    except msgspec.ValidationError:
        return noun({**fields, "settings": settings}, kind)


def delivery(answer: Answer) -> Delivery:
    """A delivery."""
    return noun(answer.json(), Delivery)


def attempt(fields: dict[str, Any]) -> Attempt:
    """An attempt; its body is text here, in which bytes that are no UTF-8 are lost."""
    return Attempt(
        fields["id"], fields["number"], noun(fields["started_at"], datetime), fields["duration_ms"],
        fields["outcome"], fields["status_code"], fields["error"], fields.get("detail"),
        list(fields["response_headers"].items()), fields["response_body"].encode(), fields["trigger"],
    )  # fmt: skip


class _Event(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")


def event(fields: dict[str, Any], data: bytes | None = None) -> StoredEvent:
    """An event, with its data if there is any."""
    blanks = {"idempotency_key": None, "deliveries": 0, "fanned_out": 0, "data_expired": False}
    return msgspec.structs.replace(noun({**blanks, **fields, "data": None}, StoredEvent), data=data)


def whole_event(answer: Answer) -> StoredEvent:
    """An event whose data is byte for byte what was published."""
    raw = msgspec.json.decode(answer.body, type=_Event).data
    return event(answer.json(), None if bytes(raw) == b"null" else bytes(raw))


def receipt(fields: dict[str, Any]) -> Receipt:
    """What acknowledges an event."""
    return Receipt(
        fields["id"], fields["type"], fields["tenant"], to_ms(noun(fields["occurred_at"], datetime)),
        to_ms(noun(fields["created_at"], datetime)), fields["deliveries"], fields["duplicate"],
    )  # fmt: skip


def previewed(fields: dict[str, Any]) -> PreviewedEvent:
    """An event, and whether it would be received."""
    reasons = tuple(noun(one, PreviewReason) for one in fields["reasons"])
    request = None if fields.get("request") is None else noun(fields["request"], PreviewedBody)
    return PreviewedEvent(event(fields), fields["matches"], reasons, request)
