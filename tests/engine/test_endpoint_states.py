"""Pausing, resuming, disabling and enabling: each does what it says, and nothing else."""

import pytest

from tellwire.errors import ConflictError
from tellwire.hub import Tellwire
from tellwire.model.endpoint import EndpointState


async def test_resume_does_not_enable_a_disabled_endpoint(tellwire: Tellwire) -> None:
    """A disabled endpoint was disabled for a reason: ending a pause leaves it as it is and says so."""
    endpoint, _ = await tellwire.endpoints.create("http://127.0.0.1:9000/", events=["*"])
    await tellwire.endpoints.disable(endpoint.id)
    with pytest.raises(ConflictError, match="enable it"):
        await tellwire.endpoints.resume(endpoint.id)
    assert (await tellwire.endpoints.get(endpoint.id)).state is EndpointState.DISABLED


async def test_resume_ends_a_pause_and_enables_what_is_enabled(tellwire: Tellwire) -> None:
    """After a pause the endpoint is enabled again, without a reason; resuming twice is the same as once."""
    endpoint, _ = await tellwire.endpoints.create("http://127.0.0.1:9000/", events=["*"])
    assert (await tellwire.endpoints.pause(endpoint.id)).state is EndpointState.PAUSED
    for _ in range(2):
        resumed = await tellwire.endpoints.resume(endpoint.id)
        assert (resumed.state, resumed.state_reason) == (EndpointState.ENABLED, None)
