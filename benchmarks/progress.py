"""Tells on stderr what is being measured."""

import sys


def say(what: str) -> None:
    """One line."""
    print(f"... {what}", file=sys.stderr, flush=True)
