"""Shaping: the body of an attempt where it is not the usual one, and the headers that belong to it.

Place in the life of an event: between claim and signature, so what is signed is what is sent. The bytes of the data are
never made anew, unless a subscription has a transform: they stand in every envelope as they were published, with all
digits and in their order, and so does what is kept of them by a selection of fields. The same event has the same bytes
in every attempt, as long as the endpoint's subscriptions stay what they are.
"""

import asyncio
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from tellwire.model.claim import Claim
from tellwire.policy.shaping import CLOUDEVENT, JSON, Happened, Shaped, Shapes, structured
from tellwire.policy.transforming import STEPS, SpentError

__all__ = ["CLOUDEVENT", "JSON", "Shaped", "Shaper", "cloudevent", "shaped"]

INLINE_BYTES: Final = 32 * 1024
"""What is larger, and has to be looked into, is shaped beside the event loop."""
INLINE_STEPS: Final = 2_000
"""And so is what takes more steps than this: some two milliseconds."""


class _Standard(msgspec.Struct):
    """The standard envelope, its data left as it is."""

    timestamp: str
    data: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Standard).decode


class Shaper:
    """Makes the bodies of one engine.

    What takes long is made beside the event loop, one body at a time: more of them would only take turns, and leave
    less to the event loop. Tenants take turns too, so that one with many of them does not hold up the others.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def shaped(self, claim: Claim, tenant: str, shapes: Shapes) -> Shaped:
        """The body of ``claim`` as the endpoint's subscriptions ask for it. Raises TransformError."""
        if not shapes.looks_inside or len(claim.body) <= INLINE_BYTES:
            try:
                return shaped(claim, tenant, shapes, INLINE_STEPS)
            except SpentError:
                pass
        own = self._turns.setdefault(tenant, asyncio.Lock())
        async with own, self._turn:
            return await asyncio.to_thread(shaped, claim, tenant, shapes)


def shaped(claim: Claim, tenant: str, shapes: Shapes, steps: int = STEPS) -> Shaped:
    """The same at once, in at most so many ``steps`` of a transform."""
    event = _event(claim, tenant)
    return shapes.shape(event.type, tenant, event.data).apply(event, steps)


def cloudevent(claim: Claim, tenant: str) -> bytes:
    """The event of ``claim`` as structured CloudEvent."""
    event = _event(claim, tenant)
    return structured(event, event.data)


def _event(claim: Claim, tenant: str) -> Happened:
    standard = _decode(claim.body)
    return Happened(claim.event_text_id, claim.type, tenant, standard.timestamp, bytes(standard.data))
