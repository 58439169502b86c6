"""Processes that a benchmark starts, watches and stops; their CPU time and memory from ``/proc``."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """CPU time in seconds, in steps of 10 ms: of all threads, and of the living ones by name."""

    total_s: float
    by_name: dict[str, float]

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        spent = {name: used_s - earlier.by_name.get(name, 0.0) for name, used_s in self.by_name.items()}
        return Cpu(self.total_s - earlier.total_s, spent)

    def us_each(self, count: int) -> float:
        """Microseconds for each of ``count`` events."""
        return self.total_s / max(1, count) * 1e6

    def split_us(self, count: int) -> dict[str, float]:
        """Microseconds for each of ``count`` events, by thread."""
        return {name: used_s / max(1, count) * 1e6 for name, used_s in sorted(self.by_name.items())}


class Child:
    """One process, ended with SIGTERM (after 30 s with SIGKILL) when the ``with`` block is left."""

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self._command = list(command)
        self._log = log
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=self._cwd
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def wait_for_port(self, port: int, timeout_s: float = 20.0) -> None:
        """Return once ``port`` accepts connections."""
        end = time.monotonic() + timeout_s
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._command[:4]} ended at once:\n{self._tail()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() >= end:
                    raise RuntimeError(f"nothing listens on port {port}:\n{self._tail()}") from None
                time.sleep(0.02)

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def cpu(self) -> Cpu:
        """User and system time so far."""
        folder = Path(f"/proc/{self._process.pid}")
        by_name: dict[str, float] = {}
        for task in (folder / "task").iterdir():
            try:
                name, used_s = _thread(task / "stat")
            except OSError:  # the thread has just ended
                continue
            if task.name == folder.name:
                name = "event loop"
            elif name == "pyreqwest":
                name = "HTTP client"
            else:
                name = "writer and others"  # Python 3.11 does not tell the system how its threads are called
            by_name[name] = by_name.get(name, 0.0) + used_s
        return Cpu(_thread(folder / "stat")[1], by_name)

    def peak_rss_mib(self) -> float:
        """The most memory it ever held, in MiB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def _thread(stat: Path) -> tuple[str, float]:
    """Name and CPU seconds that a ``stat`` file in ``/proc`` tells (see proc_pid_stat(5))."""
    head, _, tail = stat.read_text().rpartition(")")
    fields = tail.split()
    return head.partition("(")[2], (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def run_json(module: str, *arguments: object, timeout_s: float) -> dict[str, Any]:
    """Run ``python -m module``, which prints one JSON object, and give that object."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
