"""Flask and SQLAlchemy: the order and its event are in one transaction, so there is never one without the other.

Run it with ``flask --app examples/flask_app.py run``, then ``curl -X POST http://127.0.0.1:5000/orders/o_1/pay``.
``SHOP_DATABASE`` names the database, on SQLite or PostgreSQL. ``TELLWIRE_`` variables are read as ``tellwire serve``
reads them, so ``TELLWIRE_DEV=true`` allows deliveries to this machine.
"""

import atexit
import os

from flask import Flask, abort, request
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from tellwire import Event, SyncTellwire
from tellwire.settings import load
from tellwire.wiring import options_for

DATABASE = os.environ.get("SHOP_DATABASE", "sqlite:///shop.db")
engine = create_engine(DATABASE.replace("postgresql:", "postgresql+psycopg:"))
new_session = sessionmaker(engine)
tellwire = SyncTellwire(DATABASE, options_for(load(os.environ).settings))


class Base(DeclarativeBase):
    """The shop's tables."""


class Order(Base):
    """An order that was paid."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


class OrderPaid(Event, name="order.paid"):
    """The data of an ``order.paid`` event."""

    order_id: str


def create_app() -> Flask:
    """Called once in each process, after it was forked: Tellwire has a thread, and threads do not survive a fork."""
    tellwire.open()
    atexit.register(tellwire.close)
    Base.metadata.create_all(engine)
    app = Flask(__name__)
    app.add_url_rule("/endpoints", view_func=subscribe, methods=["POST"])
    app.add_url_rule("/orders/<order_id>/pay", view_func=pay, methods=["POST"])
    return app


def subscribe() -> tuple[dict[str, str], int]:
    """Let a customer say where to receive."""
    url = request.args["url"]
    endpoint, secret = tellwire.call(lambda tw: tw.endpoints.create(url, events=["order.*"]))
    return {"id": endpoint.id, "secret": secret}, 201


def pay(order_id: str) -> dict[str, str]:
    """Pay an order: the order and its event are stored together, or neither is."""
    with new_session.begin() as session:
        session.add(Order(id=order_id))
        try:
            session.flush()
        except IntegrityError:
            abort(409, "the order is paid already")
        receipt = tellwire.publish(OrderPaid(order_id=order_id), connection=session)
        charge(order_id)  # whatever raises in here leaves no order and no event
    return {"event": receipt.id}


def charge(order_id: str) -> None:
    """Stands for the payment, which may fail."""
    if order_id.startswith("declined"):
        abort(409, "the card was declined")
