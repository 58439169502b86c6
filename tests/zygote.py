"""The process that others are forked from: it has imported Tellwire, which takes longer than many a test.

What is forked goes on as ``python -c PROGRAM`` would, with its own environment, folder, arguments, streams and exit
code; to the system it is a process like any other. ``forked`` asks for them.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
import types
import warnings
from typing import Any

IMPORTED = (
    "asyncio", "asyncpg", "base64", "email.message", "http.server", "httptools", "multiprocessing", "sqlite3",
    "tellwire", "tellwire.cli.app", "tellwire.client", "tellwire.deliver.engine", "tellwire.hub",
    "tellwire.observe.logs", "tellwire.observe.metrics", "tellwire.server", "tellwire.settings",
    "tellwire.store.postgres", "tellwire.store.sqlite", "tellwire.sync", "tellwire.wiring", "uvicorn",
    "uvicorn.protocols.http.httptools_impl", "uvloop",
)  # fmt: skip


def main() -> None:
    """Fork whenever somebody asks, and end with them. Every process that was forked returns from ``_serve``."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the memory stays shared
    asked = _serve(control)
    if asked is None:
        return
    program = types.ModuleType("__main__")
    sys.modules["__main__"] = program
    sys.argv, sys.path[0] = ["-c", *asked["arguments"]], ""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - to the end
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if asked["strict"]:
        sys.warnoptions.append("error")
        warnings.resetwarnings()
        warnings.simplefilter("error")
    os._exit(_run(asked["program"], program))


def _run(text: str, program: types.ModuleType) -> int:
    """Run a program to its end, and give the exit code. That the interpreter then clears its memory is left out."""
    try:
        try:
            exec(compile(text, "<string>", "exec"), program.__dict__)
        finally:
            threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as every program does
            atexit._run_exitfuncs()
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """What is asked of this process, in one that was forked; None in the end."""
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    told: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), awake], [], [])
        if awake in ready:
            os.read(awake, 65_536)
            _tell_ends(told)
        if control.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(control, 65_536, 4)
        while message and not message.endswith(b"\n"):
            message += control.recv(65_536)
        if not message:
            return None
        pid = os.fork()
        if pid:
            told[pid] = fds.pop()
            os.write(told[pid], b"%d\n" % pid)
            for fd in fds:
                os.close(fd)
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        control.close()
        for number, fd in enumerate(fds[:3]):
            os.dup2(fd, number)
        for fd in (awake, wake, *fds, *told.values()):
            os.close(fd)
        asked: dict[str, Any] = json.loads(message)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        return asked


def _tell_ends(told: dict[int, int]) -> None:
    """Tell those who asked how their processes have ended."""
    while told:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = told.pop(pid)
        try:
            os.write(fd, b"%d\n" % os.waitstatus_to_exitcode(status))
        except BrokenPipeError:  # nobody asks any more
            pass
        os.close(fd)


if __name__ == "__main__":
    main()
