"""Processes that a benchmark starts, watches and stops; their CPU time and memory from ``/proc``."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """CPU time in seconds, in steps of 10 ms: of all threads, and of the living ones by name."""

    total_s: float = 0.0
    by_name: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "Cpu") -> "Cpu":
        names = {*self.by_name, *other.by_name}
        both = {name: self.by_name.get(name, 0.0) + other.by_name.get(name, 0.0) for name in names}
        return Cpu(self.total_s + other.total_s, both)

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

    def wait_for_port(self, port: int, timeout_s: float = 60.0, host: str = "127.0.0.1") -> None:
        """Return once ``port`` accepts connections."""
        end = time.monotonic() + timeout_s
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._command[:4]} ended at once:\n{self._tail()}")
            try:
                socket.create_connection((host, port), 1).close()
                return
            except OSError:
                if time.monotonic() >= end:
                    raise RuntimeError(f"nothing listens on port {port}:\n{self._tail()}") from None
                time.sleep(0.02)

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def pids(self) -> list[int]:
        """The process, and those that it has started."""
        return [self._process.pid, *children_of(self._process.pid)]

    def cpu(self) -> Cpu:
        """User and system time so far, of all its processes."""
        return sum((_cpu_of(pid) for pid in self.pids()), Cpu())

    def peak_rss_mib(self) -> float:
        """The most memory that one of its processes ever held, in MiB."""
        return max(_peak_rss_mib(pid) for pid in self.pids())

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def family_cpu(parent: int) -> Cpu:
    """User and system time of a process and its children: of those that have ended, too."""
    stats = [_stat(Path(f"/proc/{pid}/stat")) for pid in (parent, *children_of(parent))]
    ended_s = (int(stats[0][1][13]) + int(stats[0][1][14])) / _TICKS_PER_S if stats and stats[0] else 0.0
    return Cpu(ended_s + sum(_used_s(fields) for found in stats if found for fields in (found[1],)))


def family_pss_mib(parent: int) -> float:
    """The memory of a process and its children, with what they share counted once, in MiB."""
    total_kib = 0
    for pid in (parent, *children_of(parent)):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib / 1024


def children_of(parent: int) -> list[int]:
    """The processes that ``parent`` has started and that still run."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:  # it has just ended
        pass
    return found


def _cpu_of(pid: int) -> Cpu:
    folder = Path(f"/proc/{pid}")
    by_name: dict[str, float] = {}
    for task in (folder / "task").iterdir():
        found = _stat(task / "stat")
        if found is None:
            continue
        name = found[0]
        if task.name == folder.name:
            name = "event loop"
        elif name == "pyreqwest":
            name = "HTTP client"
        else:
            name = "writer and others"  # Python 3.11 does not tell the system how its threads are called
        by_name[name] = by_name.get(name, 0.0) + _used_s(found[1])
    whole = _stat(folder / "stat")
    return Cpu(_used_s(whole[1]) if whole else 0.0, by_name)


def _peak_rss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), default=0.0)


def _stat(path: Path) -> tuple[str, list[str]] | None:
    """Name and fields that a ``stat`` file in ``/proc`` tells, from the state on (see proc_pid_stat(5))."""
    try:
        head, _, tail = path.read_text().rpartition(")")
    except OSError:  # it has just ended
        return None
    return head.partition("(")[2], tail.split()


def _used_s(fields: list[str]) -> float:
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def run_json(module: str, *arguments: object, timeout_s: float) -> dict[str, Any]:
    """Run ``python -m module``, which prints one JSON object, and give that object."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def put_first() -> None:
    """Where the system allows it, let this process go before others, as if it had a machine of its own."""
    try:
        os.nice(-10)
    except PermissionError:
        pass


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
