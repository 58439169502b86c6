"""A shell that is typed into, like a reader's: what it starts in the background goes on beside it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

WAIT_S = 60.0


class Shell:
    """A bash in a directory with ``.venv/bin/tellwire``, whose output is gathered as it comes."""

    def __init__(self, here: Path) -> None:
        programs = here / ".venv" / "bin"
        programs.mkdir(parents=True)
        tellwire = programs / "tellwire"
        tellwire.write_text(
            f'#!/bin/sh\nexec {sys.executable} -c "from tellwire.cli import main; main()" "$@"\n'
        )
        tellwire.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}
        self._process = subprocess.Popen(
            ["bash", "-e"], cwd=here, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._text = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def run(self, text: str) -> str:
        """Type ``text``, wait until it is through, and give what was written meanwhile."""
        self._count += 1
        mark = f"<through {self._count}>"
        before = len(self._text)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\necho '{mark}'\n".encode())
        self._process.stdin.flush()
        self.wait_for(mark, before)
        return self._text[before:].replace(mark, "")

    def wait_for(self, wanted: str, start: int = 0) -> None:
        """Wait until ``wanted`` is written."""
        with self._changed:
            seen = self._changed.wait_for(lambda: wanted in self._text[start:] or self._ended, WAIT_S)
        assert seen, f"no {wanted!r} in:\n{self._text}"
        assert wanted in self._text[start:], f"the shell ended without {wanted!r}:\n{self._text}"

    @property
    def here(self) -> int:
        """Where the output ends now; to be given to ``wait_for``."""
        return len(self._text)

    @property
    def _ended(self) -> bool:
        return not self._reader.is_alive()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 65_536):
            with self._changed:
                self._text += chunk.decode(errors="replace")
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
