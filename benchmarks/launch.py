"""``python -m benchmarks.launch``: a Tellwire server from the ``TELLWIRE_`` environment, where the CLI is not used.

``--profile FILE`` writes what cProfile sees to ``FILE.<process>.0`` (the thread of the event loop),
``FILE.<process>.1`` (the first other thread) and so on. ``--statements FILE`` writes the instant of every statement
that SQLite is given (monotonic, ns), a line each.
"""

import argparse
import cProfile
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import event
from sqlalchemy.pool import Pool

from tellwire import server
from tellwire.observe.logs import configure, subscribe_logs
from tellwire.settings import load
from tellwire.wiring import tellwire_for


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile")
    parser.add_argument("--statements", type=Path)
    asked = parser.parse_args()
    if asked.statements is not None:
        _note_statements(asked.statements)
    settings = load(os.environ).settings
    configure(settings.log_format, settings.log_level)  # type: ignore[arg-type]  # checked by load
    tellwire = tellwire_for(settings)
    subscribe_logs(tellwire.telemetry)

    def serve() -> None:
        uvloop.run(server.serve(tellwire, settings, lambda url: print(url, file=sys.stderr)))

    if asked.profile is None:
        serve()
    else:
        _profiled(serve, f"{asked.profile}.{os.getpid()}")


def _note_statements(path: Path) -> None:
    notes = path.open("a", buffering=1)

    @event.listens_for(Pool, "connect")
    def connected(driver: Any, _record: object) -> None:
        driver.set_trace_callback(lambda _: notes.write(f"{time.monotonic_ns()}\n"))


def _profiled(serve: Any, path: str) -> None:
    # CPU time of the thread, not the clock: waiting for the GIL, the disk or the network does not count.
    profiles = [cProfile.Profile(time.thread_time)]

    def profile_thread(*_: object) -> None:
        profiles.append(cProfile.Profile(time.thread_time))
        profiles[-1].enable()

    threading.setprofile(profile_thread)
    try:
        profiles[0].runcall(serve)
    finally:
        for number, profile in enumerate(profiles):
            profile.create_stats()
            if profile.stats:
                profile.dump_stats(f"{path}.{number}")


if __name__ == "__main__":
    main()
