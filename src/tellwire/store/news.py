"""What a transaction leaves to other processes: noted while it runs, told by the store when it commits."""

from typing import Final

from sqlalchemy import Connection

_NEWS: Final = "tellwire.news"
"""In ``Connection.info``: from when on others can claim what the transaction leaves to them (0: now)."""

QUIET_MS: Final = 250
"""What this process comes to claim itself others need not look for before that: to help, where there is much."""


def note(connection: Connection, ready_ms: int = 0) -> None:
    """Have other processes hear of this transaction: something may be claimed from ``ready_ms`` on."""
    connection.info[_NEWS] = min(ready_ms, connection.info.get(_NEWS, ready_ms))


def noted(connection: Connection) -> int | None:
    """What was noted since this was asked last, if anything."""
    ready_ms: int | None = connection.info.pop(_NEWS, None)
    return ready_ms
