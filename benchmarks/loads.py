"""Offers load: wrk if it is there, or the Python load generator; keep-alive connections, closed loop."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .bodies import KEY
from .processes import run_json

_LUA = """
local bodies = {}
local requests = {}
local sent = 0
function init(args)
  local headers = { ["content-type"] = "application/json", ["authorization"] = "Bearer KEY" }
  for index = 0, COUNT - 1 do
    local file = assert(io.open("HERE/body" .. index, "rb"))
    requests[index + 1] = wrk.format("POST", "PATH", headers, file:read("*a"))
    file:close()
  end
end
function request()
  sent = sent + 1
  if sent >= MOST then wrk.thread:stop() end
  return requests[sent % COUNT + 1]
end
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format('\\n{"answered": %d, "seconds": %f, "refused": %d, "broken": %d}\\n', summary.requests,
    summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Offered:
    """What the load generators saw."""

    answered: int
    seconds: float
    refused: int
    broken: int


@dataclass(frozen=True)
class Load:
    """Requests to offer: ``bodies`` in turn, for ``seconds``, ``most`` of them at most."""

    path: str
    bodies: tuple[bytes, ...]
    seconds: float
    most: int
    concurrency: int


def offer(load: Load, ports: Sequence[int], here: Path) -> Offered:
    """Offer ``load`` to the servers at ``ports``, its connections shared out among them."""
    for index, body in enumerate(load.bodies):
        (here / f"body{index}").write_bytes(body)
    wrk = shutil.which("wrk")
    offer_to = partial(_python, load) if wrk is None else partial(_wrk, wrk, load)
    connections = load.concurrency // len(ports)
    with ThreadPoolExecutor(len(ports)) as threads:
        found = list(threads.map(lambda port: offer_to(port, connections, here), ports))
    return Offered(
        answered=sum(each.answered for each in found),
        seconds=max(each.seconds for each in found),
        refused=sum(each.refused for each in found),
        broken=sum(each.broken for each in found),
    )


def load_name() -> str:
    """What ``offer`` starts."""
    return "wrk (1 thread a server)" if shutil.which("wrk") else "Python (httptools on uvloop)"


def _python(load: Load, port: int, connections: int, here: Path) -> Offered:
    arguments = [f"--{name}={getattr(load, name)}" for name in ("path", "seconds", "most")]
    files = [here / f"body{index}" for index in range(len(load.bodies))]
    found = run_json(
        "benchmarks.load", *arguments, f"--concurrency={connections}", f"--port={port}", *files,
        timeout_s=load.seconds + 60,
    )  # fmt: skip
    return Offered(**found)


def _wrk(wrk: str, load: Load, port: int, connections: int, here: Path) -> Offered:
    values = {
        "KEY": KEY, "HERE": here, "PATH": load.path, "COUNT": len(load.bodies), "MOST": load.most,
    }  # fmt: skip
    script, file = _LUA, here / f"load-{port}.lua"
    for name, value in values.items():
        script = script.replace(name, str(value))
    file.write_text(script)
    done = subprocess.run(
        [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "30s",
         "-s", str(file), f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, timeout=load.seconds + 60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"wrk failed:\n{done.stdout}{done.stderr}")
    return Offered(**json.loads(done.stdout.splitlines()[-1]))
