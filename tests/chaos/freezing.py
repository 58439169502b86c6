"""A server that sleeps past its lease, beside another one on the same database: what both stores are put through."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from standardwebhooks import Webhook

from .processes import Received, ReceiverProcess, Server, freeze, until

PATIENT: Final = ("--lease", "30s", "--delivery-timeout", "9s")
"""There are nine seconds to freeze the server, from the moment when its attempt has arrived."""
TRIES: Final = 10


class Frozen(NamedTuple):
    """A server that was stopped (SIGSTOP) with an attempt in the air, and another one on the same database.

    ``target`` is the path of the endpoint at the receiver, ``secret`` its secret, ``type`` what it subscribes to.
    """

    server: Server
    other: Server
    receiver: ReceiverProcess
    event: str
    type: str
    target: str
    secret: str

    @property
    def requests(self) -> list[Received]:
        """What its endpoint has received so far."""
        return [request for request in self.receiver.received() if request.target == self.target]

    async def history(self) -> tuple[str, list[tuple[int, str]]]:
        """The state of the delivery, and the numbers and ids of its attempts, as the other server knows them."""
        found = (await self.other.ask("GET", f"/v1/deliveries?event={self.event}")).json()["data"]
        whole = (await self.other.ask("GET", f"/v1/deliveries/{found[0]['id']}")).json()
        return whole["state"], [(attempt["number"], attempt["id"]) for attempt in whole["attempts"]]


@asynccontextmanager
async def frozen_on(database: Path | str, folder: Path) -> AsyncIterator[Frozen]:
    """Both servers while the block runs."""
    with (
        ReceiverProcess(folder) as receiver,
        Server(database, folder, *PATIENT, name="other") as other,
        Server(database, folder, *PATIENT, name="frozen") as server,
    ):
        await receiver.started()
        await other.started()
        await server.started()
        for number in range(TRIES):
            frozen = await _freeze_with_one_in_the_air(server, other, receiver, number)
            if await frozen.history() == ("pending", []):
                break
            server.popen.send_signal(signal.SIGCONT)  # it took too long: the attempt has ended
        else:
            raise AssertionError("the server was never frozen in time")
        try:
            yield frozen
        finally:
            server.popen.send_signal(signal.SIGCONT)


async def _freeze_with_one_in_the_air(
    server: Server, other: Server, receiver: ReceiverProcess, number: int
) -> Frozen:
    target, type_ = f"/steady?first_ms=60000&number={number}", f"frozen.number_{number}"
    endpoint = await other.subscribe(receiver.url + target, {"events": [type_]})
    response = await server.ask("POST", "/v1/events", {"type": type_, "data": {"number": 0}})
    assert response.status_code == 202, response.text
    frozen = Frozen(server, other, receiver, response.json()["id"], type_, target, endpoint["secret"])

    async def in_the_air() -> bool:
        return bool(frozen.requests)

    await until(in_the_air, "the attempt is in the air")
    await freeze(server, other)
    return frozen


async def wakes_up_too_late(frozen: Frozen) -> None:
    """The other delivers meanwhile; the server that wakes up leaves that so, and works on."""
    await frozen.other.drained()
    before = await frozen.history()
    assert before[0] == "succeeded"
    assert len(before[1]) == 1
    frozen.server.popen.send_signal(signal.SIGCONT)

    async def dropped() -> bool:
        return b'"late results dropped"' in frozen.server.log.read_bytes()

    await until(dropped, "the late result was dropped")
    assert await frozen.history() == before
    assert b'"stage":"record"' not in frozen.server.log.read_bytes(), "it was not the lease that kept it out"
    for request in frozen.requests:
        Webhook(frozen.secret).verify(request.body, request.headers)
    assert [request.id for request in frozen.requests] == [frozen.event] * 2
    again = await frozen.server.ask("POST", "/v1/events", {"type": frozen.type, "data": {"number": 1}})
    assert again.status_code == 202
    await frozen.server.drained()
    assert len(frozen.requests) == 3
    assert await frozen.server.terminate() == 0
