"""A transaction that is one statement: where nothing has to be read before it is written, one round trip will do.

A lone event used to cost twelve of them: BEGIN, the revision, two inserts, the revision, COMMIT, and the same for its
result. ``AtOnce`` stands in for the connection while stages say what they write: it gathers their statements and what
they took for granted (the control plane is as we know it, each lease still holds). All of it is sent as one statement,
which does everything or, where something taken for granted is not so, nothing: then it is written in the usual way
(docs/adr/0022-one-statement.md).
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import Connection

_PARAMETER: Final = re.compile(r"\$(\d+)")
_LONGEST_PAUSE: Final = 63


class TooMuchError(Exception):
    """A stage wants to read, or to do what one statement cannot."""


class Chances:
    """When to try it: where that was in vain, ever fewer transactions do, so that little work is done twice."""

    def __init__(self) -> None:
        """The first one tries."""
        self._pause = self._left = 0

    def take(self) -> bool:
        """Whether the next transaction is to try; then tell how it ``went``."""
        self._left -= 1
        return self._left < 0

    def went(self, well: bool) -> None:
        """After each that was in vain, twice as many transactions go the usual way without a try."""
        self._pause = 0 if well else min(2 * self._pause + 1, _LONGEST_PAUSE)
        self._left = self._pause


class AtOnce:
    """Stands for the connection of a transaction that may be one statement."""

    def __init__(self) -> None:
        """Nothing is gathered yet."""
        self.info: dict[str, Any] = {}
        """As ``Connection.info``: what is noted for other processes."""
        self._statements: list[tuple[str, int | None]] = []
        self._values: list[Any] = []
        self._revision: int | None = None

    def __getattr__(self, name: str) -> Any:
        """Whatever else a connection can do."""
        raise TooMuchError(name)

    @property
    def stand_in(self) -> Connection:
        """This, for stages, which ask for a connection."""
        return cast(Connection, self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not self._statements

    def gather(self, statement: str, values: Sequence[Any], *, rows: int | None = None) -> None:
        """Write ``statement`` too; it must touch exactly so many ``rows`` and return each, where that is given."""
        self._statements.append((statement, rows))
        self._values += values

    def take_for_granted(self, revision: int) -> None:
        """Nothing is written unless the control plane is at ``revision``."""
        self._revision = revision

    def whole(self, notification: tuple[str, str] | None) -> tuple[str, list[Any]]:
        """The statement and its values; it gives the revision and the server's time.

        It fails with a division by zero where something taken for granted is not so. ``notification`` is a channel
        and what other processes hear on it.
        """
        expected = [rows for _, rows in self._statements if rows is not None]
        granted = [] if self._revision is None else [self._revision]
        text = _whole(
            tuple((statement, rows is not None) for statement, rows in self._statements),
            self._revision is not None,
            notification is not None,
        )
        return text, [*self._values, *expected, *granted, *(notification or ())]


def gatherer_of(connection: Connection) -> AtOnce | None:
    """The gatherer that stands in for this connection, if one does."""
    return connection if isinstance(connection, AtOnce) else None


@cache
def _whole(statements: tuple[tuple[str, bool], ...], granted: bool, notified: bool) -> str:
    parts: list[str] = []
    counted: list[str] = []
    after = 0
    for number, (statement, expects) in enumerate(statements):
        parts.append(f"part{number} AS ({_renumbered(statement, after)})")
        after += len(set(_PARAMETER.findall(statement)))
        if expects:
            counted.append(f"(SELECT count(*) FROM part{number})")  # noqa: S608 - a number
    checks: list[str] = []
    for count in counted:
        after += 1
        checks.append(f"1 / ({count} = ${after}::bigint)::int")
    if granted:
        after += 1
        checks.append(f"1 / (control.value = ${after}::bigint)::int")
    if notified:
        checks.append(f"pg_notify(${after + 1}::text, ${after + 2}::text)")
    shown = ["control.value", "extract(epoch FROM clock_timestamp())::float8", *checks]
    return f"""WITH {", ".join(parts)}
        SELECT {", ".join(shown)} FROM revisions AS control WHERE control.name = 'control'"""  # noqa: S608 - ours


def _renumbered(statement: str, after: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + after}", statement)
