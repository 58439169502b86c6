"""The commands of the README, the tutorial and the how-to pages do what the pages say, on a real server."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.docs.blocks import ROOT, blocks, the_block
from tests.docs.shell import Shell
from tests.engine.cli_process import Process

from tellwire.signing import generate_symmetric, headers, parse_secret

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("curl") is None,
    reason="bash and curl are needed on the PATH to run the commands of the documentation",
)

BODY = b'{"type":"order.paid","timestamp":"2026-01-31T09:30:00.123Z","data":{"name":"\xc3\x85sa"}}'


class Reader:
    """Somebody who follows a page: copies its blocks, one by one, with other ports."""

    def __init__(self, shell: Shell, page: str, server_url: str, receiver_port: int) -> None:
        self._shell = shell
        self._blocks = iter([block.text for block in blocks(ROOT / page, "sh")])
        self._server = server_url.removeprefix("http://")
        self._receiver_port = receiver_port

    def copy(self, expected: str) -> str:
        """Copy the next block, which is the one that has ``expected`` in it, and give what it writes."""
        text = next(self._blocks)
        assert expected in text
        text = text.replace("127.0.0.1:8400", self._server)
        return self._shell.run(text.replace("9000", str(self._receiver_port)))

    def has_read_everything(self) -> bool:
        """Whether no block is left."""
        return next(self._blocks, None) is None


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """What ``make run`` starts, in a directory of its own; gives its address."""
    process = Process(tmp_path, "serve", "--dev", "--port", "0")
    try:
        line = process.line()
        while "listens on" not in line:
            line = process.line()
        yield line.split("listens on ")[1].split()[0]
    finally:
        process.stop()


def test_readme(tmp_path: Path, server: str, free_port: int) -> None:
    """Who copies the lines of the README sees an event arrive."""
    with Shell(tmp_path) as shell:
        reader = Reader(shell, "README.md", server, free_port)
        reader.copy("tellwire receive")
        shell.wait_for("receiving on")
        before = shell.here
        assert '"deliveries":1' in reader.copy("/v1/events")
        shell.wait_for("order.paid  evt_", before)
        assert '"event_id":"evt_' in reader.copy("/v1/deliveries")
        assert reader.has_read_everything()


def test_tutorial(tmp_path: Path, server: str, free_port: int) -> None:
    """Who follows the tutorial publishes, verifies, sees a failure, and retries."""
    with Shell(tmp_path) as shell:
        reader = Reader(shell, "docs/tutorial/first-webhook.md", server, free_port)
        assert '"secret":"whsec_' in reader.copy("/v1/endpoints")
        reader.copy("SECRET=")
        reader.copy("tellwire receive")
        shell.wait_for("receiving on")
        before = shell.here
        assert '"duplicate":false' in reader.copy("order.paid")
        shell.wait_for("verified", before)
        _wait_for_delivery(tmp_path, server, "order.paid", "succeeded")
        assert '"state":"succeeded"' in reader.copy("/v1/deliveries")
        assert '"deliveries":1' in reader.copy("kill")
        _wait_for_delivery(tmp_path, server, "order.refunded", "pending", attempts=1)
        assert '"error":"connect"' in reader.copy("DELIVERY=")
        before = shell.here
        reader.copy("tellwire receive")
        shell.wait_for("receiving on", before)
        assert '"state":"pending"' in reader.copy("/retry")
        shell.wait_for("order.refunded  evt_", before)
        assert reader.has_read_everything()


def test_openssl_by_hand(tmp_path: Path) -> None:
    """The openssl lines give the signature that Tellwire makes."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is needed on the PATH")
    secret = generate_symmetric(os.urandom)
    signed = headers([parse_secret(secret)], "evt_1", 1_769_851_800, BODY)
    (tmp_path / "body.json").write_bytes(BODY)

    done = subprocess.run(
        ["bash", "-e", "-c", the_block("docs/how-to/verify-webhooks.md", "sh")],
        cwd=tmp_path,
        env={**os.environ, "SECRET": secret, "ID": "evt_1", "TIMESTAMP": "1769851800"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert signed["webhook-signature"] == f"v1,{done.stdout}"


@pytest.mark.parametrize(
    ("change", "genuine"), [("", True), ("body", False), ("age", False), ("headers", False)]
)
def test_node_without_a_library(change: str, genuine: bool) -> None:
    """The Node function accepts what Tellwire signs, and neither another body, nor an old one, nor none."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is needed on the PATH")
    secret = generate_symmetric(os.urandom)
    signed = headers(
        [parse_secret(secret)], "evt_1", int(time.time()) - (400 if change == "age" else 0), BODY
    )
    body = BODY + b" " if change == "body" else BODY
    call = (
        f"process.stdout.write(String(verify({secret!r}, {{}} , Buffer.from({body.hex()!r}, 'hex'))));"
        if change == "headers"
        else f"process.stdout.write(String(verify({secret!r}, {signed!r}, Buffer.from({body.hex()!r}, 'hex'))));"
    )

    done = subprocess.run(
        [node, "-e", the_block("docs/how-to/verify-webhooks.md", "js") + call],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == ("true" if genuine else "false")


def _wait_for_delivery(here: Path, server: str, type: str, state: str, attempts: int = 0) -> None:
    key = (here / "tellwire.dev-key").read_text().strip()
    end = time.monotonic() + 30
    with httpx.Client(base_url=server, headers={"authorization": f"Bearer {key}"}) as client:
        while True:
            found = client.get("/v1/deliveries", params={"type": type}).raise_for_status().json()["data"]
            if found and found[0]["state"] == state and found[0]["attempt_count"] >= attempts:
                return
            assert time.monotonic() < end, found
            time.sleep(0.02)
