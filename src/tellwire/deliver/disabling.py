"""Disabling: Tellwire itself switches an endpoint off, because of what its receiver answered or did not answer.

The audit entry and the operational event are written in the transaction of the change, as where people switch: neither
is there without the other. Whoever looks why an endpoint is silent finds who disabled it in one place.
"""

from collections.abc import Callable

from sqlalchemy import Connection

from tellwire.ids import ENDPOINT, encode
from tellwire.model.audit import ITSELF
from tellwire.model.endpoint import EndpointState
from tellwire.store import audit, endpoints
from tellwire.store.announcer import Announcer
from tellwire.store.audit import NewEntry

_ACTION = "endpoint.disabled"


def disable(
    connection: Connection,
    announcer: Announcer,
    new_id: Callable[[], bytes],
    id: bytes,
    reason: str,
    *,
    now_ms: int,
) -> bool:
    """Disable an endpoint for ``reason``; false, and nothing is written, where it is disabled or deleted already."""
    former = endpoints.disable(connection, id, reason, now_ms=now_ms)
    if former is None:
        return False
    before = {"state": former.state, "state_reason": former.state_reason}
    after = {"state": EndpointState.DISABLED, "state_reason": reason}
    entry = NewEntry(
        new_id(), now_ms, _ACTION, ITSELF, former.tenant, encode(ENDPOINT, id), None, before, after
    )
    audit.add(connection, entry)
    announcer.endpoint_changed(connection, _ACTION, id, changed=after)
    return True
