"""Sequences: claims deliveries that must be sent in order, from the head of each sequence on.

Part of the claimer's transaction. The store tells which deliveries are heads; a run of those that follow is claimed
along with a head, so that they can be sent one after the other without asking the store in between. A head that has
failed before is claimed alone: what follows it is not moved about for each of its tries.

An endpoint may have very many sequences whose heads all wait. So a look goes through some of them, and the next one
goes on from there until all were seen: what a look costs has a bound, and each sequence has its turn.

Where the endpoint gets batches, runs of many sequences go along in one (``lined_up``).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.model.batching import MAX_EVENTS, BatchSettings
from tellwire.model.claim import Claim, More
from tellwire.store import batches
from tellwire.store.order import Run, step_aside
from tellwire.store.roster import LiveEndpoint
from tellwire.store.rows import ClaimedRow, Head
from tellwire.store.store import Store

from .gathering import LONG_S
from .lined_up import as_batches, together
from .rejoining import fits

_HEADS_PER_LOOK: Final = 200
_HEADS_PER_PASS: Final = 2_000
_RUN: Final = 100
PROLONG_FROM: Final = 40
"""A run of so many is prolonged (see ``prolonging``). While a shorter one is claimed, there are other lines to send."""

MakeClaim = Callable[[ClaimedRow], Claim]


class Look(msgspec.Struct):
    """What a look at an endpoint's sequences found.

    ``claims`` are the first of each run, and how many there are with those that follow is ``count``. ``ready_ms`` is
    when the next look is worth while, None where nothing can be claimed before something else happens; ``cut`` tells
    that there was more than there was room for, ``gathers`` that some wait for others to go along, perhaps for long.
    """

    claims: list[Claim] = []
    count: int = 0
    rescued: int = 0
    ready_ms: int | None = None
    cut: bool = False
    gathers: bool = False


class Scan(msgspec.Struct):
    """One way through all sequences of an endpoint, in several looks if they are many.

    ``after`` is the last that was seen, empty at the beginning; ``ready_ms`` when the first of those that were seen may
    be claimed. ``news`` tells that something may have come in those already seen.
    """

    begun_ms: int
    after: str = ""
    ready_ms: int | None = None
    news: bool = False

    def saw(self, heads: list[Head]) -> None:
        """These heads have to wait."""
        for head in heads:
            if not head.is_blocked:
                self.wait(head.ready_ms)

    def wait(self, ready_ms: int | None) -> None:
        """Something has to wait until then, if it has to."""
        if ready_ms is not None and (self.ready_ms is None or ready_ms < self.ready_ms):
            self.ready_ms = ready_ms

    def again_ms(self, now_ms: int) -> int | None:
        """When the next one is to begin, now that this is at its end.

        One that took several looks rests for as long as it took: others want to claim too.
        """
        ready_ms = now_ms if self.news else self.ready_ms
        if ready_ms is None or not self.after:
            return ready_ms
        return max(ready_ms, now_ms + max(now_ms - self.begun_ms, 0))


class Sequences:
    """Where in the sequences of each endpoint the next look begins."""

    def __init__(self, store: Store, prolong_from: int = PROLONG_FROM) -> None:
        self.statements = store.in_order
        self.prolong_from = max(prolong_from, 2)
        self.scans: dict[bytes, Scan] = {}
        """Those that are not at their end."""
        self.known: set[bytes] = set()
        """Endpoints with deliveries in sequences, by the last survey: some may have no order any more."""

    def stands_at(self, endpoint: LiveEndpoint) -> bool:
        """Whether deliveries may stand in sequences there."""
        return endpoint.order is not None or endpoint.id in self.known

    def news(self, endpoint_id: bytes) -> None:
        """Something may be claimed there that a scan may have passed already."""
        if (scan := self.scans.get(endpoint_id)) is not None:
            scan.news = True


class Pass:
    """The looks of one claim transaction, which share a bound on how many sequences they go through."""

    def __init__(self, sequences: Sequences, *, now_ms: int, until_ms: int, token: int) -> None:
        """Claims are made at ``now_ms``, with this lease."""
        self._sequences = sequences
        self.now_ms = now_ms
        self.until_ms = until_ms
        self.token = token
        self._left = _HEADS_PER_PASS

    def claim(self, connection: Connection, endpoint: LiveEndpoint, make: MakeClaim, room: int) -> Look:
        """Claim up to ``room`` deliveries at an endpoint from the heads of its sequences on, in turn among them."""
        now_ms, sequences = self.now_ms, self._sequences
        if self._left <= 0 or room <= 0:
            return Look(ready_ms=now_ms if room > 0 else None, cut=room <= 0)
        scan = sequences.scans.setdefault(endpoint.id, Scan(now_ms))  # so that it hears what comes meanwhile
        heads = sequences.statements.heads(connection, endpoint.id, after=scan.after, most=_HEADS_PER_LOOK)
        self._left -= len(heads)
        blockers = [head.blocker for head in heads if head.blocker is not None]
        if blockers and endpoint.settings.on_exhausted == "continue":
            # By a result of a process that did not know of the setting yet.
            step_aside(connection, blockers)
            heads = [head._replace(blocker=None) for head in heads]
        able = [head for head in heads if head.ready_ms <= now_ms and not head.is_blocked]
        scan.saw([head for head in heads if head.ready_ms > now_ms])
        if endpoint.settings.batch is None:
            look = self._runs(connection, endpoint.id, able[:room], make, room)
        else:
            look = self._batches(connection, endpoint.id, able[:room], make, room, endpoint.settings.batch)
        scan.wait(look.ready_ms)
        if len(able) > room:
            look.cut = True
            if not look.count and look.ready_ms is None:  # somebody else claims all of these
                look.ready_ms = now_ms
            scan.after = able[room - 1].sequence
        elif len(heads) == _HEADS_PER_LOOK:
            look.ready_ms = now_ms
            scan.after = heads[-1].sequence
        else:
            del sequences.scans[endpoint.id]
            look.ready_ms = scan.again_ms(now_ms)
        return look

    def _runs(
        self, connection: Connection, endpoint_id: bytes, heads: list[Head], make: MakeClaim, room: int
    ) -> Look:
        look = Look()
        runs = [Run(head, _length(head, room // len(heads))) for head in heads]
        most = {run.head.id: run.most for run in runs}
        for run in self._claimed(connection, endpoint_id, runs, make, look):
            if most[run[0].delivery_id] == len(run) >= self._sequences.prolong_from:
                half = len(run) // 2
                run[-half - 1].more = More(run[-1], half)
            look.claims.append(chained(run))
        return look

    def _claimed(
        self, connection: Connection, endpoint_id: bytes, runs: list[Run], make: MakeClaim, look: Look
    ) -> list[list[Claim]]:
        """Claim these runs, and have ``look`` count them."""
        if not runs:
            return []
        claimed = self._sequences.statements.claim(
            connection, endpoint_id, runs, now_ms=self.now_ms, until_ms=self.until_ms, token=self.token
        )
        for rows in claimed:
            look.count += len(rows)
            look.rescued += sum(row.rescued for row in rows)
        return [[make(row) for row in rows] for rows in claimed]

    def _batches(
        self,
        connection: Connection,
        endpoint_id: bytes,
        heads: list[Head],
        make: MakeClaim,
        room: int,
        batch: BatchSettings,
    ) -> Look:
        """The same as batches: first those that were sent before, as they were, then what has not been sent yet.

        That waits until there is enough for a batch, or the first has waited long enough: then ``ready_ms`` says so.
        """
        look = Look()
        batch_of = batches.batch_ids(connection, [head.id for head in heads])
        look.claims += self._again(connection, endpoint_id, set(batch_of.values()), make, batch, look)
        fresh = [head for head in heads if head.id not in batch_of]
        if not fresh:
            return look
        lines = [head.sequence for head in fresh]
        waiting = batches.count_waiting(connection, endpoint_id, lines, room, now_ms=self.now_ms)
        left = waiting.total()
        ripe_ms = min(head.ready_ms for head in fresh) + int(batch.max_wait_s * 1000)
        if ripe_ms > self.now_ms:  # only what fills batches
            left -= left % batch.max_events
            look.ready_ms = ripe_ms
            look.gathers = left < waiting.total() and batch.max_wait_s > LONG_S
        runs: list[Run] = []
        for head in sorted(fresh, key=lambda head: head.id):
            length = min(left, 1 if head.attempt_count else waiting[head.sequence])
            if length:
                runs.append(Run(head, length))
                left -= length
        look.claims += as_batches(self._claimed(connection, endpoint_id, runs, make, look), batch)
        return look

    def _again(
        self,
        connection: Connection,
        endpoint_id: bytes,
        sent: set[bytes],
        make: MakeClaim,
        batch: BatchSettings,
        look: Look,
    ) -> list[Claim]:
        """Claim what is left of batches that were sent before, each as a whole."""
        heads = {
            head.id: (head, batch_id)
            for head, batch_id in batches.heads_of(connection, endpoint_id, sent)
            if head.ready_ms <= self.now_ms and not head.is_blocked
        }
        found: dict[bytes, list[list[Claim]]] = {}
        runs = [Run(head, MAX_EVENTS) for head, _ in heads.values()]
        for run in self._claimed(connection, endpoint_id, runs, make, look):
            _, batch_id = heads[run[0].delivery_id]
            found.setdefault(batch_id, []).append(run)
        claims: list[Claim] = []
        for batch_id, parts in found.items():
            members = [claim for part in parts for claim in part]
            if fits(members, batch):
                for claim in members:
                    claim.batch_id = batch_id
                claims.append(together(members))
            else:
                claims += as_batches(parts, batch)
        return claims


def _length(head: Head, share: int) -> int:
    return 1 if head.attempt_count else max(1, min(_RUN, share))


def chained(run: list[Claim]) -> Claim:
    """The first of a run, each with the next as its follower."""
    for claim, follower in pairwise(run):
        claim.follower, claim.last = follower, False
    return run[0]
