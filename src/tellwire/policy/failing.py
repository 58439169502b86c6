"""What follows from an endpoint's failing for long: warnings first, in the end it is disabled. Pure."""

from typing import Final

_WARNINGS: Final = 3
"""Warnings that are told before: after a quarter, a half and three quarters of the time."""


def warnings_due(failing_ms: int, most_ms: int) -> int:
    """How many warnings are due, all told, of an endpoint that has failed for so long; ``most_ms`` is its end."""
    return min(failing_ms * (_WARNINGS + 1) // most_ms, _WARNINGS)


def is_over(failing_ms: int, most_ms: int) -> bool:
    """Whether it is to be disabled."""
    return failing_ms >= most_ms


def first_warning_ms(most_ms: int) -> int:
    """How long an endpoint has failed when the first warning is due."""
    return -(-most_ms // (_WARNINGS + 1))
