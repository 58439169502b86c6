"""The events in a request as its receiver finds them, read with nothing of Tellwire: one, or all of a batch."""

from typing import NamedTuple

import msgspec

from .processes import Received


class Member(NamedTuple):
    """An event that arrived; ``data`` are its bytes."""

    id: str
    number: int
    data: bytes


class _Data(msgspec.Struct):
    number: int


class _Envelope(msgspec.Struct):
    data: msgspec.Raw
    id: str = ""


def members(request: Received) -> list[Member]:
    """The events of a request, in their order."""
    if request.body.startswith(b"["):
        envelopes = msgspec.json.decode(request.body, type=list[_Envelope])
    else:
        envelopes = [msgspec.json.decode(request.body, type=_Envelope)]
        envelopes[0].id = request.id
    return [
        Member(one.id, msgspec.json.decode(one.data, type=_Data).number, bytes(one.data)) for one in envelopes
    ]
