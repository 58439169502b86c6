"""A client of a Tellwire server elsewhere: the same calls as on a ``Tellwire`` in the process, over HTTP.

    async with Client("https://events.example.com", "tw_live_...") as client:
        await client.publish("order.paid", {"order_id": "o_1"})

``SyncClient`` is the same for code without ``async``.
"""

from .client import Client
from .sync import SyncClient

__all__ = ["Client", "SyncClient"]
