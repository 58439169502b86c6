"""The other side: webhooks that come to us, once their signature is proven (``signing.verify``)."""

from .unpacking import ReceivedEvent, unpack

__all__ = ["ReceivedEvent", "unpack"]
