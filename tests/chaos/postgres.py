"""A PostgreSQL server of a test's own, which can be stopped, killed, started again and given a full disk."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable
from pathlib import Path
from typing import Self

import asyncpg
import psutil
from tests.postgres import start_server, url_of

from .processes import until

_STOP = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
"""How its first process is told to end: https://www.postgresql.org/docs/current/server-shutdown.html"""


class Cluster:
    """One server on one folder, and a child of this process, so that it leaves no corpse that blocks the next."""

    def __init__(self, folder: Path, *, tablespace: Path | None = None) -> None:
        self._maker = start_server(folder)
        self._folder = folder
        place = ""
        if tablespace is not None:
            self._maker.psql(f"CREATE TABLESPACE small LOCATION '{tablespace}';")
            place = " TABLESPACE small"
        self._maker.psql(f"CREATE DATABASE tellwire{place};")
        self.url = url_of(self._maker, "tellwire")
        self.user = self._maker.system_user
        self._sockets = str(self._maker.get_postmaster_info().socket_dir)
        self._maker.stop()
        self.popen = self._run()

    async def __aenter__(self) -> Self:
        await until(self._answers, "PostgreSQL answers")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.popen.send_signal(_STOP["immediate"])
        await asyncio.to_thread(self.popen.wait)

    async def restart(self, way: str, *, meanwhile: Awaitable[None]) -> None:
        """Stop it (``fast``, ``immediate`` or ``kill``), and start it when ``meanwhile`` has passed."""
        orphans = psutil.Process(self.popen.pid).children(recursive=True)
        self.popen.send_signal(_STOP[way])
        await asyncio.to_thread(self.popen.wait)
        await meanwhile
        # As long as one of them lives, no server starts on the folder; most go by themselves, at once.
        _, left = await asyncio.to_thread(psutil.wait_procs, orphans, 10)
        for orphan in left:
            orphan.kill()
        self.popen = self._run()
        try:
            await until(self._answers, "PostgreSQL is back")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self._folder / 'log').read_text()[-4000:]}") from None

    async def backends(self, call: str) -> None:
        """Call a function for the backends of all Tellwires, such as ``pg_terminate_backend(pid)``."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.fetch(f"SELECT {call} FROM pg_stat_activity WHERE application_name = 'tellwire'")
        finally:
            await connection.close()

    def _run(self) -> "subprocess.Popen[bytes]":
        program = str(self._maker.bin_path / "postgres")
        command = [program, "-D", str(self._folder), "-k", self._sockets, "-h", ""]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, user=self.user, cwd=self._folder, stdout=log, stderr=log)

    async def _answers(self) -> bool:
        if self.popen.poll() is not None:  # after SIGKILL, the orphans of the last one must have gone first
            self.popen = self._run()
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True
