"""``python -m benchmarks.bare``: the bare loop, which Tellwire is measured against; prints one JSON object.

The same HTTP client as Tellwire's, the same bodies, the same receiver, nothing else: no signature, no store, no engine.
"""

import argparse
import asyncio
import json
import resource
import time

import uvloop
from pyreqwest.client import Client, ClientBuilder

from .bodies import delivered


async def post_for(client: Client, url: str, body: bytes, concurrency: int, seconds: float) -> int:
    """POST ``body`` for ``seconds`` from as many tasks as ``concurrency`` says; how many were answered with 200."""
    end = time.monotonic() + seconds
    counts = [0] * concurrency

    async def post(task: int) -> None:
        while time.monotonic() < end:
            request = client.post(url).header("content-type", "application/json").body_bytes(body).build()
            response = await request.send()
            await response.bytes()
            if response.status != 200:
                raise RuntimeError(f"the receiver answered {response.status}")
            counts[task] += 1

    await asyncio.gather(*(post(task) for task in range(concurrency)))
    return sum(counts)


async def main() -> None:
    """Warm up, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args()
    body = delivered(asked.size)
    async with ClientBuilder().no_proxy().follow_redirects(False).build() as client:
        await post_for(client, asked.url, body, asked.concurrency, min(0.5, asked.seconds))
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        count = await post_for(client, asked.url, body, asked.concurrency, asked.seconds)
        after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(json.dumps({"per_s": count / (ended - started), "cpu_us": cpu_s / count * 1e6, "count": count}))


if __name__ == "__main__":
    uvloop.run(main())
