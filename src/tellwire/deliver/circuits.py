"""Circuits: after an attempt that says something of an endpoint's circuit breaker, see whether it opens or closes.

When it opens, what waits in memory goes back to the store: it keeps its place and its attempts there, and the lane
holds but one claim, for the next probe. Only a circuit breaker that the endpoint has by its settings is told of: the
light one that every lane has opens and closes in each process by itself.
"""

from collections.abc import Callable

from tellwire.clock import Clock
from tellwire.model.claim import Claim
from tellwire.policy.circuit import LIGHT, Circuit
from tellwire.store.roster import LiveEndpoint
from tellwire.telemetry import LaneClosed, LaneOpened, Telemetry

from .announcing import Announcing
from .lane import Lane
from .lanes import Lanes


class Circuits:
    """Opens and closes the lanes of this process."""

    def __init__(
        self,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        give_back: Callable[[Claim], None],
        announcing: Announcing,
    ) -> None:
        """``give_back`` releases a claim that is not to be sent now."""
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._give_back = give_back
        self._announcing = announcing

    def judged(self, lane: Lane, endpoint: LiveEndpoint, succeeded: bool) -> None:
        """An attempt to an endpoint has ended."""
        before, settings = lane.circuit, endpoint.settings.circuit
        after = before.after(succeeded, self._clock.now_ms(), settings or LIGHT)
        lane.circuit = after
        if after.is_open and not before.is_open:
            self._lanes.holding.set()
            for claim in self._lanes.shed(lane):
                self._give_back(claim)
            if settings is not None:
                self._tell_opened(endpoint, after)
        elif before.is_open and not after.is_open:
            if settings is not None:
                self._tell_closed(endpoint, before)
            self._lanes.go_on(lane)

    def _tell_opened(self, endpoint: LiveEndpoint, circuit: Circuit) -> None:
        wait_ms = max(circuit.probe_ms - self._clock.now_ms(), 0)
        self._telemetry.emit(LaneOpened(endpoint.text_id, endpoint.tenant, wait_ms))
        self._announcing.lane_opened(endpoint, wait_ms)

    def _tell_closed(self, endpoint: LiveEndpoint, before: Circuit) -> None:
        open_ms = max(self._clock.now_ms() - (before.opened_ms or 0), 0)
        self._telemetry.emit(LaneClosed(endpoint.text_id, endpoint.tenant, open_ms))
        self._announcing.lane_closed(endpoint, open_ms)
