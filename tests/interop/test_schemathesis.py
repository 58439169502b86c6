"""Schemathesis, which knows nothing of Tellwire but the OpenAPI document, finds no contradiction in a running server.

Every operation is tried with examples, with values at and beyond the borders of what the document allows, with random
ones, and in chains along the links of the document: always the same, and not for long.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.conftest import ADMIN_KEY, serving

from tellwire import Options, Tellwire
from tellwire.clock import SystemClock
from tellwire.deliver.egress import EgressPolicy
from tellwire.server import build_app

MOST_S = 25
LEFT_OUT = "positive_data_acceptance"
"""Rules between fields, and what must exist already, cannot be said in a schema."""
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 422, 428, 429, "5xx"]

[[operations]]
include-path = "/v1/tenants/{id}"
checks.use_after_free.enabled = false  # a deleted tenant is there as `deleting`, until nothing of it is left
"""


class HastyClock(SystemClock):
    """Runs on by a second whenever it is looked at, so that nobody who guesses keys is told to wait."""

    looks = 0

    def now_ms(self) -> int:
        self.looks += 1
        return super().now_ms() + self.looks * 1_000


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Of a server that delivers nothing: what strangers make up is not to be called."""
    options = Options(admin_key=ADMIN_KEY, egress=EgressPolicy.for_development(), deliver=False)
    async with (
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options) as tellwire,
        serving(tellwire, build_app(tellwire, clock=HastyClock())) as server,
    ):
        yield server.url


async def test_server_is_as_the_document_says(url: str, tmp_path: Path) -> None:
    """All checks pass but the one that is left out with a reason."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    run = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"), "--config-file", "schemathesis.toml",
        "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {ADMIN_KEY}", "--checks", "all",
        "--exclude-checks", LEFT_OUT, "--max-examples", "2", "--generation-deterministic",
        "--warnings", "off", "--max-time", str(MOST_S), "--no-color", "--continue-on-failure",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()
