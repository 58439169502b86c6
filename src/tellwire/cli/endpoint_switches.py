"""``tellwire endpoints``, continued: secrets, states, subscriptions and test events."""

from typing import TYPE_CHECKING, Annotated

import typer

from .failures import Code, RefusalError
from .given import EndpointId, patterns
from .local import on_database
from .nouns import endpoint_shown
from .show import Shown, one

if TYPE_CHECKING:
    from ..hub import Tellwire

Patterns = Annotated[
    list[str],
    typer.Argument(metavar="PATTERN...", help="Event types or patterns such as order.*", show_default=False),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret", metavar="SECRET", help="Your own, whsec_ or whsk_; else one is made.", show_default=False
    ),
]
Overlap = Annotated[
    int, typer.Option("--overlap-s", metavar="SECONDS", help="How long the old secret signs along.")
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="TEXT", help="Shown with the endpoint; on a database only.", show_default=False
    ),
]
EventType = Annotated[str, typer.Option("--type", metavar="TYPE", help="The type of the example event.")]


async def secret(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """Show the current signing secret."""
    return one({"secret": await tellwire.endpoints.secret(id)})


async def rotate(
    tellwire: "Tellwire", id: EndpointId, secret: Secret = None, overlap_s: Overlap = 86_400
) -> Shown:
    """Sign with a new secret from now on, and with the old one too for a while."""
    return one({"secret": await tellwire.endpoints.rotate_secret(id, secret=secret, overlap_s=overlap_s)})


async def enable(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """Deliver (again); what waited is sent, retries at their time."""
    return endpoint_shown(await tellwire.endpoints.enable(id))


async def disable(tellwire: "Tellwire", id: EndpointId, reason: Reason = None) -> Shown:
    """No new deliveries; pending ones wait until the endpoint is enabled again."""
    from ..client import Client

    if reason is None:
        return endpoint_shown(await tellwire.endpoints.disable(id))
    if isinstance(tellwire, Client):
        raise RefusalError("--reason is kept on a database only: leave it out", Code.USAGE)
    return endpoint_shown(await tellwire.endpoints.disable(id, reason=reason))


async def pause(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """Keep events for this endpoint, and let them wait."""
    return endpoint_shown(await tellwire.endpoints.pause(id))


async def resume(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """End a pause: what waited is sent, retries at their time."""
    return endpoint_shown(await tellwire.endpoints.resume(id))


async def verify(tellwire: "Tellwire", id: EndpointId) -> Shown:
    """Ask its receiver whether it wants deliveries, where endpoints are to be verified."""
    return endpoint_shown(await tellwire.endpoints.verify(id))


async def subscribe(tellwire: "Tellwire", id: EndpointId, events: Patterns) -> Shown:
    """Add event-type patterns."""
    return endpoint_shown(await tellwire.endpoints.subscribe(id, patterns(events)))


async def unsubscribe(tellwire: "Tellwire", id: EndpointId, events: Patterns) -> Shown:
    """Take event-type patterns away."""
    return endpoint_shown(await tellwire.endpoints.unsubscribe(id, patterns(events)))


async def send_test(tellwire: "Tellwire", id: EndpointId, type: EventType = "tellwire.test") -> Shown:
    """Send an example event to this endpoint alone; a running server delivers it."""
    return one(await tellwire.endpoints.test(id, type=type))


def add_switches(group: typer.Typer) -> None:
    """Add these commands to the group."""
    for name, question in (
        ("secret", secret),
        ("rotate", rotate),
        ("enable", enable),
        ("disable", disable),
        ("pause", pause),
        ("resume", resume),
        ("verify", verify),
        ("subscribe", subscribe),
        ("unsubscribe", unsubscribe),
        ("test", send_test),
    ):
        group.command(name)(on_database(question))
