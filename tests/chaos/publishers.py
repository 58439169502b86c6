"""Publishers that go on whatever happens to the server, and the book of what they were told."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from itertools import count

import httpx
import msgspec

from .members import members
from .processes import Received, Server

_PAUSE_S = 0.02
_PAUSE_AFTER_FAILURE_S = 0.1
_MOST_BYTES = 1_500


class Entry(msgspec.Struct):
    """One event that somebody set out to publish. ``id`` is its id once it was acknowledged."""

    number: int
    data: bytes
    key: str | None
    ordering_key: str | None = None
    began: int = 0
    """When it was sent first, counted in what publishers did; 0 before."""
    told: int = 0
    """When it was acknowledged."""
    id: str | None = None
    refused: bool = False
    """The last answer was 503, and said that nothing was stored."""
    sent: int = 0

    def rendered(self) -> bytes:
        key = b"" if self.key is None else b',"idempotency_key":"%b"' % self.key.encode()
        if self.ordering_key is not None:
            key += b',"ordering_key":"%b"' % self.ordering_key.encode()
        return b'{"type":"chaos.happened","data":%b%b}' % (self.data, key)


class Book:
    """What was published, and what the publishers were told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.unknown = 0
        self.surprises: list[str] = []
        self.moments = count(1)
        """In the order in which publishers began and were told."""

    def open(
        self,
        rng: random.Random,
        *,
        keyed: bool,
        pad_bytes: int | None = None,
        ordering_key: str | None = None,
    ) -> Entry:
        number = len(self.entries)
        pad = "x" * (rng.randrange(_MOST_BYTES) if pad_bytes is None else pad_bytes)
        data = b'{"number":%d,"amount":%d.10,"pad":"%b"}' % (number, number, pad.encode())
        entry = Entry(number, data, f"key-{number}" if keyed else None, ordering_key)
        self.entries.append(entry)
        return entry

    @property
    def acknowledged(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.id is not None]

    def settle(self, requests: Sequence[Received], targets: Sequence[str]) -> dict[str, int]:
        """Compare with what arrived, print the ledger and give it.

        Whatever arrived must have been published, byte for byte, and no publication may have become two events.
        """
        arrived: Counter[tuple[str, str]] = Counter()
        ids: dict[int, set[str]] = {}
        batched = 0
        for request in requests:
            parts = members(request)
            for one in parts:
                assert one.data == self.entries[one.number].data
                ids.setdefault(one.number, set()).add(one.id)
                arrived[request.target, one.id] += request.status == 200
            batched += len(parts) if len(parts) > 1 else 0
        arrived = +arrived
        twice = {number: found for number, found in ids.items() if len(found) > 1}
        assert not twice, f"published once, became several events: {twice}"
        others = [e for e in self.acknowledged if ids.get(e.number, {e.id}) != {e.id}]
        assert not others, f"arrived under another id than was acknowledged: {others[:3]}"
        ghosts = [e.number for e in self.entries if e.refused and e.sent == 1 and e.number in ids]
        assert not ghosts, f"refused with 503 and stored all the same: {ghosts}"
        ledger = {
            "published": len(self.entries),
            "acknowledged": len(self.acknowledged),
            "unknown outcomes": self.unknown,
            "refused": sum(entry.refused for entry in self.entries),
            "delivered": len(arrived),
            "duplicates": arrived.total() - len(arrived),
            "requests": len(requests),
            "in batches": batched,
            "lost": sum((target, e.id) not in arrived for e in self.acknowledged for target in targets),
        }
        print("ledger:", ", ".join(f"{name} {count}" for name, count in ledger.items()))
        assert not self.surprises, self.surprises[:5]
        return ledger


async def send(client: httpx.AsyncClient, server: Server, book: Book, entries: Sequence[Entry]) -> bool:
    """Publish ``entries``, alone or as a batch; False where the outcome is unknown or a refusal."""
    single = len(entries) == 1
    content = b",".join(entry.rendered() for entry in entries)
    path = "/v1/events" if single else "/v1/events/batch"
    moment = next(book.moments)
    for entry in entries:
        entry.sent += 1
        entry.began = entry.began or moment
    try:
        response = await client.post(
            server.url + path,
            content=content if single else b'{"events":[%b]}' % content,
            headers=server.headers,
        )
    except httpx.TransportError:
        book.unknown += len(entries)
        return False
    stored = response.json()["stored"] if response.status_code == 503 else None
    for entry in entries:
        entry.refused = stored is False
    if response.status_code == 503:
        book.unknown += 0 if stored is False else len(entries)
        if "retry-after" not in response.headers:
            book.surprises.append("503 without Retry-After")
        return False
    if response.status_code not in (200, 202):
        book.surprises.append(f"{response.status_code}: {response.text[:300]}")
        return False
    receipts = [response.json()] if single else response.json()["data"]
    told = next(book.moments)
    for entry, receipt in zip(entries, receipts, strict=True):
        entry.id, entry.told = receipt["id"], told
    return True


class Current:
    """The servers that publishers are to use now, in turn: they ask anew before each request."""

    def __init__(self, *servers: Server) -> None:
        self.servers = list(servers)
        self._turn = 0

    @property
    def server(self) -> Server:
        self._turn += 1
        return self.servers[self._turn % len(self.servers)]

    @server.setter
    def server(self, server: Server) -> None:
        self.servers = [server]


async def publish_on(
    current: Current,
    book: Book,
    seed: float,
    stop: asyncio.Event,
    ordering_keys: Sequence[str | None] = (None,),
) -> None:
    """Publish until ``stop``: singles and batches, some with idempotency keys, each with one of ``ordering_keys``.

    What has keys is published again until it is acknowledged; the rest is left to its fate.
    """
    rng = random.Random(seed)
    async with httpx.AsyncClient(trust_env=False, timeout=60, verify=False) as client:
        while not stop.is_set():
            keyed = rng.random() < 0.4
            many = rng.randint(2, 12) if rng.random() < 0.2 else 1
            entries = [
                book.open(rng, keyed=keyed, ordering_key=rng.choice(ordering_keys)) for _ in range(many)
            ]
            while not await send(client, current.server, book, entries):
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)
                if not keyed:
                    break
            await asyncio.sleep(_PAUSE_S)
