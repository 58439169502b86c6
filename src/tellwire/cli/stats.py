"""``tellwire stats``: what became of deliveries, by hour and day."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..clock import rfc3339, to_ms
from ..model.stats import Counts, Percentiles, Span, Stats
from .failures import Code, RefusalError
from .given import Since, Tenant, Until
from .local import on_database
from .show import Shown, cell, plain

if TYPE_CHECKING:
    from ..hub import Tellwire

By = Annotated[
    Span, typer.Option("--by", metavar="PIECE", help=f"How long the pieces are: {', '.join(Span)}.")
]
OfEndpoint = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="ENDPOINT_ID", help="Of this endpoint only."),
]
_COLUMNS = (
    "from",
    "succeeded",
    "exhausted",
    "cancelled",
    "success",
    "attempts",
    "failed",
    "attempt p50/p95/p99",
    "delivery p50/p95/p99",
)


async def _stats(
    tellwire: "Tellwire",
    endpoint: OfEndpoint = None,
    tenant: Tenant = None,
    by: By = Span.HOUR,
    since: Since = None,
    until: Until = None,
) -> Shown:
    """What became of deliveries and attempts, by hour or day: counts, success rate, latency in milliseconds.

    Of an endpoint, a tenant, or of all: the last 24 hours or 30 days if nothing else is said, at most 750 pieces.
    """
    if endpoint is None:
        found = await tellwire.stats.all(tenant=tenant, by=by, since=since, until=until)
    elif tenant is None:
        found = await tellwire.stats.endpoint(endpoint, by=by, since=since, until=until)
    else:
        raise RefusalError("give either --endpoint or --tenant, not both", Code.USAGE)
    return Shown(plain(found), lambda: _drawn(found))


def _drawn(found: Stats) -> RenderableType:
    if not found.data:
        return Text("nothing was attempted in this time")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_footer=True)
    for column, total in zip(_COLUMNS, _row("total", found.total), strict=True):
        table.add_column(column, footer=cell(total), no_wrap=column == "from")
    for piece in found.data:
        table.add_row(*map(cell, _row(rfc3339(to_ms(piece.start)), piece)))
    since, until = rfc3339(to_ms(found.since)), rfc3339(to_ms(found.until))
    return Group(table, Text(f"\nfrom {since} to {until}; times in milliseconds", style="dim"))


def _row(name: str, counts: Counts) -> tuple[object, ...]:
    return (
        name,
        counts.succeeded,
        counts.exhausted,
        counts.cancelled,
        None if counts.success_rate is None else f"{counts.success_rate:.2%}",
        counts.attempts_succeeded + counts.attempts_failed,
        counts.attempts_failed,
        _times(counts.attempt_ms),
        _times(counts.delivery_ms),
    )


def _times(found: Percentiles | None) -> str | None:
    return None if found is None else f"{found.p50}/{found.p95}/{found.p99}"


stats = on_database(_stats)
