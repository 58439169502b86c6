"""Schemathesis, which knows nothing of Tellwire but the OpenAPI document, finds no contradiction in a running server.

Every operation is tried with examples, with values at and beyond the borders of what the document allows, with random
ones, and in chains along the links of the document: always the same ones, however fast the machine is. All checks are
on; ``schemathesis_hooks`` lists the refusals that no schema can foretell.
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
from tellwire.model.limits import MAX_PAYLOAD_HARD_BYTES, Limits
from tellwire.server import build_app

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CONFIG = f"""
hooks = "{HOOKS}"

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 422, 428, 429, "5xx"]

[checks.positive_data_acceptance]  # what is not there, or not in a state for it, is no matter of a schema
expected-statuses = ["2xx", 304, 401, 403, 404, 409, 412, 429, "5xx"]

[phases.coverage]
unexpected-methods = ["PUT", "TRACE"]  # there is one answer to all of them

# An endpoint has so many settings that half of the time would go into trying them twice.
[[operations]]
include-name = "POST /v1/endpoints"
phases.coverage.generation.mode = "positive"

[[operations]]
include-name = "PATCH /v1/endpoints/{{id}}"
phases.coverage.generation.mode = "negative"
"""
ROOMY = Limits(endpoints_per_tenant=10_000, secrets_per_endpoint=1_000, payload_bytes=MAX_PAYLOAD_HARD_BYTES)
"""So that nothing is refused because of what was made before."""


class HastyClock(SystemClock):
    """Runs on by a second whenever it is looked at, so that nobody who guesses keys is told to wait."""

    looks = 0

    def now_ms(self) -> int:
        self.looks += 1
        return super().now_ms() + self.looks * 1_000


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Of a server that delivers nothing: what strangers make up is not to be called."""
    options = Options(admin_key=ADMIN_KEY, egress=EgressPolicy.for_development(), limits=ROOMY, deliver=False)
    async with (
        Tellwire(f"sqlite:///{tmp_path / 'tellwire.db'}", options) as tellwire,
        serving(tellwire, build_app(tellwire, clock=HastyClock())) as server,
    ):
        yield server.url


async def test_server_is_as_the_document_says(url: str, tmp_path: Path) -> None:
    """All checks pass, for all operations. (It takes some 35 s: there are 3,500 requests to make.)"""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    run = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"), "--config-file", "schemathesis.toml",
        "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {ADMIN_KEY}", "--checks", "all",
        "--max-examples", "2", "--generation-deterministic",
        "--warnings", "off", "--no-color", "--continue-on-failure",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()
