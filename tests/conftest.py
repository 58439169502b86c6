"""What holds for all tests: a slow machine breaks no property, files are in memory, the longest does not come last."""

import gc
import os
import sys
import tempfile
from functools import cache

import pytest
import typer.testing
from hypothesis import HealthCheck, settings
from typer.main import get_command

from .alone import nobodys_settings as nobodys_settings
from .compiled import share
from .memory import memory

settings.register_profile("tellwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tellwire")

# Typer's runner would make every command anew for each call, which takes longer than most calls.
typer.testing._get_command = cache(get_command)  # type: ignore[attr-defined]  # it has no option for that

# httpx would look for it in the whole path at each request, some times: where it is not there, it uses asyncio.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # which says that it is not there

share()
pytest.register_assert_rewrite("tests.chaos")

_ROOM_BYTES = 4 << 30
"""Beyond what all tests leave until they end."""

if "TMPDIR" not in os.environ and (folder := memory(_ROOM_BYTES)) is not None:
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files go out to workers in this order: simulations take long, unit tests are left for the end."""
    items.sort(key=lambda item: "simulation" not in item.path.parts)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: Python need not look through it again and again for what is left over."""
    gc.collect()
    gc.freeze()
