"""Tellwire inside a script: a receiver, an endpoint, one event, and the proof that it arrived and is genuine.

Run it with ``python examples/embedded.py``. It needs no network and leaves nothing behind.
"""

import asyncio
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from tellwire import Options, Tellwire, parse_secret, verify


class Receiver(BaseHTTPRequestHandler):
    """The other side: a consumer that keeps what came and answers 204."""

    received: SimpleQueue[tuple[dict[str, str], bytes]] = SimpleQueue()

    def do_POST(self) -> None:
        """Take the bytes as they are: the signature covers them, not what they mean."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.put((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


async def main(folder: str) -> None:
    """Publish one event to one endpoint, wait for it, verify it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook"

    # Without these options, deliveries go to public https addresses and nowhere else.
    database = f"sqlite:///{Path(folder) / 'shop.db'}"
    async with Tellwire(database, Options.for_development()) as tellwire:
        endpoint, secret = await tellwire.endpoints.create(url, events=["order.*"])
        print(f"endpoint   {endpoint.id} listens to order.*")

        receipt = await tellwire.publish("order.paid", {"order_id": "o_1", "amount": 4200})
        print(f"published  {receipt.id} with {receipt.deliveries} delivery")

        await tellwire.drained()
        page = await tellwire.deliveries.list(event=receipt.id)
        print(f"delivery   {page.data[0].state}, answered {page.data[0].last_status_code}")

    headers, body = Receiver.received.get(timeout=5)
    verify([parse_secret(secret)], headers, body, int(time.time()))
    print(f"received   {body.decode()}")
    print("verified   the signature is good")
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
