"""Workers as processes of their own, which a test may kill."""

import asyncio
from pathlib import Path

from .cli_process import Process
from .embedded import KEY

LEASE_S = 12
"""A lease must be twice what an attempt may take; a test that waits for one takes so many seconds."""
_FLAGS = [
    "--secret-key", KEY, "--dev", "--json", "--log-format", "json",
    "--delivery-timeout", "1", "--lease", str(LEASE_S),
]  # fmt: skip


async def worker(workers: list[Process], folder: Path, url: str) -> Process:
    """Start one more, and wait until it works."""
    workers.append(Process(folder, "worker", *_FLAGS, "--database-url", url))
    await asyncio.to_thread(workers[-1].line)
    return workers[-1]
