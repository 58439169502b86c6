"""Writes docs/reference/cli.md from the commands themselves.

python -m tellwire.cli.reference > docs/reference/cli.md
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from ..settings import TABLE
from .app import app
from .failures import MEANINGS

_HEAD = """\
# Command line

<!-- Written by `python -m tellwire.cli.reference`: change tellwire/cli, not this page. -->

`pip install 'tellwire[server]'` brings the command `tellwire`. `tellwire COMMAND --help` says what stands here.

- `serve` is the server, `worker` delivers without one; `receive` is a receiver for development. All stop on SIGTERM or
  Ctrl-C.
- All other commands work on the database itself: on the same machine, with the same settings (flags, `TELLWIRE_`
  variables, TOML file) as the server, whether or not one runs. They never deliver: a running server finds within a
  quarter of a second what they published or changed.
- Those with the flags `--server` (or `--url`) and `--key` can ask a server elsewhere instead, over HTTP: `TELLWIRE_URL`
  and `TELLWIRE_KEY` say which, and with which API key, or a [profile](../how-to/use-profiles.md) does. Answers and exit
  codes are the same. `--database-url` leads back to a database.
- What is nearer wins: the flags `--database-url`, `--server` and `--profile`; then `TELLWIRE_URL`, then
  `TELLWIRE_PROFILE`; then the default profile, unless `--config`, `TELLWIRE_CONFIG` or `TELLWIRE_DATABASE_URL` name a
  database; then the database. `--key` wins over the key of a profile, that over `TELLWIRE_KEY`.
- Only a server answers `metrics` and `tokens access`; `endpoints disable --reason` is for a database only.
- With `--json`, standard output holds JSON and nothing else: one document on one line; for `publish -` and `receive`
  one object a line. Times, ids and fields are those of the HTTP API.
- Diagnostics go to standard error: one sentence that says what is wrong and what to do.
- Tables and values from outside are shown with every control character escaped, so that nobody can steer your
  terminal.
- Times are RFC 3339 (`2026-01-31T09:30:00Z`) or a length such as `15m`, `2h`, `7d`, counted back from now
  (`--expires-at`: ahead).

## Exit codes

| code | meaning |
|---|---|
"""

_NOTES = {
    "serve": """\
On standard output stands one line, `Tellwire VERSION listens on URL` (with `--json`: `{"url", "pid", "version"}`,
`processes` if they are several, `watch_url` with `--metrics-port`, and `admin_key` if it made one), as soon as requests
are answered; log lines go to standard error.

With `--dev`, and no admin key set, a key is made on the first start and kept in `tellwire.dev-key` (mode 0600) beside
the database, so that copied curl lines go on working. The flags of settings are explained in [Settings](settings.md).
""",
    "worker": """\
On standard output stands one line, `Tellwire VERSION delivers` (with `--json`: `{"pid", "version"}`, `processes` if
they are several, `url` with `--metrics-port`), as soon as it does; log lines go to standard error. It ends with code 5
where the database cannot be opened at the start; later it waits for a database that is away. With several processes,
one that dies is started again, after a pause that grows while it dies again and again.
""",
    "publish": """\
    tellwire publish order.paid '{"order_id": "o_1"}'
    tellwire publish order.paid - < data.json
    tellwire publish < events.ndjson
    tail -f events.ndjson | tellwire publish -
    jq '.items' export.json | tellwire publish -

Each line of a stream is an object as for `POST /v1/events`: `{"type", "data", "tenant"?, "idempotency_key"?,
"occurred_at"?}`. A stream that begins with `[` is one JSON array of such objects instead, on as many lines as it likes
and of any length. They are stored in batches as they come. A bad line, or event of an array, is told on standard error
with its number and does not stop the others; then the exit code is 1. So it is where an array has no end. Give
idempotency keys if you may have to send a stream again.
""",
    "receive": """\
Answers every request to any path. Bodies over 5 MiB are answered with 413 and not shown. Without `--secret`,
signatures are not checked. Of a [batch](../how-to/send-batches.md), type and id of each event are shown; with `--json`
they are in `events`.
""",
    "doctor": """\
    tellwire doctor
    tellwire doctor --json

It looks at the settings (also those that work and are dangerous); whether the database can be reached and written,
and how quickly; at its version, its secret key and its clock; at leases that nobody frees, the oldest delivery that
is due, endpoints that are paused or disabled while deliveries wait for them, circuits that are open, and endpoints
that have failed for so long that they are about to be disabled; at API keys; at the room on the disk; and at the way
out: it resolves the hosts of some endpoints (without any, `example.com`), or connects to the egress proxy. It sends
no request, and changes nothing but a counter by which it sees that the database can be written. Run it as the
server's user, with the server's settings.

It ends with 0 if all is well, 7 if there are only warnings, and 1 if something is broken. With `--json`: `{"well",
"failures", "warnings", "findings": [{"check", "level", "says", "advice"}]}`; levels are `ok`, `warning`, `failure` and
`skipped`.
""",
    "migrate": """\
`--check` changes nothing and exits with 1 if there is something to do. A database of a newer Tellwire is refused
with exit code 5.
""",
}


def render() -> str:
    """The whole page."""
    codes = "\n".join(f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items())
    parts = [_HEAD + codes + "\n"]
    for path, command in commands():
        parts.append(_section(path, command))
    return "\n".join(parts)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be run, with its path: ``("endpoints", "create")``."""
    yield from _walk((), get_command(app))


def flags(parameter: Any) -> list[str]:
    """The flags of an option, such as ``--dev`` and ``--no-dev``."""
    return [*parameter.opts, *parameter.secondary_opts]


def _walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, below in inner.items():
        yield from _walk((*path, name), below)


def _section(path: tuple[str, ...], command: Any) -> str:
    name = " ".join(path)
    arguments = [it for it in command.params if it.param_type_name == "argument"]
    options = [it for it in command.params if it.param_type_name == "option"]
    usage = " ".join(["tellwire", name, *(_metavar(it) for it in arguments), "[OPTIONS]"])
    parts = [f"## tellwire {name}\n", _sentences(command.help) + "\n", f"    {usage}\n"]
    if name in _NOTES:
        parts.append(_NOTES[name])
    if arguments:
        parts.append("| argument | meaning |\n|---|---|")
        parts.append("\n".join(f"| `{_metavar(it)}` | {_help(it)} |" for it in arguments) + "\n")
    parts.append("| flag | meaning |\n|---|---|")
    parts.append("\n".join(map(_row, options)) + "\n")
    return "\n".join(parts)


def _row(option: Any) -> str:
    shown = ", ".join(f"`{flag}`" for flag in flags(option))
    if not option.is_flag:
        shown += f" {_metavar(option)}"
    return f"| {shown} | {_help(option)} |"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar)  # every command names them, so that this page need not guess


def _help(parameter: Any) -> str:
    settings = {setting.name: setting for setting in TABLE}
    text = re.sub(r"\\(\[)", r"\1", parameter.help or "").replace("|", "\\|")
    if parameter.name not in settings and parameter.param_type_name == "option" and not parameter.is_flag:
        default = parameter.default
        if isinstance(default, str | int) and not isinstance(default, bool):
            text += f" Default: `{default}`."
    return text


def _sentences(help: str | None) -> str:
    return re.sub(r"[ \t]*\n[ \t]*", "\n", help or "").strip()


if __name__ == "__main__":
    sys.stdout.write(render())
