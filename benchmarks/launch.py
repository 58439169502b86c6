"""``python -m benchmarks.launch``: a Tellwire server from the ``TELLWIRE_`` environment, where the CLI is not used.

``--profile FILE`` writes what cProfile sees on the thread of the event loop.
"""

import argparse
import cProfile
import os
import sys

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
    configure(settings.log_format, settings.log_level)  # type: ignore[arg-type] - checked by load
    tellwire = tellwire_for(settings)
    subscribe_logs(tellwire.telemetry)

    def serve() -> None:
        uvloop.run(server.serve(tellwire, settings, lambda url: print(url, file=sys.stderr)))

    if profile_path is None:
        serve()
        return
    profile = cProfile.Profile()
    try:
        profile.runcall(serve)
    finally:
        profile.dump_stats(profile_path)


if __name__ == "__main__":
    main()
