"""The audit log to look at: who changed what."""

from typing import Annotated

from fastapi import Query

from .caller import Who
from .hub import Hub
from .shapes.audit import AuditOutput, AuditQuery
from .shapes.shown import ListOutput


async def list_audit(
    tellwire: Hub, caller: Who, asked: Annotated[AuditQuery, Query()]
) -> ListOutput[AuditOutput]:
    """List changes

    Newest first: every change of endpoints, tenants and keys, with who made it. Secrets are masked. A key that is bound
    to a tenant sees the changes of what is its tenant's.
    """
    query = asked.seen_by(caller)
    if caller.tenant is not None:  # another tenant may have had this id before: its entries are nobody's now
        begun_at = (await tellwire.tenants.get(caller.tenant)).created_at
        query["since"] = max(query["since"] or begun_at, begun_at)
    return ListOutput[AuditOutput].of(await tellwire.audit.list(**query))
