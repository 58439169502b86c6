"""Programs that end right after a request do so with their own exit code."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.forked import outside

SLOW = """
import asyncio, atexit, sys, threading, time

class SlowToWake(asyncio.SelectorEventLoop):
    def _write_to_self(self):
        super()._write_to_self()
        if threading.get_ident() not in {thread.ident for thread in threading.enumerate()}:
            at_exit.wait(20)
            for _ in range(20):
                time.sleep(0.01)  # gives the interpreter away, and wants it back

asyncio.new_event_loop = SlowToWake
at_exit = threading.Event()
"""
CLIENT = """
from tellwire import RemoteError
from tellwire.client import Client, wire

wire.MOST_TRIES = 1

async def main():
    async with Client(sys.argv[1], "tw_live_x") as client:
        await client.healthy()

atexit.register(at_exit.set)  # what was registered last is called first
try:
    with asyncio.Runner(loop_factory=SlowToWake) as runner:
        runner.run(main())
except RemoteError:
    sys.exit(7)
"""
SYNC_CLIENT = """
from tellwire import RemoteError
from tellwire.client import Client, SyncClient, wire

wire.MOST_TRIES = 1
atexit.register(at_exit.set)  # what was registered last is called first
try:
    with SyncClient(sys.argv[1], "tw_live_x") as client:
        client.call(Client.healthy)
except RemoteError:
    sys.exit(7)
"""
TRANSPORT = """
from ipaddress import ip_network
from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.transport import HttpTransport

async def main():
    transport = HttpTransport(EgressPolicy(allow=(ip_network("127.0.0.1"),), allow_http=True))
    evidence = await transport.send(sys.argv[1], {}, b"{}")
    await transport.aclose()
    sys.exit(7 if evidence.error == "connect" else 1)

atexit.register(at_exit.set)  # what was registered last is called first
with asyncio.Runner(loop_factory=SlowToWake) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("program", [CLIENT, SYNC_CLIENT, TRANSPORT], ids=["client", "sync", "transport"])
def test_program_ends_while_the_http_client_wakes_the_loop(program: str, tmp_path: Path) -> None:
    """A thread of the HTTP client that is late to leave the interpreter is waited for; the process does not abort."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        command = [sys.executable, "-W", "error", "-c", SLOW + program, url]
        done = subprocess.run(
            command, cwd=tmp_path, env=outside(), capture_output=True, text=True, timeout=60, check=False
        )

    assert done.returncode == 7, done.stderr
