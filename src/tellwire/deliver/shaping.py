"""Shaping: the body of an attempt where it is not the usual one, and the headers that belong to it.

Place in the life of an event: between claim and signature, so what is signed is what is sent. The bytes of the data are
never made anew, unless a subscription has a transform: they stand in every envelope as they were published, with all
digits and in their order, and so does what is kept of them by a selection of fields. The same event has the same bytes
in every attempt, as long as the endpoint's subscriptions stay what they are.
"""

import asyncio
from typing import Final

import msgspec

from tellwire.model.claim import Claim
from tellwire.policy.shaping import CLOUDEVENT, JSON, Happened, Shaped, Shapes, structured

__all__ = ["CLOUDEVENT", "JSON", "Shaped", "Shaper", "cloudevent", "shaped"]

INLINE_BYTES: Final = 32 * 1024
"""What is larger, and has to be looked into, is shaped beside the event loop."""

_AT_ONCE: Final = 2


class _Standard(msgspec.Struct):
    """The standard envelope, its data left as it is."""

    timestamp: str
    data: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Standard).decode


class Shaper:
    """Makes the bodies of one engine."""

    def __init__(self) -> None:
        # More of them would only take turns, and leave less to the event loop.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def shaped(self, claim: Claim, tenant: str, shapes: Shapes) -> Shaped:
        """The body of ``claim`` as the endpoint's subscriptions ask for it. Raises TransformError."""
        if not shapes.looks_inside or len(claim.body) <= INLINE_BYTES:
            return shaped(claim, tenant, shapes)
        async with self._turns:
            return await asyncio.to_thread(shaped, claim, tenant, shapes)


def shaped(claim: Claim, tenant: str, shapes: Shapes) -> Shaped:
    """The same at once."""
    event = _event(claim, tenant)
    return shapes.shape(event.type, tenant, event.data).apply(event)


def cloudevent(claim: Claim, tenant: str) -> bytes:
    """The event of ``claim`` as structured CloudEvent."""
    event = _event(claim, tenant)
    return structured(event, event.data)


def _event(claim: Claim, tenant: str) -> Happened:
    standard = _decode(claim.body)
    return Happened(claim.event_text_id, claim.type, tenant, standard.timestamp, bytes(standard.data))
