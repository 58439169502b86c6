"""Tasks end when they are told to, also where somebody below them does not pass the word on."""

import asyncio

from tellwire.ending import end


async def test_tasks_end() -> None:
    """Whatever they wait for, and those that have ended already are no trouble."""
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    waiting = asyncio.create_task(asyncio.Event().wait())
    await end([done, waiting])
    assert waiting.cancelled()


async def test_a_cancellation_that_is_swallowed_is_repeated() -> None:
    """A task that goes on as if nothing had happened is told again."""
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end([task])
    assert (task.cancelled(), swallowed) == (True, 2)
