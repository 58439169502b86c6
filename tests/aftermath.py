"""Ends a server of the tests and removes its folder, whatever way the tests end: ``python aftermath.py FOLDER``.

It waits for the end of its standard input, which its parent holds: a worker of pytest that is broken off (by ``-x``)
does not come to what it has registered for its exit, and a server that runs on keeps gigabytes.
"""

import shutil
import sys
from pathlib import Path

import psutil

_PATIENCE_S = 10


def server_on(folder: Path) -> psutil.Process | None:
    """The first process of the server that runs on ``folder``."""
    try:
        pid = int((folder / "postmaster.pid").read_text().partition("\n")[0])
        process = psutil.Process(pid)
        # The file stays where a server is killed, and its number may be somebody else's by now.
        return process if str(folder) in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def main(folder: Path) -> None:
    """Wait, end, remove."""
    sys.stdin.read()
    if (server := server_on(folder)) is not None:
        family = [server, *server.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, _PATIENCE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
