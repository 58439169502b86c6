"""Unpacking: the events of a request that came, be it one event or a batch, in whatever envelope.

After the signature is proven, before a consumer acts. What came is still somebody else's: its form is checked.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tellwire.errors import InvalidInputError
from tellwire.signing.standard import ID_HEADER

_BATCH: Final = "application/cloudevents-batch+json"
_STRUCTURED: Final = "application/cloudevents+json"


class ReceivedEvent(msgspec.Struct, frozen=True):
    """One event of a request.

    Attributes:
        id: of the event; act on it once, for it may come again, in another batch too.
        type: of the event.
        timestamp: when it happened, RFC 3339.
        data: what was published, as JSON gives it.
    """

    id: str
    type: str
    timestamp: str
    data: Any


class _Standard(msgspec.Struct):
    type: str
    timestamp: str
    data: Any
    id: str | None = None


class _CloudEvent(msgspec.Struct):
    id: str
    type: str
    time: str
    data: Any = None


def unpack(headers: Mapping[str, str], body: bytes) -> list[ReceivedEvent]:
    """The events of a request, in its order: one, or those of a batch.

    Knows the standard envelope, CloudEvents structured and binary, and batches of both kinds. Verify the request first:
    this does not.

    Args:
        headers: of the request; upper and lower case are alike.
        body: as it came.

    Raises:
        InvalidInputError: the body is in none of these forms (``envelope: raw``, perhaps); the message says where.

    Sources: Standard Webhooks specification, "Payload structure"; CloudEvents 1.0, JSON format sections 3 and 4, HTTP
    binding section 3.
    """
    given = {name.lower(): value for name, value in headers.items()}
    return list(_events(given, body))


def _events(headers: Mapping[str, str], body: bytes) -> Iterator[ReceivedEvent]:
    type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if type == _STRUCTURED:
        yield _cloudevent(_parsed(body, _CloudEvent))
    elif type == _BATCH:
        yield from map(_cloudevent, _parsed(body, list[_CloudEvent]))
    elif "ce-specversion" in headers:
        yield _binary(headers, body)
    elif body.lstrip()[:1] == b"[":
        for index, one in enumerate(_parsed(body, list[_Standard])):
            if one.id is None:
                raise InvalidInputError.at(
                    "body", index, "id", msg="is missing: an event of a batch has its id inside"
                )
            yield ReceivedEvent(one.id, one.type, one.timestamp, one.data)
    else:
        event = _parsed(body, _Standard)
        yield ReceivedEvent(_header(headers, ID_HEADER), event.type, event.timestamp, event.data)


def _binary(headers: Mapping[str, str], body: bytes) -> ReceivedEvent:
    id, type, time = (_header(headers, name) for name in ("ce-id", "ce-type", "ce-time"))
    return ReceivedEvent(id, type, time, _parsed(body, Any))


def _cloudevent(event: _CloudEvent) -> ReceivedEvent:
    return ReceivedEvent(event.id, event.type, event.time, event.data)


def _header(headers: Mapping[str, str], name: str) -> str:
    if name not in headers:
        raise InvalidInputError.at("headers", name, msg="is missing")
    return headers[name]


def _parsed(body: bytes, form: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError.at("body", msg=f"is not what its content-type says: {error}") from None
