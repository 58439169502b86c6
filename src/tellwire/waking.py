"""Waits for a wake-up, but not for ever: how everything that works in the background rests."""

import asyncio


async def woken(wake: asyncio.Event, at_most_s: float) -> bool:
    """Wait until ``wake`` is set; False if it was not within so many seconds.

    Not ``asyncio.wait_for``: in Python 3.11 it swallows a cancellation that comes together with the wake-up.
    """
    try:
        async with asyncio.timeout(at_most_s):
            return await wake.wait()
    except TimeoutError:
        return False
