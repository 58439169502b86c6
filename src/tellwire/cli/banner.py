"""What a server says when it has started: where it is, and lines to copy."""

import os
import shutil
import sys
from pathlib import Path

from ..version import __version__

RECEIVER = "http://127.0.0.1:9000/"


def banner(url: str, dev_key: str | None, *, delivers: bool = True) -> str:
    """The greeting of a development server; the curl lines work as they stand.

    ``dev_key`` is None where the admin key was set by somebody: then it is not repeated here. ``delivers`` is false
    where the server leaves deliveries to workers: then it says how to start one.
    """
    key = dev_key or "$TELLWIRE_ADMIN_KEY"
    shown = dev_key or "the admin key that you set (the lines below take it from TELLWIRE_ADMIN_KEY)"
    worker = (
        "" if delivers else f"This server delivers nothing; a worker does:\n\n  {_command()} worker --dev\n\n"
    )
    return f"""\
Tellwire {__version__} listens on {url}  (development: http and loopback allowed)

  API reference   {url}/docs
  key             {shown}

{worker}Receive events, in another terminal:

  {_command()} receive

Create an endpoint for them, then publish an event:

  {_curl(url, "/v1/endpoints", key, f'{{"url": "{RECEIVER}", "events": ["*"]}}')}

  {_curl(url, "/v1/events", key, '{"type": "order.paid", "data": {"order_id": "o_1"}}')}

"""


def without_key() -> str:
    """What to do where no key exists."""
    return (
        "no API key exists yet, so every request is refused: make one with `tellwire keys create NAME`, "
        "or set TELLWIRE_ADMIN_KEY"
    )


def _command() -> str:
    """How to call this very command from here: by its name where the shell finds it, else by its path."""
    name = Path(sys.argv[0]).name
    if name != "tellwire" or shutil.which("tellwire") == sys.argv[0]:
        return "tellwire"
    return os.path.relpath(sys.argv[0])


def _curl(url: str, path: str, key: str, body: str) -> str:
    return (
        f"curl -sS {url}{path} \\\n"
        f'    -H "Authorization: Bearer {key}" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        f"    -d '{body}'"
    )
