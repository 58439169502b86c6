"""Tenants: your customers, under the ids that you call them by."""

from typing import Annotated

from fastapi import Query

from .hub import Hub
from .inputs import PageQuery, TenantBody
from .outputs import ListOutput, TenantOutput


async def create_tenant(tellwire: Hub, asked: TenantBody) -> TenantOutput:
    """Create a tenant"""
    return TenantOutput.of(await tellwire.tenants.create(asked.id, name=asked.name))


async def list_tenants(tellwire: Hub, asked: Annotated[PageQuery, Query()]) -> ListOutput[TenantOutput]:
    """List tenants

    By id.
    """
    return ListOutput[TenantOutput].of(await tellwire.tenants.list(**dict(asked)))


async def get_tenant(tellwire: Hub, id: str) -> TenantOutput:
    """Get a tenant"""
    return TenantOutput.of(await tellwire.tenants.get(id))
