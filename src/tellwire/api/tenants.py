"""Tenants: your customers, under the ids that you call them by."""

from typing import Annotated

from fastapi import Query, Request

from .auth import Door, bearer
from .caller import Who
from .hub import Hub
from .shapes.given import PageQuery
from .shapes.keys import PortalTokenBody, PortalTokenOutput
from .shapes.shown import ListOutput
from .shapes.tenants import TenantBody, TenantOutput, TenantPatch
from .versions import Tag


async def create_tenant(tellwire: Hub, tag: Tag, asked: TenantBody) -> TenantOutput:
    """Create a tenant"""
    return TenantOutput.of(
        tag(
            await tellwire.tenants.create(
                asked.id,
                name=asked.name,
                metadata=asked.metadata,
                limits=None if asked.limits is None else asked.limits.limits(),
                verification=asked.verification,
                defaults=None if asked.defaults is None else asked.defaults.model_dump(exclude_unset=True),
            )
        )
    )


async def list_tenants(
    tellwire: Hub, caller: Who, asked: Annotated[PageQuery, Query()]
) -> ListOutput[TenantOutput]:
    """List tenants

    By id. A key that is bound to a tenant finds that one.
    """
    if caller.tenant is not None:
        return ListOutput(data=[TenantOutput.of(await tellwire.tenants.get(caller.tenant))], next=None)
    return ListOutput[TenantOutput].of(await tellwire.tenants.list(**dict(asked)))


async def get_tenant(tellwire: Hub, tag: Tag, id: str) -> TenantOutput:
    """Get a tenant"""
    return TenantOutput.of(tag(await tellwire.tenants.get(id)))


async def change_tenant(tellwire: Hub, tag: Tag, id: str, asked: TenantPatch) -> TenantOutput:
    """Change a tenant

    A JSON merge patch (RFC 7396): null clears, what is left out stays. `application/merge-patch+json` is welcome too.
    """
    return TenantOutput.of(tag(await tellwire.tenants.update(id, asked.patch())))


async def delete_tenant(tellwire: Hub, id: str) -> TenantOutput:
    """Delete a tenant

    Nothing is published or delivered for it any more. Its endpoints, secrets, events, deliveries and attempts go in
    the background; until that is done, it is there as `deleting`, and its id is taken.
    """
    return TenantOutput.of(await tellwire.tenants.delete(id))


async def make_portal_token(
    tellwire: Hub, request: Request, id: str, asked: PortalTokenBody
) -> PortalTokenOutput:
    """Make a portal token

    For a page that your customer sees: it gets at the things of this tenant, by its capabilities, and is refused
    everywhere else. It ends with its time, with its tenant, and with the API key that it was made with.
    """
    door: Door = request.app.state.door
    shown = request.headers.get("authorization", "").encode("latin-1")
    made = await tellwire.tokens.portal(
        id, asked.capabilities, lifetime_s=asked.lifetime_s, subject=asked.subject, made_with=bearer(shown),
        ends_ms=door.ends_ms(shown),
    )  # fmt: skip
    return PortalTokenOutput.model_validate(made, from_attributes=True)
