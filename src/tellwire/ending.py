"""Ends tasks that run for good: a cancellation that got lost is repeated.

A database driver, or a library below it, may swallow a cancellation that arrives together with what was awaited (and
so does ``asyncio.wait_for`` in Python 3.11). The task then goes on, and whoever waits for its end waits for ever.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN_AFTER_S: Final = 0.5


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel ``tasks`` until all of them have ended, however they end."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_AFTER_S)
