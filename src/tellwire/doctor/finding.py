"""What an examination finds: one thing that was looked at, how it is, and what to do about it."""

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How a thing is: well, to be looked at, broken, or not looked at and why."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """``says`` is a sentence on how it is, ``advice`` one on what to do, where something is to be done."""

    check: str
    level: Level
    says: str
    advice: str | None = None


def ok(check: str, says: str) -> Finding:
    """It is well."""
    return Finding(check, Level.OK, says)


def warning(check: str, says: str, advice: str) -> Finding:
    """It works, and should be looked at."""
    return Finding(check, Level.WARNING, says, advice)


def failure(check: str, says: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.FAILURE, says, advice)


def skipped(check: str, says: str) -> Finding:
    """It was not looked at; ``says`` why."""
    return Finding(check, Level.SKIPPED, says)


def duration(ms: float) -> str:
    """A length of time for people: ``3 ms``, ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for unit, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= 2 * size_ms or (unit == "s" and ms >= size_ms):
            return f"{ms / size_ms:.0f} {unit}"
    return f"{ms:.0f} ms"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 delivery``, ``2 deliveries``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def waiting(deliveries: int) -> str:
    """``1 delivery waits``, ``2 deliveries wait``."""
    return f"{counted(deliveries, 'delivery')} {'waits' if deliveries == 1 else 'wait'}"
