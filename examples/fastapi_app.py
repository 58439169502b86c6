"""A FastAPI app that publishes events from a route; Tellwire lives and ends with the app.

Run it with ``uvicorn examples.fastapi_app:app``, then ``curl -X POST http://127.0.0.1:8000/orders/o_1/pay``.
``SHOP_DATABASE`` names the database. ``TELLWIRE_`` variables are read as ``tellwire serve`` reads them, so
``TELLWIRE_DEV=true`` allows deliveries to this machine.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from tellwire import Event, Tellwire
from tellwire.settings import load
from tellwire.wiring import options_for


class OrderPaid(Event, name="order.paid"):
    """The data of an ``order.paid`` event."""

    order_id: str
    amount: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open Tellwire before the first request; close it after the last, when attempts in the air have landed."""
    url = os.environ.get("SHOP_DATABASE", "sqlite:///shop.db")
    async with Tellwire(url, options_for(load(os.environ).settings)) as tellwire:
        app.state.tellwire = tellwire
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/endpoints", status_code=201)
async def subscribe(request: Request, url: str) -> dict[str, str]:
    """Let a customer say where to receive; the secret is what they verify with."""
    tellwire: Tellwire = request.app.state.tellwire
    endpoint, secret = await tellwire.endpoints.create(url, events=["order.*"])
    return {"id": endpoint.id, "secret": secret}


@app.post("/orders/{order_id}/pay")
async def pay(request: Request, order_id: str) -> dict[str, str]:
    """Pay an order and say so; when ``publish`` returns, the event cannot get lost any more."""
    tellwire: Tellwire = request.app.state.tellwire
    receipt = await tellwire.publish(
        OrderPaid(order_id=order_id, amount=4200), idempotency_key=f"paid-{order_id}"
    )
    return {"event": receipt.id}
