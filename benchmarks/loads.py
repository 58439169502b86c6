"""Offers load: wrk if it is there, or the Python load generator; both with 64 keep-alive connections, closed loop."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .processes import run_json
from .served import KEY

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
    """What the load generator saw."""

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


def offer(load: Load, port: int, here: Path) -> Offered:
    """Offer ``load`` to the server at ``port``."""
    for index, body in enumerate(load.bodies):
        (here / f"body{index}").write_bytes(body)
    wrk = shutil.which("wrk")
    if wrk is None:
        arguments = [f"--{name}={getattr(load, name)}" for name in ("path", "seconds", "most", "concurrency")]
        files = [here / f"body{index}" for index in range(len(load.bodies))]
        found = run_json("benchmarks.load", *arguments, f"--port={port}", *files, timeout_s=load.seconds + 60)
    else:
        found = _wrk(wrk, load, port, here)
    return Offered(**found)


def load_name() -> str:
    """What ``offer`` starts."""
    return "wrk (1 thread)" if shutil.which("wrk") else "Python (httptools on uvloop)"


def _wrk(wrk: str, load: Load, port: int, here: Path) -> dict[str, float]:
    values = {
        "KEY": KEY, "HERE": here, "PATH": load.path, "COUNT": len(load.bodies), "MOST": load.most,
    }  # fmt: skip
    script = _LUA
    for name, value in values.items():
        script = script.replace(name, str(value))
    (here / "load.lua").write_text(script)
    done = subprocess.run(
        [wrk, "-t1", f"-c{load.concurrency}", f"-d{max(1, round(load.seconds))}s", "--timeout", "30s",
         "-s", str(here / "load.lua"), f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, timeout=load.seconds + 60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"wrk failed:\n{done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
