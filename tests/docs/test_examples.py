"""The examples run as they stand, with real HTTP on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool
from tests.docs.blocks import ROOT
from tests.docs.receiver import receiver
from tests.postgres import empty_database_in

from tellwire import parse_secret, verify

EXAMPLES = ROOT / "examples"
KEY = bytes(range(32)).hex()
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
    with receiver() as (port, requests):
        with (
            serving("examples.fastapi_app:app", tmp_path) as address,
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            url = f"http://127.0.0.1:{port}/hook"
            secret = client.post("/endpoints", params={"url": url}).raise_for_status().json()["secret"]
            paid = client.post("/orders/o_1/pay").raise_for_status().json()
            again = client.post("/orders/o_1/pay").raise_for_status().json()
            received = requests.get(timeout=30)

        assert again == paid
        assert received.headers["webhook-id"] == paid["event"]
        assert b'"data":{"order_id":"o_1","amount":4200}' in received.body
        verify([parse_secret(secret)], received.headers, received.body, int(time.time()))
        assert requests.empty()


@pytest.mark.parametrize(
    ("app", "store"),
    [
        ("fastapi_sqlalchemy", "sqlite"),
        ("fastapi_sqlalchemy", "postgres"),
        ("flask_app", "sqlite"),
        ("flask_app", "postgres"),
        ("django_app", "sqlite"),
    ],
)
def test_app_publishes_in_its_own_transaction(app: str, store: str, tmp_path: Path) -> None:
    """Of an order whose payment fails, or that was paid before, there is no event; others arrive, each once."""
    url = f"sqlite:///{tmp_path / 'shop.db'}" if store == "sqlite" else empty_database_in(tmp_path)
    with receiver() as (port, requests):
        with (
            serving(APPS[app], tmp_path, url) as address,
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            client.post("/endpoints", params={"url": f"http://127.0.0.1:{port}/hook"}).raise_for_status()
            first = client.post("/orders/o_1/pay").raise_for_status().json()
            again = client.post("/orders/o_1/pay")
            declined = client.post("/orders/declined_1/pay")
            second = client.post("/orders/o_2/pay").raise_for_status().json()
            received = {requests.get(timeout=30).headers["webhook-id"] for _ in range(2)}

        assert again.status_code == 409
        assert "paid already" in again.text
        assert declined.status_code == 409
        assert received == {first["event"], second["event"]}
        assert requests.empty()
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
        with engine.connect() as connection:
            orders = connection.exec_driver_sql("SELECT id FROM orders ORDER BY id").scalars().all()
            assert orders == ["o_1", "o_2"]
            assert connection.exec_driver_sql("SELECT count(*) FROM events").scalar() == 2


APPS: dict[str, str | list[str]] = {
    "fastapi_sqlalchemy": "examples.fastapi_sqlalchemy:app",
    "flask_app": ["-m", "flask", "--app", "examples/flask_app.py", "run", "--port"],
    "django_app": ["examples/django_app.py", "runserver", "--noreload", "--skip-checks"],
}


@contextmanager
def serving(app: str | list[str], folder: Path, url: str | None = None) -> Iterator[str]:
    """Run an app: one of uvicorn's on a socket that listens already, or by a command that ends in the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    if isinstance(app, str):
        command, inherited = ["-m", "uvicorn", "--fd", str(listener.fileno()), app], [listener.fileno()]
    else:
        command, inherited = [*app, str(port)], []
        listener.close()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            **_ENVIRONMENT,
            "TELLWIRE_DEV": "true",
            "TELLWIRE_SECRET_KEY": KEY,
            "SHOP_DATABASE": url or f"sqlite:///{folder / 'shop.db'}",
            "PYTHONPATH": str(ROOT),
        },
        pass_fds=inherited,
    )
    try:
        # A socket that listens already keeps who asks until the app is up. Our own copy is closed, so that an app that
        # cannot start refuses instead of keeping everybody waiting.
        listener.close()
        while not inherited and not _listens(port):
            assert process.poll() is None
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_every_example_is_listed() -> None:
    """The page of the examples names each of them."""
    page = (EXAMPLES / "README.md").read_text()

    for path in EXAMPLES.glob("*.py"):
        assert f"]({path.name})" in page
