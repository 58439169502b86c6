"""``tellwire publish``: one event from the command line, or a stream of them from standard input."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .elsewhere import client_for, server_for
from .failures import Code, RefusalError, told
from .flags import ConfigFile, DatabaseUrl, Json, ProfileName, ServerKey, ServerUrl
from .given import ahead, time
from .local import settings_for
from .nouns import receipt_fields
from .show import Shown, one, show

if TYPE_CHECKING:
    from ..client import Client
    from ..hub import Tellwire

Type = Annotated[
    str | None,
    typer.Argument(metavar="[TYPE|-]", help="The event type, such as order.paid; - reads events from stdin.",
                   show_default=False),
]  # fmt: skip
Data = Annotated[
    str | None,
    typer.Argument(metavar="[DATA]", help="A JSON object; - reads it from stdin.", show_default=False),
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="ID", help="Whose endpoints are to receive it; else default.",
                 show_default=False),
]  # fmt: skip
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="KEY", help="Publishing the same again stores it once.",
                 show_default=False),
]  # fmt: skip
OccurredAt = Annotated[
    datetime | None,
    typer.Option("--occurred-at", parser=time, metavar="TIME",
                 help="When it happened: an RFC 3339 time, or how long ago, such as 15m. Else now.",
                 show_default=False),
]  # fmt: skip

DeliverAt = Annotated[
    datetime | None,
    typer.Option("--deliver-at", parser=ahead, metavar="TIME",
                 help="Not to be delivered before: an RFC 3339 time, or how long from now, such as 2h. Else at once.",
                 show_default=False),
]  # fmt: skip
ExpiresAt = Annotated[
    datetime | None,
    typer.Option("--expires-at", parser=ahead, metavar="TIME",
                 help="Not worth delivering from then on: an RFC 3339 time, or how long from now, such as 1d.",
                 show_default=False),
]  # fmt: skip

OrderingKey = Annotated[
    str | None,
    typer.Option("--ordering-key", metavar="KEY",
                 help="Endpoints whose order is by key get events with the same one in order.", show_default=False),
]  # fmt: skip


def publish(
    type: Type = None,
    data: Data = None,
    tenant: Tenant = None,
    idempotency_key: Key = None,
    occurred_at: OccurredAt = None,
    deliver_at: DeliverAt = None,
    expires_at: ExpiresAt = None,
    ordering_key: OrderingKey = None,
    json: Json = False,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
    server: ServerUrl = None,
    server_key: ServerKey = None,
    profile: ProfileName = None,
) -> None:
    """Publish an event, or events from standard input: one JSON object a line, as for POST /v1/events, or an array.

    Works on the database itself; a running server delivers what is published here within a quarter of a second.
    """
    with told():
        if type is None and sys.stdin.isatty():
            raise RefusalError("give TYPE and DATA, or events on standard input", Code.USAGE)
        streams = type is None or (type == "-" and data is None)
        fields = {
            "tenant": tenant,
            "idempotency_key": idempotency_key,
            "occurred_at": occurred_at,
            "deliver_at": deliver_at,
            "expires_at": expires_at,
            "ordering_key": ordering_key,
        }
        if streams and any(fields.values()):
            flags = ", ".join(f"--{name.replace('_', '-')}" for name, value in fields.items() if value)
            raise RefusalError(
                f"{flags}: for a single event only; from standard input, each event has fields of its own",
                Code.USAGE,
            )
        if not streams and data is None:
            raise RefusalError("DATA is missing: give a JSON object such as '{\"id\": 1}'", Code.USAGE)
        elsewhere = server_for(
            database_url=database_url, config=config, server=server, key=server_key, profile=profile
        )
        to = _local(config, database_url) if elsewhere is None else client_for(elsewhere)
        if streams:
            from .publish_lines import publish_lines

            raise typer.Exit(publish_lines(to, sys.stdin.buffer, as_json=json))
        raw = sys.stdin.buffer.read() if data == "-" else str(data).encode(errors="surrogateescape")
        shown = asyncio.run(_publish(to, str(type), raw, fields))
        show(shown, as_json=json)


def _local(config: Path | None, database_url: str | None) -> "Tellwire":
    from ..wiring import tellwire_for

    return tellwire_for(settings_for(config, creates=False, database_url=database_url), deliver=False)


async def _publish(to: "Tellwire | Client", type: str, data: bytes, fields: dict[str, Any]) -> Shown:
    async with to as tellwire:
        receipt = await tellwire.publish(type, data, **fields)
    return one(receipt_fields(receipt))
