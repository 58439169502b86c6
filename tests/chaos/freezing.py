"""A server that sleeps past its lease, beside another one on the same database: what both stores are put through."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from .processes import ReceiverProcess, Server, freeze, until

PATIENT: Final = ("--lease", "30s", "--delivery-timeout", "9s")
"""There are nine seconds to freeze the server, from the moment when its attempt has arrived."""


class Frozen(NamedTuple):
    """A server that was stopped (SIGSTOP) with an attempt in the air, and another one on the same database.

    ``secrets`` is that of the endpoint, by its path at the receiver.
    """

    server: Server
    other: Server
    receiver: ReceiverProcess
    event: str
    secrets: dict[str, str]


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
        target = "/steady?first_ms=8900"
        endpoint = await other.subscribe(receiver.url + target)
        response = await server.ask("POST", "/v1/events", {"type": "a.b", "data": {"number": 0}})
        assert response.status_code == 202, response.text

        async def in_the_air() -> bool:
            return bool(receiver.received())

        await until(in_the_air, "the attempt is in the air")
        await freeze(server, other)
        try:
            yield Frozen(server, other, receiver, response.json()["id"], {target: endpoint["secret"]})
        finally:
            server.popen.send_signal(signal.SIGCONT)


async def wakes_up_too_late(frozen: Frozen) -> None:
    """The other delivers meanwhile; the server that wakes up leaves that so, and works on."""

    async def history() -> tuple[str, list[tuple[int, str]]]:
        found = (await frozen.other.ask("GET", f"/v1/deliveries?event={frozen.event}")).json()["data"]
        whole = (await frozen.other.ask("GET", f"/v1/deliveries/{found[0]['id']}")).json()
        return whole["state"], [(attempt["number"], attempt["id"]) for attempt in whole["attempts"]]

    await frozen.other.drained()
    before = await history()
    assert before[0] == "succeeded"
    assert len(before[1]) == 1
    frozen.server.popen.send_signal(signal.SIGCONT)

    async def dropped() -> bool:
        return b'"late results dropped"' in frozen.server.log.read_bytes()

    await until(dropped, "the late result was dropped")
    assert await history() == before
    assert b'"stage":"record"' not in frozen.server.log.read_bytes(), "it was not the lease that kept it out"
    requests = frozen.receiver.verified(frozen.secrets)
    assert [request.id for request in requests] == [frozen.event] * 2
    again = await frozen.server.ask("POST", "/v1/events", {"type": "a.b", "data": {"number": 1}})
    assert again.status_code == 202
    await frozen.server.drained()
    assert len(frozen.receiver.received()) == 3
    assert await frozen.server.terminate() == 0
