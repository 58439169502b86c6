"""``python -m benchmarks.bare``: the bare loop, which Tellwire is measured against; prints one JSON object.

pyreqwest, which is Tellwire's HTTP client for https://, the same bodies, the same receiver, nothing else: no signature,
no store, no engine. What Tellwire sends in the clear goes another way (docs/adr/0020); targets are set by this loop.
With ``--hosts N --authority FILE`` it posts over TLS to the hosts of that scenario in turn.
"""

import argparse
import asyncio
import json
import resource
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import uvloop
from pyreqwest.client import Client, ClientBuilder

from .bodies import delivered
from .certificates import address_of, host_of
from .processes import run_json

CONCURRENCY = 64


@dataclass(frozen=True)
class Bare:
    """POSTs a second, and CPU time of each."""

    per_s: float
    cpu_us: float


def bare_loop(size: int, seconds: float, port: int, *, hosts: int = 0, authority: Path | None = None) -> Bare:
    """Run the bare loop in a process of its own."""
    tls = (f"--hosts={hosts}", f"--authority={authority}") if authority else ()
    found = run_json(
        "benchmarks.bare", f"--port={port}", f"--size={size}", f"--concurrency={CONCURRENCY}",
        f"--seconds={seconds}", *tls, timeout_s=seconds + 60,
    )  # fmt: skip
    return Bare(found["per_s"], found["cpu_us"])


async def post_for(
    client: Client, urls: list[str], body: bytes, concurrency: int, *, seconds: float = 0, most: int = 0
) -> int:
    """POST ``body`` to ``urls`` in turn, from as many tasks as ``concurrency`` says, for ``seconds`` or ``most``
    times; how many were answered with 200."""
    end = time.monotonic() + seconds
    turns = iter(range(most)) if most else cycle((0,))
    order = cycle(urls)
    count = 0

    async def post() -> None:
        nonlocal count
        for _ in turns:
            if not most and time.monotonic() >= end:
                return
            request = (
                client.post(next(order)).header("content-type", "application/json").body_bytes(body).build()
            )
            response = await request.send()
            await response.bytes()
            if response.status != 200:
                raise RuntimeError(f"the receiver answered {response.status}")
            count += 1

    await asyncio.gather(*(post() for _ in range(concurrency)))
    return count


def client_for(hosts: int, authority: Path | None) -> ClientBuilder:
    """A client like Tellwire's, which knows the address of every host."""
    builder = ClientBuilder().no_proxy().follow_redirects(False).http1_only()
    if authority is not None:
        builder = builder.add_root_certificate_pem(authority.read_bytes())
    for number in range(hosts):
        builder = builder.resolve(host_of(number), address_of(number), 0)
    return builder


async def main() -> None:
    """Warm up (over TLS: once to each host), measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--hosts", type=int, default=0)
    parser.add_argument("--authority", type=Path)
    asked = parser.parse_args()
    body = delivered(asked.size)
    urls = [f"https://{host_of(number)}:{asked.port}/hooks/{number}" for number in range(asked.hosts)]
    urls = urls or [f"http://127.0.0.1:{asked.port}/hooks/0"]
    async with client_for(asked.hosts, asked.authority).build() as client:
        if asked.hosts:
            await post_for(client, urls, body, asked.concurrency, most=asked.hosts)
        await post_for(client, urls, body, asked.concurrency, seconds=min(0.5, asked.seconds))
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        count = await post_for(client, urls, body, asked.concurrency, seconds=asked.seconds)
        after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(json.dumps({"per_s": count / (ended - started), "cpu_us": cpu_s / count * 1e6, "count": count}))


if __name__ == "__main__":
    uvloop.run(main())
