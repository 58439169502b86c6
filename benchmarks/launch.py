"""``python -m benchmarks.launch``: a Tellwire server from the ``TELLWIRE_`` environment, where the CLI is not used.

``--profile FILE`` writes what cProfile sees to ``FILE.0`` (the thread of the event loop), ``FILE.1`` (the first other
thread) and so on.
"""

import argparse
import cProfile
import os
import sys
import threading
import time

import uvloop

from tellwire import server
from tellwire.observe.logs import configure, subscribe_logs
from tellwire.settings import load
from tellwire.wiring import tellwire_for


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile")
    profile_path = parser.parse_args().profile
    settings = load(os.environ).settings
    configure(settings.log_format, settings.log_level)  # type: ignore[arg-type]  # checked by load
    tellwire = tellwire_for(settings)
    subscribe_logs(tellwire.telemetry)

    def serve() -> None:
        uvloop.run(server.serve(tellwire, settings, lambda url: print(url, file=sys.stderr)))

    if profile_path is None:
        serve()
        return
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
                profile.dump_stats(f"{profile_path}.{number}")


if __name__ == "__main__":
    main()
