"""``tellwire health`` and ``tellwire metrics``: is the server there, and what does it count?"""

from typing import TYPE_CHECKING

from rich.text import Text

from .failures import RefusalError
from .local import on_database, on_server
from .show import Shown, one

if TYPE_CHECKING:
    from ..client import Client
    from ..hub import Tellwire


async def _health(tellwire: "Tellwire") -> Shown:
    """Ask whether the server answers and can write its database; without a server, whether the database is ready."""
    from ..client import Client

    if isinstance(tellwire, Client):
        await tellwire.healthy()
        if not await tellwire.ready():
            raise RefusalError("the server answers, but cannot write its database right now")
    else:
        await tellwire.ready()
    return one({"status": "ready"})


async def _metrics(client: "Client") -> Shown:
    """Show the metrics of a server, in the text format of Prometheus. They are in no database."""
    text = await client.metrics()
    return Shown({"metrics": text}, lambda: Text(text.rstrip("\n")))


health = on_database(_health)
metrics = on_server(_metrics)
