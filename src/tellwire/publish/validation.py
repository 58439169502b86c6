"""What was published -> checked events: the first thing that happens to an event, before anything is stored.

Takes the bytes of an HTTP body or the values of a Python call and promises `NewEvent`s that the store, the
wire and every receiver can live with, or an error that names every fault and its place. The ``data`` that
comes out is the very bytes that came in. Whether the tenant exists, or the idempotency key is taken, is
left to the publisher.
"""

from datetime import datetime
from typing import Final

import jiter
import msgspec

from ..errors import FieldError, InvalidInputError, LimitExceededError
from ..model.event import MAX_TYPE_CHARS, NewEvent, is_type_name
from ..model.limits import KIB, Limits
from ..model.order import MAX_ORDERING_KEY_CHARS
from ..model.tenant import DEFAULT_TENANT, is_tenant_id
from .occurred import occurred_ms
from .python_data import encode_data
from .strict_json import check, deep_fault, shorten, too_deep

_FIELDS: Final = frozenset(
    {"type", "data", "tenant", "idempotency_key", "occurred_at", "deliver_at", "expires_at", "ordering_key"}
)
ENVELOPE_BYTES: Final = 16 * KIB
"""More than the other fields of an event can fill, however they are escaped."""

_MAX_UNKNOWN: Final = 10
"""Unknown fields that are named one by one."""


class _Data(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()


class _Batch(msgspec.Struct):
    events: list[_Data]


_OPENING: Final = ord("{")
_TO_VALUE: Final = len('"data":')
_decode_data: Final = msgspec.json.Decoder(_Data).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode


def parse_event(body: bytes, limits: Limits, bound_to: str | None = None) -> NewEvent:
    """Check the body of ``POST /v1/events``: ``{type, data, tenant?, idempotency_key?, occurred_at?, ...}``.

    ``bound_to`` is the tenant that the caller is bound to: the default, and the only one there is for it.

    Raises:
        InvalidInputError: every fault, located by field; ``()`` is the body as a whole.
        LimitExceededError: the data is too large or too deep, or a key too long.
    """
    if len(body) > limits.payload_bytes + ENVELOPE_BYTES:
        raise _too_large(len(body), limits)
    fields = check(body, limits, loc_depth=1)
    faults = _Faults()
    if isinstance(fields, dict):
        event = _check(fields, _raw_data(body, fields), limits, faults, (), bound_to)
        if event is not None:
            return event
    else:
        faults.add((), f"expected an object, got {_kind(fields)}")
    raise faults.error()


def parse_batch(body: bytes, limits: Limits, bound_to: str | None = None) -> list[NewEvent]:
    """Check the body of ``POST /v1/events/batch``: ``{events: [...]}``, each as `parse_event` takes it.

    Raises:
        InvalidInputError: every fault of every bad event, located as ``("events", index, field)``. Where
            the body is refused as JSON, that one fault.
        LimitExceededError: too many bytes or events, or an event is over a limit of its own.
    """
    if len(body) > limits.batch_bytes:
        msg = f"the body has {len(body)} bytes; a batch has at most {limits.batch_bytes}"
        raise LimitExceededError([FieldError((), msg)], limit="batch_bytes", maximum=limits.batch_bytes)
    items = _batch_items(check(body, limits, loc_depth=3), limits)
    try:
        texts = [bytes(item.data) for item in _decode_batch(body).events]
    except msgspec.ValidationError:
        texts = [b""] * len(items)  # An item is no object: the loop below says which.
    faults = _Faults()
    events: list[NewEvent] = []
    for index, (item, text) in enumerate(zip(items, texts, strict=True)):
        if isinstance(item, dict):
            event = _check(item, text, limits, faults, ("events", index), bound_to)
            if event is not None:
                events.append(event)
        else:
            faults.add(("events", index), f"expected an object, got {_kind(item)}")
    if faults.errors:
        raise faults.error()
    return events


def event_from_python(
    type: str,
    data: object,
    limits: Limits,
    *,
    tenant: str | None = None,
    idempotency_key: str | None = None,
    occurred_at: datetime | None = None,
    deliver_at: datetime | None = None,
    expires_at: datetime | None = None,
    ordering_key: str | None = None,
) -> NewEvent:
    """Check an event that is published from Python; see `python_data.encode_data` for what ``data`` may be.

    Raises:
        InvalidInputError: every fault, located by argument.
        LimitExceededError: the data is too large or too deep, or a key too long.
    """
    faults = _Faults()
    text = b""
    value: object = None
    try:
        text = encode_data(data)
        if len(text) > limits.payload_bytes:
            raise _too_large(len(text), limits)
        value = check(text, limits, loc_depth=0)
    except InvalidInputError as error:
        limit = (error.limit, error.maximum) if isinstance(error, LimitExceededError) else None
        for fault in error.errors:
            faults.add(("data",), fault.msg, limit)
        value, text = {}, b"{}"
    fields = {
        "type": type,
        "data": value,
        "tenant": tenant,
        "idempotency_key": idempotency_key,
        "occurred_at": occurred_at,
        "deliver_at": deliver_at,
        "expires_at": expires_at,
        "ordering_key": ordering_key,
    }
    event = _check(fields, text, limits, faults, ())
    if event is None or faults.errors:
        raise faults.error()
    return event


class _Faults:
    """Collects the faults of a request, and whether a single limit explains them all."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self._limits: set[tuple[str, int] | None] = set()

    def add(self, loc: tuple[str | int, ...], msg: str, limit: tuple[str, int] | None = None) -> None:
        self.errors.append(FieldError(loc, msg))
        self._limits.add(limit)

    def error(self) -> InvalidInputError:
        if len(self._limits) == 1:
            (limit,) = self._limits
            if limit is not None:
                return LimitExceededError(self.errors, limit=limit[0], maximum=limit[1])
        return InvalidInputError(self.errors)


def _batch_items(body: object, limits: Limits) -> list[object]:
    if not isinstance(body, dict):
        raise InvalidInputError.at(msg=f"expected an object with the field events, got {_kind(body)}")
    faults = _Faults()
    _check_names(body, frozenset({"events"}), faults, ())
    items = body.get("events")
    if "events" not in body:
        faults.add(("events",), "is missing")
    elif not isinstance(items, list):
        faults.add(("events",), f"expected an array, got {_kind(items)}")
    elif not items:
        faults.add(("events",), "is empty; a batch has at least one event")
    elif len(items) > limits.batch_events:
        msg = f"{len(items)} events; a batch has at most {limits.batch_events}"
        faults.add(("events",), msg, ("batch_events", limits.batch_events))
    if faults.errors or not isinstance(items, list):
        raise faults.error()
    return items


def _raw_data(body: bytes, fields: dict[str, object]) -> bytes:
    """The text of ``data`` in a body that is strict JSON and was read as ``fields``.

    Where ``data`` is an object and the last field, and only plain fields stand before it, it is cut out
    instead of being parsed again. In JSON, ``,"data":{`` (and ``{"data":{``) is a key and the beginning of
    its value: a quote inside a string has a backslash before it, and one that ends a string is not followed
    by a letter. It is a key of the body itself, as no other object begins before it; and there is only one
    such key. A ``}`` just before the last ``}`` is outside of strings, so it ends the value of the last field.
    """
    at = body.find(b'"data":{')
    if (
        at > 0
        and body[at - 1] in b",{"
        and body.endswith(b"}}")
        and body.find(b"{", 1, at) < 0
        and body[0] == _OPENING
        and next(reversed(fields)) == "data"
    ):
        return body[at + _TO_VALUE : -1]
    try:
        return bytes(_decode_data(body).data)
    except msgspec.DecodeError as error:
        # Not reached as long as msgspec reads all JSON that the strict parser lets through.
        raise InvalidInputError.at(msg=f"not JSON: {error}") from error


def _check(
    fields: dict[str, object],
    data: bytes,
    limits: Limits,
    faults: _Faults,
    at: tuple[str | int, ...],
    bound_to: str | None = None,
) -> NewEvent | None:
    """One event from its fields and the text of its data; None if any is bad, after adding to ``faults``."""
    faults_before = len(faults.errors)
    if not _FIELDS.issuperset(fields):
        _check_names(fields, _FIELDS, faults, at)
    type = fields.get("type")
    if not isinstance(type, str) or not is_type_name(type):
        faults.add((*at, "type"), _type_fault(fields))
    if not isinstance(fields.get("data"), dict):
        problem = f"expected an object, got {_kind(fields['data'])}" if "data" in fields else "is missing"
        faults.add((*at, "data"), problem)
    elif len(data) > limits.payload_bytes:
        faults.add((*at, "data"), _size_fault(len(data), limits), ("payload_bytes", limits.payload_bytes))
    elif too_deep(data, fields["data"], limits.json_depth):
        faults.add((*at, "data"), deep_fault(limits), ("json_depth", limits.json_depth))
    tenant = fields.get("tenant")
    if tenant is None:
        tenant = DEFAULT_TENANT if bound_to is None else bound_to
    elif not isinstance(tenant, str) or not is_tenant_id(tenant):
        faults.add((*at, "tenant"), "a tenant's id is a string of 1 to 64 of A-Z a-z 0-9 . _ -")
    elif bound_to is not None and tenant != bound_to:
        faults.add((*at, "tenant"), f"there is no tenant {tenant!r}")
    key = fields.get("idempotency_key")
    if key is not None:
        _check_key(key, "idempotency_key", limits.idempotency_key_chars, faults, at)
    ordering_key = fields.get("ordering_key")
    if ordering_key is not None:
        _check_key(ordering_key, "ordering_key", MAX_ORDERING_KEY_CHARS, faults, at)
    occurred_at, deliver_at, expires_at = (
        fields.get("occurred_at"),
        fields.get("deliver_at"),
        fields.get("expires_at"),
    )
    at_ms = None if occurred_at is None else _check_time(occurred_at, faults, (*at, "occurred_at"))
    deliver_ms = None if deliver_at is None else _check_time(deliver_at, faults, (*at, "deliver_at"))
    expires_ms = None if expires_at is None else _check_time(expires_at, faults, (*at, "expires_at"))
    if deliver_ms is not None and expires_ms is not None and expires_ms <= deliver_ms:
        faults.add((*at, "expires_at"), "is not after deliver_at: the event would never be delivered")
    if len(faults.errors) > faults_before:
        return None
    return NewEvent(type, data, tenant, key, at_ms, deliver_ms, expires_ms, None, ordering_key)  # type: ignore[arg-type] # checked above


def _check_names(
    fields: dict[str, object], known: frozenset[str], faults: _Faults, at: tuple[str | int, ...]
) -> None:
    unknown = [name for name in fields if name not in known]
    for name in unknown[:_MAX_UNKNOWN]:
        faults.add((*at, shorten(name)), f"is no field here; there are {', '.join(sorted(known))}")
    if len(unknown) > _MAX_UNKNOWN:
        faults.add(at, f"{len(unknown) - _MAX_UNKNOWN} more fields are unknown")


def _check_key(key: object, name: str, maximum: int, faults: _Faults, at: tuple[str | int, ...]) -> None:
    loc = (*at, name)
    if not isinstance(key, str):
        faults.add(loc, f"expected a string, got {_kind(key)}")
    elif not key:
        faults.add(loc, f"is empty; give 1 to {maximum} printable characters, or leave it out")
    elif len(key) > maximum:
        msg = f"has {len(key)} characters; at most {maximum} are allowed"
        faults.add(loc, msg, (f"{name}_chars", maximum))
    elif not key.isprintable():
        faults.add(loc, "holds a control or other unprintable character")


def _check_time(value: object, faults: _Faults, loc: tuple[str | int, ...]) -> int | None:
    try:
        return occurred_ms(value)
    except ValueError as error:
        faults.add(loc, str(error))
        return None


def _type_fault(fields: dict[str, object]) -> str:
    if "type" not in fields:
        return "is missing"
    type = fields["type"]
    if not isinstance(type, str):
        return f"expected a string, got {_kind(type)}"
    return (
        f"{shorten(type)!r} is no event type: give dot-separated segments of A-Z a-z 0-9 _, "
        f"at most {MAX_TYPE_CHARS} characters"
    )


def _size_fault(size_bytes: int, limits: Limits) -> str:
    return f"{size_bytes} bytes; an event's data has at most {limits.payload_bytes}"


def _too_large(size_bytes: int, limits: Limits) -> LimitExceededError:
    fault = FieldError(("data",), _size_fault(size_bytes, limits))
    return LimitExceededError([fault], limit="payload_bytes", maximum=limits.payload_bytes)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float | jiter.LosslessFloat):
        return "a number"
    names: dict[type, str] = {str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), f"a Python {type(value).__name__}")
