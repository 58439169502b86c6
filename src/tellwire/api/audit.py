"""The audit log to look at: who changed what."""

from typing import Annotated

from fastapi import Query

from .caller import Who
from .hub import Hub
from .inputs import AuditQuery
from .outputs import AuditOutput, ListOutput


async def list_audit(
    tellwire: Hub, caller: Who, asked: Annotated[AuditQuery, Query()]
) -> ListOutput[AuditOutput]:
    """List changes

    Newest first: every change of endpoints, tenants and keys, with who made it. Secrets are masked. A key that is bound
    to a tenant sees the changes of what is its tenant's.
    """
    return ListOutput[AuditOutput].of(await tellwire.audit.list(**asked.seen_by(caller)))
