"""Django: the order and its event are in one transaction, so there is never one without the other.

A whole project in one file. Run it with ``python examples/django_app.py runserver --noreload``, then
``curl -X POST http://127.0.0.1:8000/orders/o_1/pay``. ``SHOP_DATABASE`` names the SQLite file. ``TELLWIRE_`` variables
are read as ``tellwire serve`` reads them, so ``TELLWIRE_DEV=true`` allows deliveries to this machine.
"""

import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import IntegrityError, connection, models, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from tellwire import Event, SyncTellwire
from tellwire.settings import load
from tellwire.wiring import options_for

DATABASE = os.environ.get("SHOP_DATABASE", "sqlite:///shop.db")

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATABASE.removeprefix("sqlite:///"),
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},  # wait for the lock at the start, not in the middle
        }
    },
    ROOT_URLCONF=__name__,
)
django.setup()

tellwire = SyncTellwire(DATABASE, options_for(load(os.environ).settings))


class Order(models.Model):
    """An order that was paid."""

    id = models.CharField(primary_key=True, max_length=64)

    class Meta:
        app_label = "shop"
        db_table = "orders"


class OrderPaid(Event, name="order.paid"):
    """The data of an ``order.paid`` event."""

    order_id: str


@require_POST
def subscribe(request: HttpRequest) -> HttpResponse:
    """Let a customer say where to receive."""
    url = request.GET["url"]
    endpoint, secret = tellwire.call(lambda tw: tw.endpoints.create(url, events=["order.*"]))
    return JsonResponse({"id": endpoint.id, "secret": secret}, status=201)


@require_POST
def pay(request: HttpRequest, order_id: str) -> HttpResponse:
    """Pay an order: the order and its event are stored together, or neither is."""
    try:
        with transaction.atomic():
            Order.objects.create(id=order_id)
            receipt = tellwire.publish(OrderPaid(order_id=order_id), connection=connection)
            charge(order_id)  # whatever raises in here leaves no order and no event
    except IntegrityError:
        return JsonResponse({"detail": "the order is paid already"}, status=409)
    except PermissionError as error:
        return JsonResponse({"detail": str(error)}, status=409)
    return JsonResponse({"event": receipt.id})


def charge(order_id: str) -> None:
    """Stands for the payment, which may fail."""
    if order_id.startswith("declined"):
        raise PermissionError("the card was declined")


urlpatterns = [path("endpoints", subscribe), path("orders/<order_id>/pay", pay)]


def main() -> None:
    """Open Tellwire, make the table, and do what the command line says."""
    with tellwire:
        if Order._meta.db_table not in connection.introspection.table_names():
            with connection.schema_editor() as editor:
                editor.create_model(Order)
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
