"""FastAPI and SQLAlchemy: the order and its event are in one transaction, so there is never one without the other.

Run it with ``uvicorn examples.fastapi_sqlalchemy:app``, then ``curl -X POST http://127.0.0.1:8000/orders/o_1/pay``.
``SHOP_DATABASE`` names the database, on SQLite or PostgreSQL. ``TELLWIRE_`` variables are read as ``tellwire serve``
reads them, so ``TELLWIRE_DEV=true`` allows deliveries to this machine.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tellwire import Event, Tellwire
from tellwire.settings import load
from tellwire.wiring import options_for

DATABASE = os.environ.get("SHOP_DATABASE", "sqlite:///shop.db")
engine = create_async_engine(
    DATABASE.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
)
new_session = async_sessionmaker(engine)


class Base(DeclarativeBase):
    """The shop's tables."""


class Order(Base):
    """An order that was paid."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


class OrderPaid(Event, name="order.paid"):
    """The data of an ``order.paid`` event."""

    order_id: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open Tellwire on the shop's own database."""
    async with Tellwire(DATABASE, options_for(load(os.environ).settings)) as tellwire:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        app.state.tellwire = tellwire
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/endpoints", status_code=201)
async def subscribe(request: Request, url: str) -> dict[str, str]:
    """Let a customer say where to receive."""
    tellwire: Tellwire = request.app.state.tellwire
    endpoint, secret = await tellwire.endpoints.create(url, events=["order.*"])
    return {"id": endpoint.id, "secret": secret}


@app.post("/orders/{order_id}/pay")
async def pay(request: Request, order_id: str) -> dict[str, str]:
    """Pay an order: the order and its event are stored together, or neither is."""
    tellwire: Tellwire = request.app.state.tellwire
    async with new_session.begin() as session:
        session.add(Order(id=order_id))
        try:
            await session.flush()
        except IntegrityError:
            raise HTTPException(409, "the order is paid already") from None
        receipt = await tellwire.publish(OrderPaid(order_id=order_id), connection=session)
        charge(order_id)  # whatever raises in here leaves no order and no event
    return {"event": receipt.id}


def charge(order_id: str) -> None:
    """Stands for the payment, which may fail."""
    if order_id.startswith("declined"):
        raise HTTPException(409, "the card was declined")
