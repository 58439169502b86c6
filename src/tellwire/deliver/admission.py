"""Admission: which deliveries a publish or claim transaction may give to this process, by the room in their lanes."""

from collections.abc import Callable

from tellwire.store.roster import LiveEndpoint

from .lanes import Lanes


class Admission:
    """Says, for one publish or claim transaction, which lanes have room for claims that it makes.

    May run in the writer's thread, beside the event loop that owns the lanes: it only reads their counts, counting its
    own promises apart, so that a transaction that is rolled back leaves nothing behind. Claims that are committed but
    not yet held are not seen, so the bounds on held claims are soft by a batch.
    """

    def __init__(self, lanes: Lanes, owns: Callable[[bytes], bool]) -> None:
        """``owns`` tells whether this process owns an exclusive lane."""
        self._lanes = lanes
        self._owns = owns
        self.left: set[bytes] = set()
        """Lanes that are to be taken first: the claimer does that."""
        self.queued: set[bytes] = set()
        """Lanes with a backlog that this process comes to fetch, and this behind it."""
        self._promised: dict[bytes, int] = {}
        self._total = 0

    def admit(self, endpoint: LiveEndpoint) -> bool:
        """Whether one more claim may be made for this lane; if not, what is left becomes the lane's backlog.

        While a lane works off a backlog, new deliveries queue up behind it. One that holds nothing admits all the same:
        it is by the claims that it holds that it comes to fetch its backlog. An exclusive lane admits where it is ours.
        """
        endpoint_id = endpoint.id
        if endpoint.exclusive and not self._owns(endpoint_id):
            self.left.add(endpoint_id)
            return False
        lane = self._lanes.of(endpoint)
        promised = self._promised.get(endpoint_id, 0)
        if (lane.backlog and lane.held) or self._lanes.room(lane, self._total - promised) <= promised:
            lane.backlog = True
            self.queued.add(endpoint_id)
            return False
        self._promised[endpoint_id] = promised + 1
        self._total += 1
        return True
