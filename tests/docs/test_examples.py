"""The examples run as they stand, with real HTTP on loopback."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from tests.docs.blocks import ROOT
from tests.docs.receiver import receiver

from tellwire import parse_secret, verify

EXAMPLES = ROOT / "examples"
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}


def test_embedded(tmp_path: Path) -> None:
    """The script publishes, receives and verifies an event, and leaves nothing behind."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "embedded.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "delivery   succeeded, answered 204" in done.stdout
    assert "verified   the signature is good" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_fastapi_app(tmp_path: Path) -> None:
    """An order that is paid over HTTP reaches the customer's endpoint, signed; paying twice publishes once."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, receiver() as (port, requests):
        app = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--fd", str(listener.fileno()), "examples.fastapi_app:app"],
            cwd=ROOT,
            env={
                **_ENVIRONMENT,
                "TELLWIRE_DEV": "true",
                "SHOP_DATABASE": f"sqlite:///{tmp_path / 'shop.db'}",
            },
            pass_fds=[listener.fileno()],
        )
        try:
            # The socket listens already: what is asked before the app is up waits for it. Our own copy is closed, so
            # that an app that cannot start refuses instead of keeping everybody waiting.
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.close()
            with httpx.Client(base_url=address, timeout=60) as client:
                url = f"http://127.0.0.1:{port}/hook"
                secret = client.post("/endpoints", params={"url": url}).raise_for_status().json()["secret"]
                paid = client.post("/orders/o_1/pay").raise_for_status().json()
                again = client.post("/orders/o_1/pay").raise_for_status().json()

            received = requests.get(timeout=30)
        finally:
            app.terminate()
            app.wait(60)

        assert again == paid
        assert received.headers["webhook-id"] == paid["event"]
        assert b'"data":{"order_id":"o_1","amount":4200}' in received.body
        verify([parse_secret(secret)], received.headers, received.body, int(time.time()))
        assert requests.empty()


def test_every_example_is_listed() -> None:
    """The page of the examples names each of them."""
    page = (EXAMPLES / "README.md").read_text()

    for path in EXAMPLES.glob("*.py"):
        assert f"]({path.name})" in page
