"""Endpoints: made, changed, switched on and off, subscribed, given new secrets, tried out."""

from typing import Annotated

from fastapi import Query

from .caller import Who, tenant_for
from .hub import Hub
from .shapes.deliveries import DeliveryOutput
from .shapes.endpoints import (
    EndpointBody,
    EndpointOutput,
    EndpointPatch,
    NewEndpointOutput,
    RotateBody,
    SecretOutput,
    TryBody,
)
from .shapes.given import TenantPageQuery
from .shapes.shown import ListOutput
from .shapes.subscriptions import PatternsBody
from .versions import Tag


async def create_endpoint(tellwire: Hub, caller: Who, tag: Tag, asked: EndpointBody) -> NewEndpointOutput:
    """Create an endpoint

    The answer holds its signing secret, which later answers leave out.
    """
    subscriptions = asked.subscriptions
    endpoint, secret = await tellwire.endpoints.create(
        asked.url,
        events=asked.events,
        subscriptions=None if subscriptions is None else [one.subscription() for one in subscriptions],
        tenant=tenant_for(caller, asked.tenant),
        description=asked.description or "",
        headers=asked.headers,
        metadata=asked.metadata,
        secret=asked.secret,
        settings=asked.settings(),
    )
    return NewEndpointOutput.of(tag(endpoint), secret=secret)


async def list_endpoints(
    tellwire: Hub, caller: Who, asked: Annotated[TenantPageQuery, Query()]
) -> ListOutput[EndpointOutput]:
    """List endpoints

    Newest first.
    """
    page = await tellwire.endpoints.list(**asked.seen_by(caller))
    return ListOutput(data=[EndpointOutput.of(endpoint) for endpoint in page.data], next=page.next)


async def get_endpoint(tellwire: Hub, tag: Tag, id: str) -> EndpointOutput:
    """Get an endpoint"""
    return EndpointOutput.of(tag(await tellwire.endpoints.get(id)))


async def change_endpoint(tellwire: Hub, tag: Tag, id: str, asked: EndpointPatch) -> EndpointOutput:
    """Change an endpoint

    A JSON merge patch (RFC 7396): null clears, what is left out stays. `application/merge-patch+json` is welcome too.
    """
    return EndpointOutput.of(tag(await tellwire.endpoints.update(id, asked.patch())))


async def delete_endpoint(tellwire: Hub, id: str) -> None:
    """Delete an endpoint

    What was pending for it is cancelled. Its deliveries can still be looked at.
    """
    await tellwire.endpoints.delete(id)


async def get_secret(tellwire: Hub, id: str) -> SecretOutput:
    """Get the signing secret"""
    return SecretOutput(secret=await tellwire.endpoints.secret(id))


async def rotate_secret(tellwire: Hub, id: str, asked: RotateBody | None = None) -> SecretOutput:
    """Rotate the signing secret

    Deliveries are signed with the new secret from now on, and with the old one too for `overlap_s` seconds.
    """
    asked = asked or RotateBody()
    secret = await tellwire.endpoints.rotate_secret(id, secret=asked.secret, overlap_s=asked.overlap_s)
    return SecretOutput(secret=secret)


async def enable_endpoint(tellwire: Hub, id: str) -> EndpointOutput:
    """Enable an endpoint

    It gets events again, and what waited is sent: what is due at once, retries at their time.
    """
    return EndpointOutput.of(await tellwire.endpoints.enable(id))


async def disable_endpoint(tellwire: Hub, id: str) -> EndpointOutput:
    """Disable an endpoint

    It gets no new deliveries; pending ones wait until it is enabled again.
    """
    return EndpointOutput.of(await tellwire.endpoints.disable(id))


async def pause_endpoint(tellwire: Hub, id: str) -> EndpointOutput:
    """Pause an endpoint

    Events for it are kept, and wait.
    """
    return EndpointOutput.of(await tellwire.endpoints.pause(id))


async def resume_endpoint(tellwire: Hub, id: str) -> EndpointOutput:
    """Resume an endpoint

    What waited is sent: what is due at once, retries at their time.
    """
    return EndpointOutput.of(await tellwire.endpoints.resume(id))


async def verify_endpoint(tellwire: Hub, id: str) -> EndpointOutput:
    """Verify an endpoint

    Where endpoints are to be verified, its receiver is asked now. If it passes, the endpoint is enabled; else it stays
    `unverified`, and `state_reason` says why. A URL that is verified already is not asked again.
    """
    return EndpointOutput.of(await tellwire.endpoints.verify(id))


async def subscribe(tellwire: Hub, id: str, asked: PatternsBody) -> EndpointOutput:
    """Subscribe an endpoint to more events

    The patterns are added to its first subscription without a filter; those that it has already stay as they are.
    """
    return EndpointOutput.of(await tellwire.endpoints.subscribe(id, asked.events))


async def unsubscribe(tellwire: Hub, id: str, asked: PatternsBody) -> EndpointOutput:
    """Unsubscribe an endpoint from events

    The patterns are taken out of all its subscriptions without a filter, literally; those that it does not have are
    passed over.
    """
    return EndpointOutput.of(await tellwire.endpoints.unsubscribe(id, asked.events))


async def send_test(tellwire: Hub, id: str, asked: TryBody | None = None) -> DeliveryOutput:
    """Send an example event

    To this endpoint alone, whatever it is subscribed to.
    """
    type = None if asked is None else asked.type
    delivery = await (tellwire.endpoints.test(id) if type is None else tellwire.endpoints.test(id, type=type))
    return DeliveryOutput.of(delivery)
